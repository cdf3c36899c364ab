"""Scenarios of faults on a real cluster of many processes: what OpenStack Swift's probe tests try, with our promises in place of
eventual ones. docs/probes.md tells which test of theirs is which of ours.
"""
