"""What account and container databases share: schema, group commit, row merge, leases."""
