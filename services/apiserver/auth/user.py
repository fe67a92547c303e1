"""Who makes a request."""

from dataclasses import dataclass

MASTERS = "system:masters"
NODES = "system:nodes"
NODE_PREFIX = "system:node:"
NETWORK_AGENTS = "system:navarch-network"
NETWORK_PREFIX = "system:navarch-network:"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS_NAME = "system:anonymous"
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
SERVICE_ACCOUNTS = "system:serviceaccounts"

Extra = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class User:
    """A name and its groups. extra: what else the authenticator knows, as (key, values)."""

    name: str
    groups: frozenset[str]
    uid: str = ""
    extra: Extra = ()

    @property
    def node_name(self) -> str:
        """The node whose kubelet this is, or ""."""
        is_node = NODES in self.groups and self.name.startswith(NODE_PREFIX)
        return self.name.removeprefix(NODE_PREFIX) if is_node else ""

    @property
    def network_node(self) -> str:
        """The node whose network agent this is, or ""."""
        is_agent = NETWORK_AGENTS in self.groups and self.name.startswith(NETWORK_PREFIX)
        return self.name.removeprefix(NETWORK_PREFIX) if is_agent else ""


ANONYMOUS = User(ANONYMOUS_NAME, frozenset({UNAUTHENTICATED}))


def service_account_name(namespace: str, name: str) -> str:
    """The user name of a service account."""
    return f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"


def service_account_groups(namespace: str) -> frozenset[str]:
    """The groups that every service account of a namespace is in."""
    return frozenset({SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}"})


def split_service_account(user_name: str) -> tuple[str, str] | None:
    """Namespace and name, if the user is a service account."""
    namespace, _, name = user_name.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")
    is_one = user_name.startswith(SERVICE_ACCOUNT_PREFIX) and namespace and name and ":" not in name
    return (namespace, name) if is_one else None
