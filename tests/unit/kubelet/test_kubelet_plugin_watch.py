"""The sockets of plugins, which come and go at any moment."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import pytest

from navarch.protos.kubelet import pluginregistration_pb2 as registration
from navarch.protos.kubelet import pluginregistration_pb2_grpc
from navarch.services.base.clock import SystemClock
from navarch.services.kubelet.plugins.registration import FOLDER, PluginWatch


class Handler:
    """Wants nobody."""

    async def plug_in(self, name: str, endpoint: Path, versions: tuple[str, ...]) -> None:
        raise AssertionError("nobody answers here")

    async def unplug(self, name: str) -> None:
        raise AssertionError("nobody was there")


async def test_a_socket_that_goes_while_it_is_looked_at_is_just_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / "file.sock").write_text("no socket")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "x.sock"))
    looked = Path.lstat

    def vanish(path: Path) -> object:
        if path.name == "x.sock":
            path.unlink(missing_ok=True)
        return looked(path)

    monkeypatch.setattr(Path, "lstat", vanish)
    watch = PluginWatch(tmp_path, SystemClock(), {"CSIPlugin": Handler()})
    await watch.look()
    assert not (folder / "x.sock").exists()


class Plugin(pluginregistration_pb2_grpc.RegistrationServicer):
    """Says who it is, once it is let."""

    def __init__(self, name: str) -> None:
        self.info = registration.PluginInfo(type="CSIPlugin", name=name, supported_versions=["1.0.0"])
        self.asked, self.may_answer, self.told = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def GetInfo(self, request: Any, context: Any) -> registration.PluginInfo:
        self.asked.set()
        await self.may_answer.wait()
        return self.info

    async def NotifyRegistrationStatus(self, request: Any, context: Any) -> registration.RegistrationStatusResponse:
        self.told.set()
        return registration.RegistrationStatusResponse()


class Taken(Handler):
    """Notes who came and went."""

    def __init__(self) -> None:
        self.log: list[str] = []

    async def plug_in(self, name: str, endpoint: Path, versions: tuple[str, ...]) -> None:
        self.log.append(f"+{name}")

    async def unplug(self, name: str) -> None:
        self.log.append(f"-{name}")


@contextlib.asynccontextmanager
async def serving(folder: Path, *plugins: Plugin) -> AsyncIterator[None]:
    servers = []
    for plugin in plugins:
        server = grpc.aio.server()
        pluginregistration_pb2_grpc.add_RegistrationServicer_to_server(plugin, server)
        server.add_insecure_port(f"unix:{folder / plugin.info.name}.sock")
        await server.start()
        servers.append(server)
    try:
        yield
    finally:
        for server in servers:
            await server.stop(None)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, as those of sockets must be."""
    with TemporaryDirectory(prefix="nv-") as made:
        (Path(made) / FOLDER).mkdir()
        yield Path(made) / FOLDER


async def test_a_plugin_that_does_not_answer_holds_up_no_other(folder: Path) -> None:
    mute, quick, handler = Plugin("a-mute"), Plugin("b-quick"), Taken()
    quick.may_answer.set()
    watch = PluginWatch(folder.parent, SystemClock(), {"CSIPlugin": handler})
    async with serving(folder, mute, quick):
        await watch.look()
        await quick.told.wait()
        assert handler.log == ["+b-quick"]
        await mute.asked.wait()
        await watch.look()
        mute.may_answer.set()
        await mute.told.wait()
        assert handler.log == ["+b-quick", "+a-mute"]


async def test_one_that_goes_while_it_is_asked_is_not_kept(folder: Path) -> None:
    plugin, handler = Plugin("late"), Taken()
    watch = PluginWatch(folder.parent, SystemClock(), {"CSIPlugin": handler})
    async with serving(folder, plugin):
        await watch.look()
        await plugin.asked.wait()
        (folder / "late.sock").unlink()
        await watch.look()
        plugin.may_answer.set()
        await plugin.told.wait()
        while len(handler.log) < 2:
            await asyncio.sleep(0)
    assert handler.log == ["+late", "-late"]
