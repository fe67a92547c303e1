"""``navarch``: the command line for cluster life cycle and manifests."""
