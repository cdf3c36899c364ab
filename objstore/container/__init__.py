"""The container database, its server and its updater."""
