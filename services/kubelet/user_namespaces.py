"""Remembers which ids of the host each Pod with a user namespace of its own has: in a file beside its volumes.

A block is a Pod's as long as its directory is there, which goes when nothing of the Pod runs any more.
"""

from pathlib import Path

import orjson

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.core.references import ConfigError
from navarch.services.kubelet.core.user_namespaces import IDS, free_block, user_namespace, wants_own

FILE = "userns"


class UserNamespaces:
    """Those of the Pods of one node."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def of(self, pod: corev1.Pod) -> criv1.UserNamespace | None:
        """That of a Pod; None for one in the host's. The first call decides. Raises ConfigError."""
        if not wants_own(pod):
            return None
        file = Path(self._layout.pod(pod.metadata.uid)) / FILE
        if not file.exists():
            pods = Path(self._layout.pods)
            first = free_block({_first_id(other) for other in pods.glob(f"*/{FILE}")})
            mapping = [{"hostId": first, "containerId": 0, "length": IDS}]
            made = file.with_suffix(".new")
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_bytes(orjson.dumps({"uidMappings": mapping, "gidMappings": mapping}))
            made.rename(file)
        return user_namespace(_first_id(file))


def _first_id(file: Path) -> int:
    try:
        return int(orjson.loads(file.read_bytes())["uidMappings"][0]["hostId"])
    except (OSError, ValueError, LookupError, TypeError) as failure:
        raise ConfigError(f"{file}: which ids the Pod has is not to be read: {failure}") from failure
