"""The only code that touches the operating system, the clock, randomness and sockets."""
