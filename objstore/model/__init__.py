"""Values and decisions: no I/O, no HTTP words. Everything above speaks in these terms."""
