"""Objects in words, as people know them from kubectl."""
