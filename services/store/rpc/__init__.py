"""The etcd v3 services, one module each: they check requests, ask the member, and stamp answers."""
