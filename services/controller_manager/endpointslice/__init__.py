"""EndpointSlices: the addresses behind every Service that selects Pods."""
