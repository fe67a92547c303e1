"""Parts of `make bench-store`: the servers compared, the load, the table."""
