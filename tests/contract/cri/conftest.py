"""The same questions to our shim and to containerd's own CRI plugin, on one containerd.

A test takes the fixture `cri`, and runs once for each peer. What holds for one of them only is said in the test:

- `@differs("plugin", reason="...")` on a test: this peer is known to fail it. It is run all the same, and must fail.
- `cri.where(shim=X, plugin=Y, because="...")` in a test: what is right for each.
- The simulated backend is a third peer, in the tests that `simulated` names; what is said of the shim holds for it.

Where NAVARCH_CONTAINERD names another containerd, only the shim is asked: what is said of the plugin is said of 1.6.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest

from navarch.testing.cri_client import CriClient
from navarch.testing.private_containerd import IMAGE, OTHER_CONTAINERD, PrivateContainerd, private_containerd

from .simulated import ASKED_OF_THE_SIMULATED

PEERS = ("shim", "plugin")
SIMULATED = "simulated"
T = TypeVar("T")
Code = grpc.StatusCode


class Peer(CriClient):
    """A client of one of the peers. name: which."""

    def __init__(self, name: str, containerd: PrivateContainerd, logs: Path) -> None:
        sockets = {
            "shim": containerd.shim_socket,
            "plugin": containerd.plugin_socket,
            SIMULATED: containerd.simulated_socket,
        }
        super().__init__(sockets[name], IMAGE, containerd.cgroup_root, logs)
        self.name = name
        self.containerd = containerd

    def where(self, *, shim: T, plugin: T, because: str) -> T:
        """What to expect of this peer, where the two differ for the reason given."""
        assert because
        return plugin if self.name == "plugin" else shim


def differs(peer: str, *, reason: str) -> Callable[[T], T]:
    """Mark a test that this peer is known to fail, and why."""
    assert peer in PEERS

    def mark(test: T) -> T:
        test.__dict__.setdefault("differs", {})[peer] = reason
        return test

    return mark


@contextmanager
def refused(*codes: grpc.StatusCode, match: str | None = None) -> Iterator[None]:
    """The calls within fail with one of the codes, in words that match."""
    with pytest.raises(grpc.aio.AioRpcError, match=match) as failure:
        yield
    assert failure.value.code() in codes, failure.value.details()


@pytest.fixture(scope="session")
def containerd() -> Iterator[PrivateContainerd]:
    """One containerd with both peers for the session."""
    with private_containerd() as running:
        yield running


@pytest.fixture(scope="session")
def simulated(containerd: PrivateContainerd) -> None:
    """The simulated backend runs beside them."""
    containerd.start_simulated()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cri" in metafunc.fixturenames:
        peers = PEERS[:1] if os.environ.get(OTHER_CONTAINERD) else PEERS
        asked = ASKED_OF_THE_SIMULATED.get(Path(metafunc.module.__file__).stem.removeprefix("test_cri_"), ())
        if metafunc.function.__name__.removeprefix("test_") in asked:
            peers = (*peers, SIMULATED)
        metafunc.parametrize("cri", peers, indirect=True)


@pytest.fixture
async def cri(request: pytest.FixtureRequest, containerd: PrivateContainerd, tmp_path: Path) -> AsyncIterator[Peer]:
    """A client of one peer; what it made with its factories is removed afterwards."""
    known: dict[str, str] = getattr(request.function, "differs", {})
    if request.param in known:
        failures: Any = (AssertionError, pytest.fail.Exception, grpc.aio.AioRpcError)
        request.applymarker(pytest.mark.xfail(reason=known[request.param], strict=True, raises=failures))
    if request.param == SIMULATED:
        request.getfixturevalue("simulated")
    peer = Peer(request.param, containerd, tmp_path / "logs")
    yield peer
    await peer.clean_up()
