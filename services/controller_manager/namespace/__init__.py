"""Namespaces: empties those that are being deleted, then lets them go."""
