"""Reproducible measurements: `make bench` starts its own cluster and prints what a request costs."""
