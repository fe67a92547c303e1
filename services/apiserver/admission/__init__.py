"""What the cluster as a whole has to say about an object before it is stored."""
