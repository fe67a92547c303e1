"""Endpoints: the older, single-object form of the addresses behind a Service."""
