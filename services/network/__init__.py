"""Pod networking on a host."""
