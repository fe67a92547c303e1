"""The typed client of the API server and what controllers build on it."""
