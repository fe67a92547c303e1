"""The node's Service proxy: nftables maps that lead a Service's address to a Pod."""
