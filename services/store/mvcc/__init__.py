"""The multi-version state machine: keys, revisions, transactions, compaction. No I/O."""
