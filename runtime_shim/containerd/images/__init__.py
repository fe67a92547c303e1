"""Images in containerd: references, content, unpacking, archives, CRI's ImageService."""
