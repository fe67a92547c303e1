"""Whether what a token is bound to is still there: asked of the caches, and of the store before it is denied."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import meta
from navarch.services.api.kinds import KINDS, Kind
from navarch.services.apiserver.auth.service_account_tokens import Claims, InvalidToken, Named
from navarch.services.apiserver.cacher.cachers import Cachers
from navarch.services.apiserver.storage.objects import ObjectStorage

ACCOUNT = KINDS.of(corev1.ServiceAccount)
POD = KINDS.of(corev1.Pod)
SECRET = KINDS.of(corev1.Secret)
NODE = KINDS.of(corev1.Node)
# Tokens outlive the deletion of what they are bound to by so much, for a last word on the way down.
GRACE_S = 60.0


class BoundObjects:
    """Looks for the objects of claims."""

    def __init__(self, cachers: Cachers, storage: ObjectStorage) -> None:
        self._cachers = cachers
        self._storage = storage

    async def check(self, claims: Claims, now: float) -> None:
        """Raise InvalidToken unless account and bound objects are there, with the uids of the claims."""
        namespace = claims.namespace
        await self._check(ACCOUNT, "service account", namespace, claims.account, now)
        if claims.secret is not None:
            await self._check(SECRET, "secret", namespace, claims.secret, now)
        if claims.pod is not None:
            await self._check(POD, "pod", namespace, claims.pod, now)
        elif claims.node is not None:
            # A Pod's token names its node for information; only a token that is bound to the node dies with it.
            await self._check(NODE, "node", "", claims.node, now)

    async def _check(self, kind: Kind, what: str, namespace: str, wanted: Named, now: float) -> None:
        cache = await self._cachers.of(kind).ready()
        key = f"{namespace}/{wanted.name}" if namespace else wanted.name
        stored = cache.get(key)
        if stored is None or stored.message.metadata.uid != wanted.uid:
            stored = await self._storage.get(kind, namespace, wanted.name)
        if stored is None:
            raise InvalidToken(f"{what} {key} has been deleted")
        found = stored.decode()
        if found.metadata.uid != wanted.uid:
            raise InvalidToken(f"{what} UID ({found.metadata.uid}) does not match claim ({wanted.uid})")
        if meta.is_being_deleted(found) and found.metadata.deletion_timestamp.seconds + GRACE_S < now:
            raise InvalidToken(f"{what} {key} has been deleted")
