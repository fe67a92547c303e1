"""Navarch: Kubernetes as gRPC microservices in Python.

The folders ``services/``, ``runtime_shim/`` and ``cli/`` of the repository are linked in here, and
the build generates ``navarch.protos`` from ``protos/`` beside them.
"""
