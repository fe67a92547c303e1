"""The ClusterTrustBundles of the cluster, followed by one watch as long as a Pod of this node projects any.

An API server without such objects (Kubernetes has them behind a switch) is asked again for each such Pod.
"""

from collections.abc import Callable, Sequence

from navarch.protos.k8s.certificates import v1beta1_pb2 as certificatesv1beta1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import ApiError, NotFound
from navarch.services.base.clock import Clock
from navarch.services.client.client import Client
from navarch.services.client.informer import Informer
from navarch.services.kubelet.core.references import ConfigError, projects_trust_bundles
from navarch.services.kubelet.core.trust_bundles import TrustBundle

Bundle = certificatesv1beta1.ClusterTrustBundle


class TrustBundles:
    """All bundles. on_change: called with the uids of the Pods that project some, whichever has changed."""

    def __init__(self, client: Client, clock: Clock, on_change: Callable[[set[str]], None]) -> None:
        self._client = client
        self._clock = clock
        self._on_change = on_change
        self._users: set[str] = set()
        self._informer: Informer[Bundle] | None = None

    async def acquire(self, pod: corev1.Pod) -> None:
        """Have the bundles at hand if the Pod projects any. Raises ConfigError where they cannot be read."""
        if not projects_trust_bundles(pod):
            return
        self._users.add(pod.metadata.uid)
        if self._informer is None:
            try:
                await self._client.list(Bundle, limit=1)
            except NotFound:
                return
            except ApiError as failure:
                raise ConfigError(f"failed to list clustertrustbundles: {failure.message}") from failure
            if self._informer is None and self._users:
                self._informer = Informer(self._client, Bundle, clock=self._clock)
                self._informer.on_event(lambda _old, _new: self._on_change(set(self._users)))
                self._informer.start()
        if self._informer is not None:
            await self._informer.synced()

    async def release(self, uid: str) -> None:
        """The Pod is gone."""
        self._users.discard(uid)
        if not self._users:
            await self.stop()

    async def stop(self) -> None:
        """End the watch."""
        informer, self._informer = self._informer, None
        if informer is not None:
            await informer.stop()

    def list(self) -> Sequence[TrustBundle] | None:
        """All of them; None where the cluster has no such objects."""
        if self._informer is None:
            return None
        return [
            TrustBundle(
                bundle.metadata.name, bundle.spec.signer_name, bundle.spec.trust_bundle, dict(bundle.metadata.labels)
            )
            for bundle in self._informer.list()
        ]
