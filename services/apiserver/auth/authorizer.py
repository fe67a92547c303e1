"""The one place where it is asked whether a user may do something."""

from dataclasses import dataclass
from typing import Protocol

from navarch.services.api.errors import Forbidden
from navarch.services.api.kinds import Kind
from navarch.services.apiserver.auth.user import User


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a user wants to do: a verb on a resource, or on one object of it."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def path(self) -> str:
        """Resource with subresource, as rules name them: "pods/status"."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Authorizer(Protocol):
    """Decides. Must not wait: what it needs to know it keeps at hand."""

    def allows(self, user: User, attributes: Attributes) -> bool:
        """Whether the user may."""
        ...


def authorize(
    authorizer: Authorizer,
    user: User,
    verb: str,
    kind: Kind,
    *,
    namespace: str = "",
    name: str = "",
    subresource: str = "",
) -> None:
    """Return if the user may; else raise Forbidden, in the words of Kubernetes."""
    attributes = Attributes(verb, kind.group, kind.resource, subresource, namespace, name)
    if authorizer.allows(user, attributes):
        return
    scope = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    detail = f'User "{user.name}" cannot {verb} resource "{attributes.path}" in API group "{kind.group}" {scope}'
    raise Forbidden(f"{attributes.path}.{kind.group}" if kind.group else attributes.path, name, detail)
