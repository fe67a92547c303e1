"""RuntimeClasses: which handler of the runtime a Pod is to run with (KEP-585).

Few nodes have Pods that name one: they are followed from the first such Pod on.
"""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.node import v1_pb2 as nodev1
from navarch.services.base.clock import Clock
from navarch.services.client.client import Client
from navarch.services.client.informer import Informer
from navarch.services.kubelet.core.references import ConfigError


class RuntimeClasses:
    """The RuntimeClasses of the cluster."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._classes: Informer[nodev1.RuntimeClass] = Informer(client, nodev1.RuntimeClass, clock=clock)
        self._is_followed = False

    async def handler(self, pod: corev1.Pod) -> str:
        """The handler of a Pod; "" for the runtime's own choice. Raises ConfigError."""
        name = pod.spec.runtime_class_name
        if not name:
            return ""
        if not self._is_followed:
            self._is_followed = True
            self._classes.start()
        await self._classes.synced()
        found = self._classes.get(name)
        if found is None:
            raise ConfigError(f'failed to get sandbox runtime: runtimeclass.node.k8s.io "{name}" not found')
        return found.handler

    async def stop(self) -> None:
        """Follow them no more."""
        await self._classes.stop()
