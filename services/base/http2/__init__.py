"""gRPC served over HTTP/2 in Python on the event loop, for services whose calls are many and short.

grpc.aio hands every call through several threads and layers: 0.4 to 0.5 ms of CPU for an empty unary method, where
this needs 0.05 to 0.1 ms (docs/benchmarks/store.md). `connection` is the protocol without I/O, `call` is gRPC on
one stream, `server` listens. It serves the same registered methods as grpc.aio, with the same contexts as far
as our servicers use them; compression is not supported.
"""
