"""The account database and its server."""
