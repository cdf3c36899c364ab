"""Where names live: the rings in use, and the replicas of every account, container and object."""
