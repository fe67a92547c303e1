"""Node IPAM: gives every Node its own part of the cluster's Pod addresses."""
