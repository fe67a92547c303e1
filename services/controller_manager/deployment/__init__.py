"""Deployments: replaces the Pods of one template by those of the next, by way of ReplicaSets."""
