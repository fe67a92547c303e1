"""What certificates a kubelet has, when it wants a new one, and what it asks for. Pure.

After the genuine kubelet: a certificate is renewed when 70 to 90 % of its life are over, a serving one also when the
names differ that the node is reached by. A request is named after its content, so that a kubelet that was killed
while it waited finds its own request again.
"""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

NODES: Final = "system:nodes"
NODE_PREFIX: Final = "system:node:"


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a certificate is for. files: what the names of its files begin with."""

    files: str
    signer: str
    usages: tuple[str, ...]


CLIENT: Final = Purpose(
    "kubelet-client", "kubernetes.io/kube-apiserver-client-kubelet", ("client auth", "digital signature")
)
SERVING: Final = Purpose("kubelet-server", "kubernetes.io/kubelet-serving", ("digital signature", "server auth"))


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate that the kubelet has. begin, end: unix seconds; names: that it may serve under."""

    begin: float
    end: float
    common_name: str
    names: frozenset[str] = frozenset()


def subject(node_name: str) -> str:
    """The common name of a node's certificates."""
    return f"{NODE_PREFIX}{node_name}"


def is_usable(held: Held | None, node_name: str, now: float) -> bool:
    """Whether the node can show it: its own, begun and not ended."""
    return held is not None and held.common_name == subject(node_name) and held.begin <= now < held.end


def renewal_at(held: Held, obtained_at: float, share: float) -> float:
    """When to ask for the next, unix seconds: after this share of the life that it had when it was obtained.

    Signers date certificates back for hosts whose clocks are behind, which does not count as life.
    """
    begin = max(held.begin, min(obtained_at, held.end))
    return begin + (held.end - begin) * share


def misses_names(held: Held, wanted: Iterable[str]) -> bool:
    """Whether it cannot serve under one of the names."""
    return not frozenset(wanted) <= held.names


def request_name(public_key: bytes, purpose: Purpose, node_name: str, names: Iterable[str]) -> str:
    """The name of the request that asks for this; of another key or for other names it is another."""
    parts = (purpose.signer, *purpose.usages, subject(node_name), *sorted(names))
    digest = hashlib.sha256(public_key + "\0".join(parts).encode()).digest()
    prefix = "node-csr" if purpose is CLIENT else "csr"
    return f"{prefix}-{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
