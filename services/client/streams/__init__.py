"""Streams of Pods over WebSocket, as Kubernetes has them between clients, API server and kubelet.

`channels` is the framing, without I/O; `serving` and `dialing` are its two ends; `outcomes` is how a process ended.
What happens in a stream is told by the messages of `navarch.v1.Node`, so that a stream that comes in over
WebSocket goes on over gRPC as it is, and the other way round.
"""
