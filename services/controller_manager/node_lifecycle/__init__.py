"""Node life cycle: notices Nodes that fall silent, taints them, and evicts their Pods."""
