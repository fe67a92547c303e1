"""The cluster store: etcd v3 over a replicated MVCC state machine."""
