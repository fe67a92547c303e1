"""The node's Pod network: a CNI bridge, and masquerading of what leaves the cluster."""
