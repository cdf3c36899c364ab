"""Placement: which devices hold which partition, decided ahead of time and stored in ring files.

Start with `ring.ring.Ring`, what a running store reads, then `ring.builder.RingBuilder`, what an operator changes.
"""
