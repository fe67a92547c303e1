"""Addresses and ports that a Service is given, each to one Service only."""
