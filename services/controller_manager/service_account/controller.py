"""The loop that gives every Namespace its `default` ServiceAccount and the cluster's root certificate."""

from google.protobuf.message import Message

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import errors
from navarch.services.api.meta import metadata_of
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller
from navarch.services.controller_manager.service_account.plan import (
    DEFAULT,
    ROOT_CA,
    default_account,
    root_ca,
    wants_content,
)

WORKERS = 2


class ServiceAccountController:
    """Reconciles Namespaces by name. root_certificate: PEM; empty publishes none."""

    def __init__(self, context: Context, root_certificate: str = "") -> None:
        self.controller = Controller("service-account", self.reconcile, WORKERS, context.clock)
        self._client = context.client
        self._certificate = root_certificate
        self._namespaces = context.informers.of(corev1.Namespace)
        self._accounts = context.informers.of(corev1.ServiceAccount)
        self._config_maps = context.informers.of(corev1.ConfigMap)
        self._namespaces.on_event(self._on_namespace)
        self._accounts.on_event(self._on_content)
        self._config_maps.on_event(self._on_content)

    async def reconcile(self, name: str) -> None:
        """See that one Namespace has what every Namespace gets."""
        namespace = self._namespaces.get(name)
        if namespace is None or not wants_content(namespace):
            return
        if self._accounts.get(f"{name}/{DEFAULT}") is None:
            await self._create(default_account(name))
        if not self._certificate:
            return
        current = self._config_maps.get(f"{name}/{ROOT_CA}")
        wanted = root_ca(name, self._certificate, current)
        if wanted is not None and current is None:
            await self._create(wanted)
        elif wanted is not None:
            await self._client.update(wanted)

    async def _create(self, obj: Message) -> None:
        """Create, content with one that is there, or with a Namespace that went away."""
        try:
            await self._client.create(obj)
        except errors.AlreadyExists:
            return
        except errors.ApiError:
            namespace = self._namespaces.get(metadata_of(obj).namespace)
            if namespace is not None and wants_content(namespace):
                raise

    def _on_namespace(self, old: corev1.Namespace | None, new: corev1.Namespace | None) -> None:
        if new is not None:
            self.controller.queue.add(new.metadata.name)

    def _on_content(self, old: Message | None, new: Message | None) -> None:
        """One that was removed comes back; the certificate also when it was changed."""
        changed = new if new is not None else old
        if changed is None or (old is None and new is not None):
            return
        metadata = metadata_of(changed)
        if metadata.name in (DEFAULT, ROOT_CA):
            self.controller.queue.add(metadata.namespace)
