"""The store as the API server sees it: etcd's protocol, keys by kind, envelopes, revisions."""
