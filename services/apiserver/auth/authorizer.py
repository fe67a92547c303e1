"""The one place where it is asked whether a user may do something."""

from dataclasses import dataclass
from typing import Protocol

from navarch.services.api.errors import Forbidden
from navarch.services.apiserver.auth.user import User


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a user wants to do: a verb on a resource, or on one object of it.

    name: also of a list or watch that selects one object. node: of a list or watch that selects one node's.
    """

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    node: str = ""

    @property
    def path(self) -> str:
        """Resource with subresource, as rules name them: "pods/status"."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Authorizer(Protocol):
    """Decides. Must not wait: what it needs to know it keeps at hand."""

    def allows(self, user: User, attributes: Attributes) -> bool:
        """Whether the user may."""
        ...


def authorize(authorizer: Authorizer, user: User, wanted: Attributes) -> None:
    """Return if the user may; else raise Forbidden, in the words of Kubernetes."""
    if authorizer.allows(user, wanted):
        return
    scope = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
    what = f'resource "{wanted.path}" in API group "{wanted.group}" {scope}'
    detail = f'User "{user.name}" cannot {wanted.verb} {what}'
    raise Forbidden(f"{wanted.path}.{wanted.group}" if wanted.group else wanted.path, wanted.name, detail)
