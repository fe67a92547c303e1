"""Routes in the cloud's own network: the ways to nodes' Pods."""
