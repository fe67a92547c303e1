"""Pod garbage collector: removes Pods that no kubelet will ever remove."""
