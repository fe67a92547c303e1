"""Watch caches: what readers and watchers are served from, fed by one store watch per resource."""
