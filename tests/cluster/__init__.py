"""Whole-cluster tests: real processes, sockets and files."""
