"""Towards the nodes: logs, commands and ports of Pods, whichever way a node's kubelet offers them.

A kubelet of Kubernetes is called at its HTTPS endpoints; one that advertises a gRPC port (ours) by streams of
`navarch.v1.Node`. Both look the same to those who call: `kubelet.Kubelet`.
"""
