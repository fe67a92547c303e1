"""Defaults of the Kubernetes API, as code: what the server fills in where a request says nothing.

Every function completes a message in place and is idempotent. Nothing here fails: what is malformed is
left as it is, and validation, which runs later, says so.
"""
