"""Bytes to model and back, one file per format, each versioned; never pickle."""
