"""S3's HTTP API over the store's operations."""
