"""Announces the addresses of load balancers on the link: each by one living node, by another when that dies."""
