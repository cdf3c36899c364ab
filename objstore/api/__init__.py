"""HTTP to operation and back. A handler parses, calls one proxy operation, renders."""
