"""The backend for real containers: CRI over containerd's own API, 1.6 and later."""
