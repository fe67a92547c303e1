"""The cluster's DNS: the names that the Kubernetes DNS specification gives Services and Pods."""
