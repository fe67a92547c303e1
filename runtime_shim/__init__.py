"""CRI v1 over containerd, or over simulated containers."""
