"""Flows that the kernel remembers and that lead to nowhere.

The kernel decides about the first packet of a flow only. UDP has no end of a connection: a client that goes on
sending keeps its flow, and with it an endpoint that is gone, or the lack of one from before the Service had any.
So when a frontend of UDP loses targets, or gets its first, flows that lead elsewhere than to its targets are
deleted, and their next packet is decided about anew. Flows of TCP end by themselves: they are left alone, as
kube-proxy does.
"""

import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from navarch.services.proxy.endpoints import Target
from navarch.services.proxy.families import Family
from navarch.services.proxy.frontends import Frontend, FrontendId
from navarch.services.proxy.state import FrontendChange

UDP = socket.IPPROTO_UDP
# From so many frontends on, one question for all flows is cheaper than one for each.
FEW = 16


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow: where its client sends, and who answers."""

    family: Family
    sent_to: Target
    answered_by: Target


@dataclass(frozen=True, slots=True)
class CleanUp:
    """What to look for: frontends as they were and are, by id; node_ips tell node ports from others' ports."""

    changes: dict[FrontendId, FrontendChange]
    node_ips: frozenset[str]

    @classmethod
    def of(cls, changes: Iterable[FrontendChange], node_ips: frozenset[str]) -> "CleanUp":
        """What these changes, in the order in which they came, make necessary."""
        merged: dict[FrontendId, FrontendChange] = {}
        for change in changes:
            frontend = change.new or change.old
            if frontend is not None and frontend.id.protocol == "udp":
                first = merged.get(frontend.id, change)
                merged[frontend.id] = FrontendChange(first.old, change.new)
        return cls({id: change for id, change in merged.items() if _strands(change)}, node_ips)

    def is_stale(self, flow: Flow) -> bool:
        """Whether the flow leads elsewhere than its frontend does now."""
        address, port = flow.sent_to
        change = self.changes.get(FrontendId(flow.family, "udp", address, port))
        if change is not None:
            after = _targets(change.new)
            if flow.answered_by == flow.sent_to:
                return bool(after)
            return flow.answered_by not in after
        change = self.changes.get(FrontendId(flow.family, "udp", "", port))
        if change is None or address not in self.node_ips:
            return False
        before, after = _targets(change.old), _targets(change.new)
        if flow.answered_by == flow.sent_to:
            return bool(after)
        return flow.answered_by not in after and (flow.answered_by in before or change.old is None)


def _strands(change: FrontendChange) -> bool:
    """Whether flows may now lead to nowhere."""
    before, after = _targets(change.old), _targets(change.new)
    return bool(before - after) or (bool(after) and not before)


def _targets(frontend: Frontend | None) -> set[Target]:
    return set() if frontend is None else {*frontend.targets, *frontend.local_targets}


def clean(work: CleanUp) -> int:
    """Delete the stale flows. Returns how many. For a thread: it waits for the kernel. Raises OSError."""
    deleted = 0
    for family in Family:
        ids = [id for id in work.changes if id.family is family]
        if ids:
            deleted += _clean_family(work, family, ids)
    return deleted


def _clean_family(work: CleanUp, family: Family, ids: list[FrontendId]) -> int:
    # Imported where it is needed: it is large, and many nodes have no Service of UDP but DNS.
    from pyroute2 import NFCTSocket
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

    number = socket.AF_INET if family is Family.V4 else socket.AF_INET6
    filters: list[dict[str, Any]] = [{}]
    if len(ids) <= FEW:
        filters = [{"dport": id.port, **({"daddr": id.address} if id.address else {})} for id in ids]
    deleted = 0
    with NFCTSocket(nfgen_family=number) as conntrack:
        for filter in filters:
            wanted = NFCTAttrTuple(family=number, proto=UDP, **filter)
            for message in list(conntrack.dump(tuple_orig=wanted)):
                sent = NFCTAttrTuple.from_netlink(number, message.get_attr("CTA_TUPLE_ORIG"))
                answer = NFCTAttrTuple.from_netlink(number, message.get_attr("CTA_TUPLE_REPLY"))
                flow = Flow(family, Target(sent.daddr, sent.dport), Target(answer.saddr, answer.sport))
                if not work.is_stale(flow):
                    continue
                try:
                    conntrack.entry("del", tuple_orig=sent)
                    deleted += 1
                except NetlinkError as failure:
                    # It has ended meanwhile.
                    if failure.code != errno.ENOENT:
                        raise OSError(failure.code, f"cannot delete a flow: {failure}") from failure
    return deleted
