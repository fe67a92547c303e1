"""Garbage collector: deletes what has lost its owners, and holds owners back until their dependents are gone."""
