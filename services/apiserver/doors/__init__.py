"""Ways in. A door decodes requests, calls the registry and encodes answers; it decides nothing."""
