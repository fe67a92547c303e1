"""Every life of small Pods: whatever happens, in whatever order, the promises of Pods are kept."""

import os

import pytest

from navarch.services.kubelet.core.stages import TRANSITIONS
from navarch.testing.pod_model import Budget, World, explore

from .conftest import a_pod

MOMENTS = 100_000 if os.environ.get("NAVARCH_SOAK") else 150
INIT = {"name": "init", "image": "a"}
SIDE = {"name": "side", "image": "a", "restartPolicy": "Always"}
PODS = {
    "main": {},
    "init": {"initContainers": [INIT]},
    "sidecar": {"initContainers": [SIDE]},
    "all": {"initContainers": [INIT, SIDE]},
}


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
@pytest.mark.parametrize("kind", PODS)
def test_every_life(kind: str, policy: str) -> None:
    world = World.of(a_pod(restartPolicy=policy, **PODS[kind]), Budget())
    count, transitions = explore(world, MOMENTS, every=5)
    print(f"{kind}, {policy}: {count} moments")
    assert count > 50
    for source, target in transitions:
        assert source == target or target in TRANSITIONS[source]
