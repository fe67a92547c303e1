"""What every process needs: serving, TLS, configuration, logging, clock, supervision."""
