"""What a caller may do at this kubelet: the API server decides, as for `nodes` and its subresources.

A path belongs to a subresource; what has a fine one of its own (KEP-2862) is asked for by that first, and then by
`proxy`, which stands for everything.
"""

from dataclasses import dataclass

from navarch.protos.k8s.authorization import v1_pb2 as authorizationv1
from navarch.services.api.errors import Forbidden
from navarch.services.base.clock import Clock
from navarch.services.client.client import Client
from navarch.services.kubelet.authentication import Caller
from navarch.services.kubelet.remembered import Remembered

PROXY = "proxy"
# The first word of a path -> the subresource that it has always had.
COARSE = {
    "stats": "stats",
    "metrics": "metrics",
    "logs": "log",
    "spec": "spec",
    "checkpoint": "checkpoint",
    "statusz": "statusz",
    "flagz": "configz",
}
# ... and the one that is asked for before `proxy`.
FINE = {"healthz": "healthz", "configz": "configz", "pods": "pods", "runningpods": "pods"}
VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# As long as the genuine kubelet believes an answer.
ALLOWED_S, DENIED_S = 300.0, 30.0


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody wants. subresources: any of them will do, asked for in this order."""

    verb: str
    subresources: tuple[str, ...]

    @classmethod
    def of(cls, method: str, path: str) -> "Deed":
        """By an HTTP request."""
        word = path.strip("/").partition("/")[0]
        if word in COARSE:
            subresources: tuple[str, ...] = (COARSE[word],)
        else:
            subresources = (FINE[word], PROXY) if word in FINE else (PROXY,)
        return cls(VERBS.get(method, method.lower()), subresources)


class Authorization:
    """Asks the API server by SubjectAccessReview, and remembers the answers for some time."""

    def __init__(self, client: Client, clock: Clock, node: str) -> None:
        self._client = client
        self._node = node
        self._answers: Remembered[tuple[object, ...], bool] = Remembered(clock)

    async def require(self, caller: Caller, deed: Deed) -> None:
        """Raises Forbidden; other ApiErrors when the API server cannot be asked."""
        for subresource in deed.subresources:
            if await self._may(caller, deed.verb, subresource):
                return
        resource = f"nodes, subresource={deed.subresources[-1]}"
        raise Forbidden(
            f"nodes/{deed.subresources[-1]}",
            self._node,
            f"Forbidden (user={caller.name}, verb={deed.verb}, resource={resource})",
        )

    async def _may(self, caller: Caller, verb: str, subresource: str) -> bool:
        extra = tuple(sorted(caller.extra.items()))
        key = (caller.name, caller.groups, caller.uid, extra, verb, subresource)
        if (known := self._answers.get(key)) is not None:
            return known.value
        review = authorizationv1.SubjectAccessReview()
        review.spec.user, review.spec.uid = caller.name, caller.uid
        review.spec.groups.extend(caller.groups)
        for name, values in caller.extra.items():
            review.spec.extra[name].items.extend(values)
        wanted = review.spec.resource_attributes
        wanted.verb, wanted.version, wanted.resource = verb, "v1", "nodes"
        wanted.subresource, wanted.name = subresource, self._node
        allowed = (await self._client.create(review)).status.allowed
        self._answers.put(key, allowed, ALLOWED_S if allowed else DENIED_S)
        return allowed
