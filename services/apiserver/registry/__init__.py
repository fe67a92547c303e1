"""The verbs, the same for every door and every kind."""
