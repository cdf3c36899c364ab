"""Configuration, wiring, processes and commands."""
