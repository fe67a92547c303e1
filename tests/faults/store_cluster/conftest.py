"""Clusters on hosts of their own. NAVARCH_FAULTS_SUBJECT=etcd tries etcd instead of our store."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from navarch.testing.faulty_cluster import EtcdFaultyCluster, FaultyCluster
from navarch.testing.netns import Network

SUBJECT = EtcdFaultyCluster if os.environ.get("NAVARCH_FAULTS_SUBJECT") == "etcd" else FaultyCluster


@pytest.fixture
def faulty_cluster(tmp_path: Path) -> Callable[[int], AbstractAsyncContextManager[FaultyCluster]]:
    """Makes a cluster of so many members, with a leader."""

    @asynccontextmanager
    async def make(size: int) -> AsyncIterator[FaultyCluster]:
        # One host more, for a member that takes another's place.
        async with (
            Network(size + 1) as network,
            SUBJECT(tmp_path / "cluster", size, network=network, token="faults") as cluster,
        ):
            yield cluster

    return make
