"""The Node object: what the host is, how it is, and that it lives."""
