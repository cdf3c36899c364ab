"""What a user can do, free of any protocol: typed operations in, typed results out."""
