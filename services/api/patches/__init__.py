"""Patch engines: RFC 6902, RFC 7386, Kubernetes' strategic merge, and the three-way merge of `apply`.

All of them are pure functions over JSON objects (dicts as the codec makes them). Inputs are never
changed; a result may share unchanged parts with them. Strategic patches also take the descriptor of
the object's message, because the merge rules of a field stand in its traits.
"""
