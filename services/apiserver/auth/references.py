"""Which ConfigMaps and Secrets a node may read: those that its Pods name."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.kinds import KINDS
from navarch.services.api.pod_references import CONFIG_MAP, SECRET, references
from navarch.services.apiserver.cacher.cachers import Cachers

POD = KINDS.of(corev1.Pod)
KINDS_OF = {"configmaps": CONFIG_MAP, "secrets": SECRET}


class PodReferences:
    """Answers from the cache of Pods. A kubelet learns of its Pods from there too, so it is never ahead."""

    def __init__(self, cachers: Cachers) -> None:
        self._cachers = cachers

    def has(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """Whether a Pod that is bound to the node names this object."""
        if not name:
            return False
        wanted = (KINDS_OF[resource], name)
        pods = self._cachers.of(POD).cache.on_node(node)
        return any(pod.namespace == namespace and wanted in references(pod.decode()) for pod in pods)
