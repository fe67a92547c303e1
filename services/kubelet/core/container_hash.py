"""A fingerprint of what cannot change in a running container: a new one means a new container."""

from hashlib import blake2b

from navarch.protos.k8s.core import v1_pb2 as corev1


def container_hash(container: corev1.Container) -> str:
    """Of name and image: the only mutable field of a running Pod's container that calls for a restart."""
    return blake2b(f"{container.name}\0{container.image}".encode(), digest_size=4).hexdigest()
