"""The proxy's core: objects in, changes to the table out. Without I/O.

It knows what each Service put into the table. A change of a Service, or of its slices, makes it look at that
Service alone: its rules are computed anew and compared with those before, and the difference is the transaction.
What several Services may share (chains, addresses of Pods) is counted. A frontend that two Services claim
belongs to the first that came until that lets go of it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.api.meta import key_of
from navarch.services.proxy.chains import Handling
from navarch.services.proxy.elements import (
    Element,
    Place,
    cluster_ip_element,
    frontend_elements,
    hairpin_element,
)
from navarch.services.proxy.endpoints import ZONE_LABEL, Here
from navarch.services.proxy.families import Family, canonical
from navarch.services.proxy.frontends import NOTHING, Frontend, FrontendId, HealthCheck, ServiceRules, rules_of
from navarch.services.proxy.slots import keep_slots
from navarch.services.proxy.statements import Chain
from navarch.services.proxy.structure import Settings
from navarch.services.proxy.transaction import Transaction, render_table

# To make a chain has the kernel look at the whole table.
IDLE_CHAINS = 64
SERVICE_NAME_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class Conflict:
    """A Service that asks for a frontend which another has."""

    id: FrontendId
    owner: str
    service: str


@dataclass(frozen=True, slots=True)
class FrontendChange:
    """A frontend before and after; None where it was, or is, not there."""

    old: Frontend | None
    new: Frontend | None


class ProxyState:
    """The Services of the cluster as this node's table has them."""

    def __init__(self, settings: Settings, node: str) -> None:
        self.settings = settings
        self._outsiders = {family: bool(settings.pods(family)) for family in Family}
        self._here = Here(node)
        self._node_ips: frozenset[str] = frozenset()
        self._services: dict[str, corev1.Service] = {}
        self._slices: dict[str, dict[str, discoveryv1.EndpointSlice]] = {}
        self._rules: dict[str, ServiceRules] = {}
        self._health_checks: dict[str, HealthCheck] = {}
        self._owners: dict[FrontendId, str] = {}
        self._waiting: dict[FrontendId, set[str]] = {}
        self._conflicts: list[Conflict] = []
        self._shared: Counter[Place] = Counter()
        self._handlings: Counter[Handling] = Counter()
        self._chain_uses: Counter[str] = Counter()
        # Each after those it leads to.
        self._chains: dict[str, Chain] = {}
        # Ordered: the first to change is the first to be looked at.
        self._dirty: dict[str, None] = {}
        self._left_out: set[str] = set()
        self._whole = True

    # What is known.

    def set_service(self, service: corev1.Service) -> None:
        """A Service is new or has changed."""
        key = key_of(service)
        self._services[key] = service
        self._change(key)

    def remove_service(self, key: str) -> None:
        """A Service is gone."""
        if self._services.pop(key, None) is not None:
            self._change(key)

    def set_slice(self, slice: discoveryv1.EndpointSlice) -> None:
        """A slice is new or has changed."""
        service = service_of(slice)
        if service:
            self._slices.setdefault(service, {})[slice.metadata.name] = slice
            self._change(service)

    def remove_slice(self, slice: discoveryv1.EndpointSlice) -> None:
        """A slice is gone, or is another Service's now."""
        service = service_of(slice)
        slices = self._slices.get(service, {})
        if slices.pop(slice.metadata.name, None) is not None:
            if not slices:
                del self._slices[service]
            self._change(service)

    def _change(self, key: str) -> None:
        self._dirty[key] = None
        self._left_out.discard(key)

    def leave_out(self, key: str) -> None:
        """The kernel cannot have this Service as it is: have none of it in the table until it changes."""
        self._left_out.add(key)
        self._dirty[key] = None

    def only(self, keys: Iterable[str]) -> "ProxyState":
        """Of a cluster with these Services alone."""
        made = ProxyState(self.settings, self._here.node)
        made._here, made._node_ips = self._here, self._node_ips
        for key in keys:
            if key in self._services:
                made._services[key] = self._services[key]
                made._slices[key] = dict(self._slices.get(key, {}))
                made._dirty[key] = None
        return made

    def set_node(self, node: corev1.Node) -> None:
        """This node is known, or has changed."""
        here = Here(self._here.node, node.metadata.labels.get(ZONE_LABEL, ""))
        found = [canonical(address.address) for address in node.status.addresses]
        ips = frozenset(address[1] for address in found if address is not None)
        if (here, ips) != (self._here, self._node_ips):
            self._here, self._node_ips = here, ips
            self._dirty |= dict.fromkeys(self._services)

    def set_settings(self, settings: Settings) -> None:
        """The fixed part has changed: all of the table is made anew. The Pods' networks do not change."""
        if settings != self.settings:
            self.settings = settings
            self._whole = True

    def distrust(self) -> None:
        """The table may be otherwise than it was left."""
        self._whole = True

    # What it means.

    @property
    def is_dirty(self) -> bool:
        """Whether there is something to do."""
        return self._whole or bool(self._dirty)

    @property
    def wants_whole(self) -> bool:
        """Whether changes do not do, and `whole` is asked for."""
        return self._whole

    @property
    def rules(self) -> dict[str, ServiceRules]:
        """What each Service means, by its key. To be read only."""
        return self._rules

    @property
    def left_out(self) -> frozenset[str]:
        """Services that are not in the table because the kernel cannot have them."""
        return frozenset(self._left_out)

    @property
    def node_ips(self) -> frozenset[str]:
        """This node's addresses."""
        return self._node_ips

    @property
    def health_checks(self) -> list[HealthCheck]:
        """All that load balancers may ask about."""
        return list(self._health_checks.values())

    @property
    def has_affinity(self) -> bool:
        """Whether clients are remembered for any frontend."""
        return any(handling.affinity_s for handling in self._handlings)

    def is_shared(self, place: Place) -> bool:
        """Whether an element that several Services may have is there."""
        return place in self._shared

    def owner(self, id: FrontendId) -> str | None:
        """The Service that a frontend belongs to."""
        return self._owners.get(id)

    def take_conflicts(self) -> list[Conflict]:
        """Those that are new since the last call."""
        conflicts, self._conflicts = self._conflicts, []
        return conflicts

    def changes(self) -> tuple[Transaction, list[FrontendChange]]:
        """The difference since the last call. The caller applies it, or calls `distrust` when that fails."""
        transaction = Transaction()
        changed: list[FrontendChange] = []
        chains_before = list(self._chains)
        while self._dirty:
            key = next(iter(self._dirty))
            del self._dirty[key]
            changed += self._refresh(key, transaction)
        self._forget_idle()
        known = set(chains_before)
        transaction.new_chains = {name: chain for name, chain in self._chains.items() if name not in known}
        transaction.old_chains = [name for name in chains_before if name not in self._chains]
        return transaction, changed

    def whole(self) -> tuple[str, list[FrontendChange]]:
        """Input for nft that makes the whole table as it should be; and what changed since the last call."""
        _, changed = self.changes()
        self._forget_idle(keep=0)
        self._whole = False
        return render_table(self.settings, self._chains.values(), dict(self.elements())), changed

    def elements(self) -> Iterator[Element]:
        """All elements that the table should have."""
        for rules in self._rules.values():
            for frontend in rules.frontends:
                yield from frontend_elements(frontend, self.handling(frontend))
        yield from ((place, "") for place in self._shared)

    @property
    def chains(self) -> dict[str, Chain]:
        """All chains that frontends lead to, by name, each after those it leads to. To be read only."""
        return self._chains

    # One Service.

    def _refresh(self, key: str, transaction: Transaction) -> list[FrontendChange]:
        """Compute a Service's rules anew and note the difference."""
        old = self._rules.get(key, NOTHING)
        new = self._claimed(key, self._planned(key, old))
        if new == NOTHING:
            self._rules.pop(key, None)
        else:
            self._rules[key] = new
        if new.health_check is not None:
            self._health_checks[key] = new.health_check
        else:
            self._health_checks.pop(key, None)
        self._note_shared(old, new, transaction)
        before = {frontend.id: frontend for frontend in old.frontends}
        after = {frontend.id: frontend for frontend in new.frontends}
        changes = [
            FrontendChange(before.get(id), after.get(id))
            for id in {**before, **after}
            if before.get(id) != after.get(id)
        ]
        for change in changes:
            self._note_frontend(change, transaction)
        return changes

    def _planned(self, key: str, old: ServiceRules) -> ServiceRules:
        service = self._services.get(key)
        if service is None or key in self._left_out:
            return NOTHING
        rules = rules_of(service, self._slices.get(key, {}).values(), self._here, self._node_ips)
        before = {frontend.id: frontend for frontend in old.frontends}
        frontends = tuple(_in_slots(frontend, before.get(frontend.id)) for frontend in rules.frontends)
        return replace(rules, frontends=frontends)

    def _claimed(self, key: str, rules: ServiceRules) -> ServiceRules:
        """The rules with those frontends only that are this Service's own; who waits for others is looked at again."""
        mine = []
        wanted = set()
        for frontend in rules.frontends:
            id = frontend.id
            wanted.add(id)
            if self._owners.setdefault(id, key) == key:
                mine.append(frontend)
            elif key not in (waiting := self._waiting.setdefault(id, set())):
                waiting.add(key)
                self._conflicts.append(Conflict(id, self._owners[id], key))
        for frontend in self._rules.get(key, NOTHING).frontends:
            if frontend.id not in wanted and self._owners.get(frontend.id) == key:
                del self._owners[frontend.id]
                self._dirty |= dict.fromkeys(sorted(self._waiting.pop(frontend.id, set())))
        return rules if len(mine) == len(rules.frontends) else replace(rules, frontends=tuple(mine))

    def _note_shared(self, old: ServiceRules, new: ServiceRules, transaction: Transaction) -> None:
        before, after = set(_shared(old)), set(_shared(new))
        for place in sorted(after - before):
            self._shared[place] += 1
            if self._shared[place] == 1 and transaction.removed.pop(place, None) is None:
                transaction.added[place] = ""
        for place in sorted(before - after):
            self._shared[place] -= 1
            if not self._shared[place]:
                del self._shared[place]
                if transaction.added.pop(place, None) is None:
                    transaction.removed[place] = ""

    def _note_frontend(self, change: FrontendChange, transaction: Transaction) -> None:
        before = dict(self._elements_of(change.old))
        after = dict(self._elements_of(change.new))
        for place, value in before.items():
            # What was made within this transaction was never there.
            if after.get(place) != value and transaction.added.pop(place, None) is None:
                transaction.removed[place] = value
        for place, value in after.items():
            if before.get(place) != value:
                transaction.added[place] = value
        self._count(change.new, 1)
        self._count(change.old, -1)

    def _elements_of(self, frontend: Frontend | None) -> Iterator[Element]:
        return iter(()) if frontend is None else frontend_elements(frontend, self.handling(frontend))

    # Chains.

    def handling(self, frontend: Frontend) -> Handling | None:
        """What the frontend has in common with others; None where it has no targets."""
        if not frontend.targets:
            return None
        return Handling.of(frontend, self._outsiders[frontend.id.family])

    def _count(self, frontend: Frontend | None, step: int) -> None:
        """A frontend more, or less, that has chains."""
        handling = self.handling(frontend) if frontend is not None else None
        if handling is None:
            return
        self._handlings[handling] += step
        if step > 0 and self._handlings[handling] == 1:
            for chain in handling.chains():
                self._chain_uses[chain.name] += 1
                self._chains.setdefault(chain.name, chain)
        elif not self._handlings[handling]:
            del self._handlings[handling]
            for chain in handling.chains():
                self._chain_uses[chain.name] -= 1
                if not self._chain_uses[chain.name]:
                    del self._chain_uses[chain.name]

    def _forget_idle(self, keep: int = IDLE_CHAINS) -> None:
        """Let go of chains that nobody uses, once there are many: the next change may want them again."""
        if len(self._chains) - len(self._chain_uses) > keep:
            self._chains = {name: chain for name, chain in self._chains.items() if name in self._chain_uses}


def service_of(slice: discoveryv1.EndpointSlice) -> str:
    """The key of the Service that a slice belongs to, "" for none."""
    name = slice.metadata.labels.get(SERVICE_NAME_LABEL, "")
    return f"{slice.metadata.namespace}/{name}" if name else ""


def _in_slots(frontend: Frontend, before: Frontend | None) -> Frontend:
    """The frontend with those targets that were there before in their old slots."""
    if before is None:
        return frontend
    return replace(
        frontend,
        targets=keep_slots(before.targets, frontend.targets),
        local_targets=keep_slots(before.local_targets, frontend.local_targets),
    )


def _shared(rules: ServiceRules) -> Iterator[Place]:
    """Elements that other Services may have, too."""
    if rules == NOTHING:
        return
    for address in rules.cluster_ips:
        yield cluster_ip_element(address)[0]
    for address in rules.local:
        yield hairpin_element(address)[0]
