"""ServiceCIDRs: open while they are wanted, and gone only when no Service needs their addresses."""
