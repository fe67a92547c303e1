"""The replicated log. `log` is its interface; only `raft` knows pysyncobj."""
