"""Pods on real containers: a kubelet over our shim, and one over containerd's own CRI plugin, on one host.

A test that takes the fixture `lab` runs over both. `lab` is a namespace of its own on the node of that runtime; what
a test waits for it waits for with `Lab.when` (a watch) or `Lab.eventually` (a question asked again).
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from navarch.testing.kubelet_host import KubeletHost, kubelet_host
from navarch.testing.kubelet_lab import Lab, a_lab
from navarch.testing.private_containerd import SIDES


@pytest.fixture(scope="session")
def kubelets() -> Iterator[KubeletHost]:
    """One host with both runtimes for the session."""
    with kubelet_host() as host:
        yield host


@pytest.fixture(params=SIDES)
async def lab(request: pytest.FixtureRequest, kubelets: KubeletHost) -> AsyncIterator[Lab]:
    """A namespace on the node of each runtime; it goes with all that is in it when the test ends."""
    failed_before = request.session.testsfailed
    async with a_lab(kubelets, request.param) as made:
        yield made
        if request.session.testsfailed > failed_before:
            lines = kubelets.log(request.param).read_text(errors="replace").splitlines()
            print("--- kubelet", *lines[-30:], sep="\n")
