"""The certificates of a kubelet: where they are kept, how they are asked for, when they are renewed."""
