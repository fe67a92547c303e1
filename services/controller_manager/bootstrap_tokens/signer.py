"""The loop that signs the ConfigMap cluster-info with each bootstrap token that is for it.

A new node reads it before it trusts anybody; who knows a token knows by the signature that the cluster's authority in
it is the right one.
"""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Result
from navarch.services.client.informer import by_namespace
from navarch.services.controller_manager.bootstrap_tokens.plan import NAMESPACE, Token, ends_at, is_token, signed_data

WORKERS = 1
INFO = "kube-public/cluster-info"


class BootstrapSigner:
    """Reconciles one ConfigMap."""

    def __init__(self, context: Context) -> None:
        self.controller = Controller("bootstrap-signer-controller", self.reconcile, WORKERS, context.clock)
        self._client, self._clock = context.client, context.clock
        self._secrets = context.informers.of(corev1.Secret, {"namespace": by_namespace})
        self._config_maps = context.informers.of(corev1.ConfigMap)
        self._secrets.on_event(self._on_secret)
        self._config_maps.on_event(self._on_config_map)

    async def reconcile(self, key: str) -> Result | None:
        """See that the signatures are those of the tokens that count now; look again when the next one ends."""
        info = self._config_maps.get(key)
        if info is None:
            return None
        now = self._clock.now()
        secrets = [secret for secret in self._secrets.by_index("namespace", NAMESPACE) if Token.of(secret, now)]
        wanted = signed_data(info.data, [token for secret in secrets if (token := Token.of(secret, now))])
        if wanted != dict(info.data):
            changed = corev1.ConfigMap()
            changed.CopyFrom(info)
            changed.data.clear()
            changed.data.update(wanted)
            await self._client.update(changed)
        ends = [end for secret in secrets if (end := ends_at(secret)) is not None]
        return Result(min(ends) - now) if ends else None

    def _on_secret(self, old: corev1.Secret | None, new: corev1.Secret | None) -> None:
        changed = new if new is not None else old
        if changed is not None and is_token(changed):
            self.controller.queue.add(INFO)

    def _on_config_map(self, old: corev1.ConfigMap | None, new: corev1.ConfigMap | None) -> None:
        if new is not None and f"{new.metadata.namespace}/{new.metadata.name}" == INFO:
            self.controller.queue.add(INFO)
