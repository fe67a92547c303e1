"""Which ids of the host a Pod with a user namespace of its own gets (KEP-127). Pure.

Each Pod has a block of 65536 ids that no other Pod has and that begins at a multiple of that; the host's own are in the
first block.
"""

from collections.abc import Collection

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.references import ConfigError

IDS = 1 << 16
# The last number of the last block means "none".
BLOCKS = (1 << 16) - 1


def wants_own(pod: corev1.Pod) -> bool:
    """Whether a Pod is to have a user namespace of its own."""
    return pod.spec.HasField("host_users") and not pod.spec.host_users


def check_handler(handler: str, *, can: bool) -> None:
    """Raise ConfigError where the runtime cannot make one. handler: "" for the runtime's own choice."""
    if not can:
        what = f'RuntimeClass handler "{handler}"' if handler else "runtime"
        raise ConfigError(f"can't set `spec.hostUsers: false`, {what} does not support user namespaces")


def free_block(taken: Collection[int]) -> int:
    """The first id of a free block. taken: the first ids of those of other Pods. Raises ConfigError."""
    for block in range(1, BLOCKS):
        if block * IDS not in taken:
            return block * IDS
    raise ConfigError("could not find an empty slot to allocate a user namespace")


def user_namespace(first_id: int) -> criv1.UserNamespace:
    """The namespace of a Pod whose block begins there."""
    mapping = criv1.IDMapping(host_id=first_id, container_id=0, length=IDS)
    return criv1.UserNamespace(mode=criv1.POD, uids=[mapping], gids=[mapping])
