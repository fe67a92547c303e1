"""EndpointSlice mirroring: Endpoints that somebody made for a Service without selector, as EndpointSlices."""
