"""OpenAPI documents of what the API serves, made from descriptors, field traits and our own documentation.

`schemas` turns messages into schemas, `operations` kinds into what can be done with them, `v3` and `v2` write both
down as documents of those versions, `gnostic` encodes a version 2 document in the protobuf form that some clients
ask for. Nothing here does I/O; documents are plain JSON values.
"""
