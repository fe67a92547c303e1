"""A cloud of the hosts themselves: load balancers are addresses of a pool that nodes announce, or the nodes' own."""
