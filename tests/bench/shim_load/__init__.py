"""What the benchmark of the runtime shim does to each peer."""
