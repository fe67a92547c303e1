"""Tokens of service accounts for Pods: asked of the API server, bound to the Pod, kept until they are to be renewed.

A token is renewed once four fifths of its life are over, or a day. Where that fails while the old one is still good,
the old one serves on.
"""

from dataclasses import dataclass

from navarch.protos.k8s.authentication import v1_pb2 as authenticationv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import ApiError
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.client.client import Client
from navarch.services.kubelet.core.references import ConfigError

LONGEST_USE_S = 24 * 3600.0
USED_SHARE = 0.8
# After a renewal that failed.
RETRY_S = 10.0

# Uid of the Pod, audience, seconds asked for.
Key = tuple[str, str, int]


@dataclass(slots=True)
class _Held:
    text: str
    expires_at: float
    renew_at: float


class PodTokens:
    """The tokens of the Pods of one node."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._held: dict[Key, _Held] = {}
        self._log = get_logger("kubelet.tokens")

    def next_renewal(self) -> float | None:
        """When the first of them is to be renewed (Unix seconds)."""
        return min((held.renew_at for held in self._held.values()), default=None)

    def due(self) -> set[str]:
        """The uids of the Pods that have a token to be renewed by now."""
        now = self._clock.now()
        return {uid for (uid, _, _), held in self._held.items() if held.renew_at <= now}

    def forget(self, uid: str) -> None:
        """The Pod is gone."""
        for key in [key for key in self._held if key[0] == uid]:
            del self._held[key]

    async def token(self, pod: corev1.Pod, projection: corev1.ServiceAccountTokenProjection) -> str:
        """A token for the Pod, by a projection. Raises ConfigError."""
        return (await self.issue(pod, projection))[0]

    async def issue(self, pod: corev1.Pod, projection: corev1.ServiceAccountTokenProjection) -> tuple[str, float]:
        """The same, and when it ends (Unix seconds). Raises ConfigError."""
        key = (pod.metadata.uid, projection.audience, projection.expiration_seconds)
        held, now = self._held.get(key), self._clock.now()
        if held is not None and now < held.renew_at:
            return held.text, held.expires_at
        try:
            made = self._held[key] = await self._request(pod, projection)
        except ApiError as failure:
            if held is None or held.expires_at <= now:
                raise ConfigError(f"failed to fetch token: {failure}") from failure
            self._log.warning("token.not_renewed", pod=pod.metadata.name, error=failure)
            held.renew_at = now + RETRY_S
            return held.text, held.expires_at
        return made.text, made.expires_at

    async def _request(self, pod: corev1.Pod, projection: corev1.ServiceAccountTokenProjection) -> _Held:
        spec = authenticationv1.TokenRequestSpec(
            audiences=[projection.audience] if projection.audience else [],
            expiration_seconds=projection.expiration_seconds,
            bound_object_ref=authenticationv1.BoundObjectReference(
                kind="Pod", api_version="v1", name=pod.metadata.name, uid=pod.metadata.uid
            ),
        )
        began = self._clock.now()
        status = await self._client.request_token(pod.metadata.namespace, pod.spec.service_account_name, spec)
        expires_at = float(status.expiration_timestamp.seconds)
        use_s = min((expires_at - began) * USED_SHARE, LONGEST_USE_S)
        return _Held(status.token, expires_at, began + use_s)
