"""How objects are shown: tables, YAML, JSON, names, templates."""
