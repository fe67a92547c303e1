"""What a cloud knows of nodes, addresses and load balancers, by a provider."""
