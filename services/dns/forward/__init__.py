"""Names outside of the cluster: asked of upstream servers, checked, remembered."""
