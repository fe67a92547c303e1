"""Both doors of an API server under hostile input: no 500, no hang, no crash, no growth.

The seed is printed; NAVARCH_FAULTS_SEED takes it. NAVARCH_SOAK makes it ten minutes, NAVARCH_FAULTS_SECONDS anything,
and NAVARCH_FAULTS_KINDS (comma separated) only some of the phases.
"""

import json
import os
import secrets
from pathlib import Path

import pytest

from navarch.testing.door_fuzz.run import run

SOAK_S = 600.0
SECONDS = 10.0
MANIFESTS = Path(__file__).parents[2] / "contract" / "rest" / "every_kind.yaml"


def duration() -> float:
    if chosen := os.environ.get("NAVARCH_FAULTS_SECONDS"):
        return float(chosen)
    return SOAK_S if os.environ.get("NAVARCH_SOAK") else SECONDS


@pytest.mark.timeout(1800)
async def test_whatever_comes_is_answered_and_leaves_the_server_as_it_was(tmp_path: Path) -> None:
    seed = int(os.environ.get("NAVARCH_FAULTS_SEED") or secrets.randbits(32))
    print(f"\nseed {seed}, {duration():.0f} s")
    only = [phase for phase in os.environ.get("NAVARCH_FAULTS_KINDS", "").split(",") if phase]
    report = await run(tmp_path, MANIFESTS, seed, duration(), only)
    print(report)
    assert not report.findings, json.dumps(report.findings, indent=1, ensure_ascii=False)
