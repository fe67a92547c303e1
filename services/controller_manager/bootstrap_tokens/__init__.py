"""Bootstrap tokens: they are removed when they end, and vouch for what new nodes read before they trust anybody."""
