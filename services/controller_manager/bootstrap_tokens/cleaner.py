"""The loop that removes bootstrap tokens that have ended."""

from contextlib import suppress

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import errors
from navarch.services.api.meta import key_of
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Result
from navarch.services.controller_manager.bootstrap_tokens.plan import ends_at, is_token

WORKERS = 1


class TokenCleaner:
    """Reconciles Secrets by namespace and name."""

    def __init__(self, context: Context) -> None:
        self.controller = Controller("token-cleaner-controller", self.reconcile, WORKERS, context.clock)
        self._client, self._clock = context.client, context.clock
        self._secrets = context.informers.of(corev1.Secret)
        self._secrets.on_event(self._on_secret)

    async def reconcile(self, key: str) -> Result | None:
        """Remove one token, or look again when it ends."""
        secret = self._secrets.get(key)
        end = ends_at(secret) if secret is not None and is_token(secret) else None
        if secret is None or end is None:
            return None
        left_s = end - self._clock.now()
        if left_s > 0:
            return Result(left_s)
        metadata = secret.metadata
        with suppress(errors.NotFound):
            await self._client.delete(corev1.Secret, metadata.name, metadata.namespace, uid=metadata.uid)
        return None

    def _on_secret(self, old: corev1.Secret | None, new: corev1.Secret | None) -> None:
        if new is not None and is_token(new):
            self.controller.queue.add(key_of(new))
