"""The Raft node by seeds: short runs with clients and faults on a simulated network, disk and clock.

`NAVARCH_SEED=n` runs that seed alone, the same each time. `NAVARCH_SEEDS=n` runs so many: few in `make test-fast`; with
`NAVARCH_SOAK=1` there are many more than in `make test`.
"""

import os
import subprocess
import sys
from collections import Counter

import pytest

from navarch.testing.history import Get
from navarch.testing.raft_scenario import Config, Scenario

SEEDS = int(os.environ.get("NAVARCH_SEEDS", 20_000 if os.environ.get("NAVARCH_SOAK") else 300))
GROUP = 25
WORDS = {"start", "crash", "cut", "break", "pause", "clock", "slow", "transfer", "ask", "member"}
if "NAVARCH_SEED" in os.environ:
    GROUPS = [range(int(os.environ["NAVARCH_SEED"]), int(os.environ["NAVARCH_SEED"]) + 1)]
else:
    GROUPS = [range(first, first + GROUP) for first in range(0, SEEDS, GROUP)]


@pytest.mark.parametrize("seeds", GROUPS, ids=str)
def test_seeds(seeds: range) -> None:
    operations, answered, lines = 0, 0, Counter[str]()
    for seed in seeds:
        scenario = Scenario(seed)
        scenario.run()
        operations += len(scenario.history)
        answered += sum(op.answer is not None for op in scenario.history)
        lines.update(word for line in scenario.world.trace if (word := line.split()[1]) in WORDS)
    print(f"seeds {seeds}: {operations} operations, {answered} answered; {dict(sorted(lines.items()))}")
    assert len(seeds) == 1 or answered > operations / 4, "the faults leave nothing to test"


def test_without_faults_everything_is_answered_soon() -> None:
    scenario = Scenario(1, Config(voters=3, clients=4, seconds=6.0, faults_s=1e9, keep=0, faults=("crash",)))
    scenario.run()
    late = [op for op in scenario.history if op.answer is None]
    assert not late
    # An election at first; then a read or write takes a few messages and flushes.
    slow = [op for op in scenario.history if op.invoked > 3.0 and op.returned - op.invoked > 0.1]
    assert not slow
    assert any(isinstance(op.action, Get) for op in scenario.history)


def test_a_seed_replays_whatever_the_order_of_sets() -> None:
    program = (
        "from navarch.testing.raft_scenario import Scenario\n"
        "for seed in (3, 4, 5):\n"
        "    scenario = Scenario(seed)\n"
        "    scenario.run()\n"
        "    print(scenario.world.digest)\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
            timeout=120,
        ).stdout
        for hash_seed in ("1", "2", "777")
    }
    assert len(digests) == 1
