"""All phases, one after the other, and a look at the server after each."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from navarch.testing.door_fuzz import bodies, grpc_door, http2_frames, openapi, rest_bytes, seeds
from navarch.testing.door_fuzz.http1 import Client
from navarch.testing.door_fuzz.seeds import Seed
from navarch.testing.door_fuzz.subject import Subject, serving
from navarch.testing.door_fuzz.tally import SHOWN, Tally, Turn

# What a phase may leave: arenas of the allocator that are not full, and what a watch cache keeps of large objects
# (`cache.RING_BYTES` twice over, with the encodings of each door).
GROWTH_MIB = 160
SOCKETS = 20
QUICK_S = 2.0
# To close what has been left, and to let history go.
SETTLE_S = 20.0
# Phases that leave objects.
_WRITERS = frozenset({"bodies", "messages", "openapi"})
Phase = Callable[[Turn], Awaitable[None]]


@dataclass
class Report:
    """What a run has found."""

    seed: int
    tallies: list[Tally] = field(default_factory=list)
    vitals: list[str] = field(default_factory=list)

    @property
    def findings(self) -> list[str]:
        """What must not have been."""
        return [finding for tally in self.tallies for finding in tally.findings]

    def __str__(self) -> str:
        return "\n".join((f"seed {self.seed}", *map(str, self.tallies), *self.vitals))


async def run(folder: Path, manifests: Path, seed: int, seconds: float, only: Sequence[str] = ()) -> Report:
    """Start a server, meet it with everything for so many seconds, and tell. only: names of phases."""
    rng = random.Random(seed)
    report = Report(seed)
    async with serving(folder) as subject:
        planted = seeds.load(manifests, rng)
        phases: dict[str, Phase] = {
            "bodies": lambda turn: bodies.bodies(subject, planted, turn),
            "messages": lambda turn: grpc_door.messages(subject, planted, turn),
            "frames": lambda turn: http2_frames.frames(subject, turn),
            **{one.__name__: partial(one, subject) for one in rest_bytes.PHASES},
            "openapi": lambda turn: openapi.operations(subject, turn),
        }
        chosen = [name for name in phases if not only or name in only]
        await _replant(subject, planted)
        # A short round fills what is filled once: codecs, caches, arenas.
        share_s = seconds / (1.15 * len(chosen))
        warm = Tally("at first")
        report.tallies.append(warm)
        for name in chosen:
            await phases[name](Turn(random.Random(rng.random()), time.monotonic() + 0.15 * share_s, warm))
        await _replant(subject, planted)
        _read_log(subject, warm)
        sockets, before = subject.sockets(), subject.rss_mib()
        report.vitals.append(f"memory at first {before} MiB (store {subject.store_rss_mib()} MiB), {sockets} files")
        for name in chosen:
            tally = Tally(name)
            report.tallies.append(tally)
            await phases[name](Turn(random.Random(rng.random()), time.monotonic() + share_s, tally))
            if not subject.is_running():
                tally.find("the server is gone", *subject.complaints()[-3:])
                return report
            peak = subject.rss_mib()
            await _is_quick(subject, tally)
            if name in _WRITERS:
                await _replant(subject, planted)
            await _settle(subject, sockets, before)
            after, left = subject.rss_mib(), subject.sockets()
            report.vitals.append(f"after {name}: {peak} MiB, cleared {after} MiB, {left} files")
            _read_log(subject, tally)
            if left > sockets + SOCKETS:
                tally.find("files left open", f"{left}, {sockets} before")
            if after > before + GROWTH_MIB:
                tally.find("memory left over", f"{after} MiB, {before} before")
                before = after
        report.vitals.append(f"memory at last {subject.rss_mib()} MiB (store {subject.store_rss_mib()} MiB)")
    return report


def _read_log(subject: Subject, tally: Tally) -> None:
    # Each complaint once, by its end: there the cause stands.
    for line in dict.fromkeys(line[-SHOWN:] for line in subject.complaints()):
        tally.find("the log complains", line)


async def _is_quick(subject: Subject, tally: Tally) -> None:
    """Look whether the server still answers as it should."""
    client = Client(subject, tally)
    try:
        begin = time.monotonic()
        found = await client.ask("GET", "/api/v1/namespaces/default")
        took_s = time.monotonic() - begin
        if found is None or took_s > QUICK_S:
            tally.find("slow after it", f"{took_s:.1f} s")
    finally:
        client.close()


async def _replant(subject: Subject, planted: Sequence[Seed]) -> None:
    """Bring the objects back to what they were."""
    client = Client(subject, Tally("plant"))
    try:
        await seeds.clear(client, planted)
        await seeds.plant(client, planted)
    finally:
        client.close()


async def _settle(subject: Subject, sockets: int, before_mib: int) -> None:
    """Wait until the server is as it was; not for ever."""
    end = time.monotonic() + SETTLE_S
    while time.monotonic() < end:
        if subject.sockets() <= sockets + SOCKETS and subject.rss_mib() <= before_mib + GROWTH_MIB:
            return
        await asyncio.sleep(0.5)


def main() -> None:
    """python -m navarch.testing.door_fuzz.run SEED SECONDS [PHASE...], from the root of the tree."""
    import sys
    import tempfile

    seed, seconds, *only = sys.argv[1:]
    manifests = Path("tests/contract/rest/every_kind.yaml")
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(run(Path(folder), manifests, int(seed), float(seconds), only))
    for tally in report.tallies:
        for what, why in list(tally.unavailable.items())[:8]:
            sys.stdout.write(f"{tally.phase}: {what}: {why[:200]!r}\n")
    sys.stdout.write(f"{report}\n{json.dumps(report.findings, indent=1, ensure_ascii=False)}\n")


if __name__ == "__main__":
    main()
