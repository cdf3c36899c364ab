"""`make bench-peers`: this store beside OpenStack Swift and SeaweedFS, 3 replicas each, on one disk, in turn under one load."""
