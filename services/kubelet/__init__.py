"""kubelet: runs the Pods bound to its node through any CRI v1 runtime and reports what became of them."""
