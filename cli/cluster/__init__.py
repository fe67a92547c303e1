"""The life of a cluster on this host: its files, its certificates, its processes."""
