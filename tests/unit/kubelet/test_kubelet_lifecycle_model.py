"""Every life of small Pods: whatever happens, in whatever order, the promises of Pods are kept."""

import os

import pytest

from navarch.services.kubelet.core.stages import TRANSITIONS
from navarch.testing.pod_model import Budget, World, explore

from .conftest import a_pod

SOAK = bool(os.environ.get("NAVARCH_SOAK"))
MOMENTS = 100_000 if SOAK else 30
INIT = {"name": "init", "image": "a"}
SIDE = {"name": "side", "image": "a", "restartPolicy": "Always"}
PODS = {
    "main": {},
    "init": {"initContainers": [INIT]},
    "sidecar": {"initContainers": [SIDE]},
    "all": {"initContainers": [INIT, SIDE]},
}
POLICIES = ("Always", "OnFailure", "Never")
NOTHING = {"failures": 0, "exits": 0, "losses": 0, "restarts": 0, "deletions": 0}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", PODS)
def test_all_that_may_happen_at_once(kind: str, policy: str) -> None:
    begin = World.of(a_pod(restartPolicy=policy, **PODS[kind]), Budget())
    # Much of what can go wrong takes many steps to come to.
    for world in (begin, begin.undisturbed()):
        count, transitions = explore(world, MOMENTS, every=5)
        print(f"{kind}, {policy}: {count} moments")
        for source, target in transitions:
            assert source == target or target in TRANSITIONS[source]


@pytest.mark.parametrize("disturbance", NOTHING)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", ["main", "all"])
def test_one_disturbance_at_any_moment(kind: str, policy: str, disturbance: str) -> None:
    world = World.of(a_pod(restartPolicy=policy, **PODS[kind]), Budget(**{**NOTHING, disturbance: 1}))
    count, _ = explore(world, MOMENTS if SOAK else 120, every=20)
    print(f"{kind}, {disturbance}, {policy}: {count} moments")
    assert count > 10
