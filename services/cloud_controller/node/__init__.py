"""Nodes, as their cloud knows them: what kind of machine, where, and whether it still is."""
