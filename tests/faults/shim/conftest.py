"""A containerd and a shim of one's own, which a test may kill."""

from collections.abc import Iterator

import pytest

from navarch.testing.private_containerd import PrivateContainerd, private_containerd


@pytest.fixture(scope="module")
def containerd() -> Iterator[PrivateContainerd]:
    """Both run, and have the busybox image. Who ends one starts it again."""
    with private_containerd() as running:
        yield running
