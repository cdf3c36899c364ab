"""Where the CPU time of requests goes: see `python -m bench.profile --help`."""
