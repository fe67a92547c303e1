"""The control loops that move the cluster towards what was declared."""
