"""Parts of `make bench-api`: a frugal HTTP client, the servers, the scenarios."""
