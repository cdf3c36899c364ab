"""How costs grow with what is stored, with devices and with clients: see `python -m bench.growth --help`."""
