"""The native door: `navarch.v1.Objects`, and `navarch.v1.Node` passed on to the kubelets."""
