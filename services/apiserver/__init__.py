"""The one door to the cluster's objects."""
