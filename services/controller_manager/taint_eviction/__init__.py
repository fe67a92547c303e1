"""Taint eviction: removes Pods from Nodes whose NoExecute taints they do not tolerate, or not for longer."""
