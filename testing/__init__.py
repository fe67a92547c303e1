"""A whole cluster inside one event loop, for tests: real services over real gRPC, simulated containers.

Above all services in the order of layers, and imported by none of them.
"""
