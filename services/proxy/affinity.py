"""Clients keep their endpoints while endpoints come and go, and while the table is put in place anew.

The kernel remembers for each client the slot it was given. Where a target leaves its slot, those who were at it
follow it to its new one, or are forgotten with it, in the same transaction; whoever comes anew between our look
and that transaction is at another target next time. Only Services with affinity cost anything.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from navarch.services.proxy import nft
from navarch.services.proxy.chains import endpoints_map
from navarch.services.proxy.elements import Place, target_key, target_value
from navarch.services.proxy.endpoints import Target
from navarch.services.proxy.families import Family
from navarch.services.proxy.frontends import PROTOCOLS, Frontend
from navarch.services.proxy.state import FrontendChange, ProxyState

SETS = tuple(
    endpoints_map(family, protocol, by_port=by_port, local=local).replace("endpoints", "affinity")
    for family in Family
    for protocol in PROTOCOLS
    for by_port in (False, True)
    for local in (False, True)
)


class Remembered(NamedTuple):
    """A client at a slot of a frontend. frontend: its `target_key`; times in seconds."""

    set: str
    client: str
    frontend: str
    slot: int
    timeout_s: int
    expires_s: int

    @property
    def target(self) -> Place:
        """Where the target of its slot is."""
        return Place(self.set.replace("affinity", "endpoints"), f"{self.frontend} . {self.slot}")

    def key(self, slot: int) -> str:
        """As the set has it, at this slot."""
        return f"{self.client} . {self.frontend} . {slot}"


class Move(NamedTuple):
    """A client that leaves its slot. to: its new slot, None if it is forgotten."""

    who: Remembered
    to: int | None


def read(set: str, listing: bytes) -> Iterator[Remembered]:
    """What `nft -j list set` says of a set of clients."""
    for element in _elements(listing):
        inner = element["elem"]
        client, *frontend, slot = inner["val"]["concat"]
        timeout_s = int(inner.get("timeout", 0))
        key = " . ".join(str(part) for part in frontend)
        yield Remembered(set, client, key, int(slot), timeout_s, int(inner.get("expires", timeout_s)))


def read_targets(listing: bytes) -> dict[str, str]:
    """What `nft -j list map` says of a map of targets: text by text, as they are put in."""
    return {
        " . ".join(str(part) for part in key["concat"]): " . ".join(str(part) for part in value["concat"])
        for key, value in _elements(listing)
    }


def _elements(listing: bytes) -> list[Any]:
    for item in json.loads(listing)["nftables"]:
        content = item.get("set") or item.get("map")
        if content is not None:
            elements: list[Any] = content.get("elem", [])
            return elements
    return []


def moves(remembered: Iterable[Remembered], changes: Iterable[FrontendChange]) -> Iterator[Move]:
    """Who must move because of these changes."""
    by_key = {_set_key(change): change for change in changes if (change.old or change.new) is not None}
    for who in remembered:
        change = by_key.get((who.set.removeprefix("local-"), who.frontend))
        if change is None:
            continue
        before, after = _targets(change.old, who.set), _targets(change.new, who.set)
        target = before[who.slot] if who.slot < len(before) else None
        to = after.index(target) if target is not None and target in after else None
        if to != who.slot:
            yield Move(who, to)


def _set_key(change: FrontendChange) -> tuple[str, str]:
    frontend = change.new or change.old
    assert frontend is not None
    return _set_of(frontend), target_key(frontend.id)


def _set_of(frontend: Frontend) -> str:
    id = frontend.id
    return endpoints_map(id.family, id.protocol, by_port=not id.address, local=False).replace("endpoints", "affinity")


def _targets(frontend: Frontend | None, set: str) -> tuple[Target, ...]:
    if frontend is None or not frontend.affinity_s:
        return ()
    return frontend.local_targets if set.startswith("local-") else frontend.targets


def render_moves(table: str, moved: Iterable[Move]) -> str:
    """The part of a transaction that carries them out."""
    lines = []
    listed = list(moved)
    for who, _ in listed:
        lines.append(f"delete element inet {table} {who.set} {{ {who.key(who.slot)} }}\n")
    for who, to in listed:
        if to is not None:
            lines.append(_addition(table, who, to))
    return "".join(lines)


def restored(
    table: str,
    remembered: Iterable[Remembered],
    target_of: Callable[[Remembered], str | None],
    frontends: Iterable[Frontend],
) -> str:
    """The part of a transaction that puts clients back, at the slots that their targets have now."""
    by_key = {(_set_of(frontend), target_key(frontend.id)): frontend for frontend in frontends}
    lines = []
    for who in remembered:
        frontend = by_key.get((who.set.removeprefix("local-"), who.frontend))
        target = target_of(who)
        slots = {target_value(now): slot for slot, now in enumerate(_targets(frontend, who.set))}
        if target in slots:
            lines.append(_addition(table, who, slots[target]))
    return "".join(lines)


def _addition(table: str, who: Remembered, slot: int) -> str:
    times = f"timeout {who.timeout_s}s expires {max(1, who.expires_s)}s"
    return f"add element inet {table} {who.set} {{ {who.key(slot)} {times} }}\n"


class AffinityKeeper:
    """Looks at what the kernel remembers when that is necessary."""

    def __init__(self, table: str) -> None:
        self._table = table

    async def before(self, changes: list[FrontendChange]) -> str:
        """What these changes do to the remembered clients, as a part of their transaction. Raises NftError."""
        upset = [change for change in changes if _upsets(change)]
        if not upset:
            return ""
        sets = {f"{local}{_set_key(change)[0]}" for change in upset for local in ("", "local-")}
        return render_moves(self._table, moves(await self._remembered(sorted(sets)), upset))

    async def whole(self, state: ProxyState) -> str:
        """Those that the present table remembers, as a part of the transaction that replaces it."""
        if not state.has_affinity:
            return ""
        try:
            remembered = await self._remembered(SETS)
        except nft.NftError:
            # There is no table, or another one: nobody is remembered.
            return ""
        maps = sorted({who.target.container for who in remembered})
        targets = {name: read_targets(await nft.list_json("map", "inet", self._table, name)) for name in maps}

        def target_of(who: Remembered) -> str | None:
            return targets[who.target.container].get(who.target.key)

        frontends = (frontend for rules in state.rules.values() for frontend in rules.frontends)
        return restored(self._table, remembered, target_of, frontends)

    async def _remembered(self, sets: Iterable[str]) -> list[Remembered]:
        return [who for set in sets for who in read(set, await nft.list_json("set", "inet", self._table, set))]


def _upsets(change: FrontendChange) -> bool:
    """Whether clients may be at a slot that is another target's now, or nobody's."""
    old, new = change.old, change.new
    if old is None or not old.affinity_s:
        return False
    if new is None or not new.affinity_s:
        return True
    return (
        old.targets != new.targets[: len(old.targets)]
        or old.local_targets != new.local_targets[: len(old.local_targets)]
    )
