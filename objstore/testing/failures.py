"""What goes wrong with a cluster under test."""


class ClusterError(Exception):
    """The cluster cannot do what the test asked for, or did not do it; plain lines say what and why."""
