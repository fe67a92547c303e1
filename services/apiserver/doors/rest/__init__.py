"""The Kubernetes door: the REST API of Kubernetes over HTTPS, for kubectl and every client library.

A request passes through these modules in this order: `server` (TLS, connections), `door` (who asks, where to),
`paths` (what the URL means), `resources` (the verbs), then `bodies` and `formats` for what comes in and goes out.
Paths that are no objects (discovery, OpenAPI, health, keys) are handlers of their own, listed in `routes`.
"""
