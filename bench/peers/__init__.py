"""`make bench-peers`: this store beside OpenStack Swift and SeaweedFS, each with 3 replicas on the same disk, in turn under one load."""
