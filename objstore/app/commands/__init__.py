"""What the operator commands do; `objstore.app.cli` parses their arguments."""
