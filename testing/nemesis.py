"""What goes wrong, by a seed: one fault after the other, each taken back before the next."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from navarch.testing.faulty_cluster import FaultyCluster
from navarch.testing.store_cluster import Member

# A fault stays for so long, and quiet lasts so long after it.
FAULT_S = (0.5, 4.0)
QUIET_S = (0.5, 2.0)
LATE_S, LOST = 0.2, 0.05
Fault = Callable[[], Awaitable[None]]


class Nemesis:
    """Lets things go wrong in a cluster until told to stop; leaves it whole."""

    def __init__(self, cluster: FaultyCluster, seed: int, kinds: Sequence[str] = ()) -> None:
        self.counts: Counter[str] = Counter()
        # Time of each fault, its kind and whom it hit.
        self.diary: list[str] = []
        self._cluster = cluster
        self._rng = random.Random(seed)
        every: dict[str, Fault] = {
            "kill": self._kill,
            "kill all": self._kill_all,
            "lose power": self._lose_power,
            "lose all power": self._lose_all_power,
            "pause": self._pause,
            "cut off": self._cut_off,
            "cut off the leader": self._cut_off_leader,
            "deaf leader": self._deaf_leader,
            "mute leader": self._mute_leader,
            "late": self._late,
            "lossy": self._lossy,
            "clock": self._clock,
            "full disk": self._full_disk,
            "damage": self._damage,
            "replace": self._replace,
        }
        self._faults = {kind: every[kind] for kind in kinds or every}

    def leave_out(self, kinds: Iterable[str]) -> None:
        """Never do these."""
        for kind in kinds:
            self._faults.pop(kind, None)

    async def run(self, seconds: float) -> None:
        """Faults for so long. Each kind comes once before any comes again."""
        begin = time.monotonic()
        while time.monotonic() < begin + seconds:
            for kind in self._rng.sample(sorted(self._faults), len(self._faults)):
                self.diary.append(f"{time.monotonic() - begin:6.1f} s {kind}")
                await self._faults[kind]()
                self.counts[kind] += 1
                await self._wait(QUIET_S)
                if time.monotonic() >= begin + seconds:
                    return

    async def _wait(self, span: tuple[float, float] = FAULT_S) -> None:
        await asyncio.sleep(self._rng.uniform(*span))

    def _any(self) -> Member:
        return self._note(self._rng.choice(list(self._cluster.members.values())))

    def _note(self, member: Member) -> Member:
        self.diary[-1] += f" {member.name}"
        return member

    async def _leader(self) -> Member:
        return self._note(await self._cluster.leader())

    def _all(self) -> list[Member]:
        return list(self._cluster.members.values())

    async def _revive(self, *members: Member) -> None:
        await asyncio.gather(*(self._cluster.start(member) for member in members))

    # Processes and disks.

    async def _kill(self) -> None:
        member = self._any() if self._rng.random() < 0.5 else await self._leader()
        await self._cluster.kill_durably(member)
        await self._wait()
        await self._revive(member)

    async def _kill_all(self) -> None:
        await asyncio.gather(*map(self._cluster.kill_durably, self._all()))
        await self._revive(*self._all())

    def _luck(self) -> random.Random | None:
        return random.Random(self._rng.random()) if self._rng.random() < 0.5 else None

    async def _lose_power(self) -> None:
        member = self._any()
        self.diary[-1] += f" ({await self._cluster.lose_power(member, self._luck())} undone)"
        await self._wait()
        await self._revive(member)

    async def _lose_all_power(self) -> None:
        undone = await asyncio.gather(*(self._cluster.lose_power(member, self._luck()) for member in self._all()))
        self.diary[-1] += f" ({sum(undone)} undone)"
        await self._revive(*self._all())

    async def _pause(self) -> None:
        member = self._any() if self._rng.random() < 0.5 else await self._leader()
        self._cluster.pause(member)
        await self._wait()
        self._cluster.resume(member)

    async def _full_disk(self) -> None:
        member = self._any()
        self._cluster.fill_disk(member, self._rng.choice([0, 4096, 100_000]))
        await self._wait()
        # It may have ended by itself, or have had room enough.
        await self._cluster.kill_durably(member)
        self._cluster.free_disk(member)
        await self._revive(member)

    async def _damage(self) -> None:
        """Bits flip or an end is missing: the member says so and stays down, or is whole; then it is replaced."""
        member = self._any()
        await self._cluster.kill_durably(member)
        path = self._rng.choice([path for path in sorted(member.directory.rglob("*")) if _worth_damaging(path)])
        content = bytearray(path.read_bytes())
        if self._rng.random() < 0.3:
            del content[self._rng.randrange(len(content)) :]
            self.diary[-1] += f" cut to {len(content)}"
        else:
            # Where there is something, not in the part that is reserved.
            used = len(content.rstrip(b"\0")) or 1
            places = sorted(self._rng.randrange(used) for _ in range(self._rng.randrange(1, 20)))
            for place in places:
                content[place] ^= 1 << self._rng.randrange(8)
            self.diary[-1] += f" flipped {len(places)} bits from {places[0]} to {places[-1]} of {used}"
        path.write_bytes(content)
        self.diary[-1] += f" {path.name}"
        log_before = len(member.log())
        try:
            await self._cluster.start(member)
            self.diary[-1] += " (starts)"
        except RuntimeError as refusal:
            if str(path) not in member.log()[log_before:]:
                raise AssertionError(f"a refusal that does not name {path}") from refusal
            self.diary[-1] += " (refused)"
        # Even if nothing was noticed: what it holds is no more to be relied on.
        await self._cluster.kill(member)
        await self._replace_by_new(member)

    async def _replace(self) -> None:
        await self._replace_by_new(self._any())

    async def _replace_by_new(self, member: Member) -> None:
        await self._cluster.kill(member)
        await self._cluster.remove_member(member)
        self.diary[-1] += f" by {(await self._cluster.add_member()).name}"

    async def _clock(self) -> None:
        member = self._any()
        machine = self._cluster.machines[member.name]
        machine.jump(self._rng.choice([-86400.0, -30.0, 30.0, 86400.0]))
        await self._wait()
        machine.jump(0)

    # Networks.

    async def _cut_off(self) -> None:
        members = self._all()
        few = self._rng.sample(members, self._rng.randint(1, (len(members) - 1) // 2))
        await self._cut([self._note(member) for member in few], to=True, back=True)

    async def _cut_off_leader(self) -> None:
        await self._cut([await self._leader()], to=True, back=True)

    async def _deaf_leader(self) -> None:
        await self._cut([await self._leader()], to=True, back=False)

    async def _mute_leader(self) -> None:
        await self._cut([await self._leader()], to=False, back=True)

    async def _cut(self, few: list[Member], *, to: bool, back: bool) -> None:
        inside = [member.host for member in few]
        outside = [member.host for member in self._all() if member not in few]
        network = self._cluster.network
        if to:
            network.cut(outside, inside, both_ways=False)
        if back:
            network.cut(inside, outside, both_ways=False)
        await self._wait((2.0, 5.0))
        network.heal()

    async def _late(self) -> None:
        members = self._all() if self._rng.random() < 0.5 else [self._any()]
        self._cluster.network.impair([member.host for member in members], late_s=LATE_S)
        await self._wait((2.0, 5.0))
        self._cluster.network.heal()

    async def _lossy(self) -> None:
        hosts = [member.host for member in self._all()]
        self._cluster.network.impair(hosts, lost=LOST, seed=self._rng.getrandbits(32))
        await self._wait((2.0, 5.0))
        self._cluster.network.heal()


def _worth_damaging(path: Path) -> bool:
    # LMDB's lock file says nothing that lasts.
    return path.is_file() and path.stat().st_size > 0 and not path.name.endswith("lock")
