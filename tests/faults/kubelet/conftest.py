"""A host with both runtimes and kubelets that a test may kill."""

from collections.abc import AsyncIterator, Iterator

import pytest

from navarch.testing.kubelet_host import KubeletHost, kubelet_host
from navarch.testing.kubelet_lab import Lab, a_lab
from navarch.testing.private_containerd import SIDES


@pytest.fixture(scope="session")
def kubelets() -> Iterator[KubeletHost]:
    """One host for the session."""
    with kubelet_host() as host:
        yield host


@pytest.fixture(params=SIDES)
async def lab(request: pytest.FixtureRequest, kubelets: KubeletHost) -> AsyncIterator[Lab]:
    """A namespace on the node of each runtime."""
    async with a_lab(kubelets, request.param) as made:
        yield made
