"""How many calls a request makes, of Python and of C: what no machine's load changes. See `python -m bench.counted --help`."""
