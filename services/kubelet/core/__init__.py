"""The sans-I/O core: Pods, observations and time in; orders and statuses out."""
