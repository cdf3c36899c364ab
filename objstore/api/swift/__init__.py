"""The OpenStack Swift API."""
