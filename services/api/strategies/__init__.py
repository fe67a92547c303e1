"""What is special about a kind: how its objects are prepared, when their generation rises, which rules hold."""
