"""Pods that come from elsewhere than the API server: files of the node."""
