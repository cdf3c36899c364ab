"""Who is asking: users, tokens, signatures."""
