"""The one place where it is asked whether a user may do something."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from navarch.services.api.errors import Forbidden
from navarch.services.apiserver.auth.user import User

if TYPE_CHECKING:
    from navarch.services.apiserver.auth.roles import Rule


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a user wants to do: a verb on a resource, or on one object of it; or on a path that is no resource.

    name: also of a list or watch that selects one object. node: of a list or watch that selects one node's.
    """

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    node: str = ""
    # Of requests that are about no resource: "/metrics".
    url: str = ""

    @property
    def key(self) -> str:
        """The resource as the notation of roles has it: "pods/status", "leases@coordination.k8s.io"."""
        return f"{self.path}@{self.group}" if self.group else self.path

    @property
    def path(self) -> str:
        """Resource with subresource, as rules name them: "pods/status"."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Authorizer(Protocol):
    """Decides. Must not wait: what it needs to know it keeps at hand."""

    def allows(self, user: User, attributes: Attributes) -> bool:
        """Whether the user may."""
        ...

    def rules_of(self, user: User) -> "Sequence[Rule]":
        """What the user may do, as far as it can be listed."""
        ...


def authorize(authorizer: Authorizer, user: User, wanted: Attributes) -> None:
    """Return if the user may; else raise Forbidden, in the words of Kubernetes."""
    if authorizer.allows(user, wanted):
        return
    if wanted.url:
        raise Forbidden("", "", f'User "{user.name}" cannot {wanted.verb} path "{wanted.url}"')
    scope = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
    what = f'resource "{wanted.path}" in API group "{wanted.group}" {scope}'
    detail = f'User "{user.name}" cannot {wanted.verb} {what}'
    raise Forbidden(f"{wanted.path}.{wanted.group}" if wanted.group else wanted.path, wanted.name, detail)
