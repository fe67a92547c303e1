"""Services of the type LoadBalancer: the cloud leads their addresses to the nodes."""
