"""CRI's streams: the RPCs that answer a URL, and the server that the URL is of.

What happens in a stream is told by the messages of `navarch.v1.Streaming`, which any backend serves.
"""
