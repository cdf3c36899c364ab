"""A Swift-style distributed object store. `docs/architecture.md` draws a request's way through these packages."""
