"""Volumes: what Pods find mounted."""
