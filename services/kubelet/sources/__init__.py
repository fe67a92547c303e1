"""Pods that come from elsewhere than the API server: from files of the node, and from a URL."""
