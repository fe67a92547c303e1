"""The kubelet's HTTPS endpoints, as Kubernetes has them, on port 10250.

`server` listens and says who may call, `endpoints` is the list of paths, `streams` are logs, commands and ports,
`usage` the figures of what Pods use.
"""
