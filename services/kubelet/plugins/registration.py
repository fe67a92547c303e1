"""Finds plugins by their sockets in `plugins_registry`, and hands them over by their type.

A socket that is there is asked who serves at it, and told whether it was taken; one that was refused is asked again
later. Nobody waits for another's answer. A plugin is gone when its socket is.
"""

import asyncio
import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import grpc

from navarch.protos.kubelet import pluginregistration_pb2 as registration
from navarch.protos.kubelet import pluginregistration_pb2_grpc
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner
from navarch.services.kubelet.plugins.device_endpoint import OPTIONS

FOLDER = "plugins_registry"
LOOK_S = 1.0
ANSWER_S = 10.0
RETRY_S = 5.0


class PluginRefused(Exception):
    """A plugin that is not taken; the message is for the plugin."""


class PluginHandler(Protocol):
    """What plugins of one type are handed over to."""

    async def plug_in(self, name: str, endpoint: Path, versions: tuple[str, ...]) -> None:
        """A plugin has come, or come again. Raises PluginRefused."""
        ...

    async def unplug(self, name: str) -> None:
        """Its socket has gone."""
        ...


class PluginWatch:
    """The registry of one kubelet. handlers: by the type of plugins."""

    def __init__(self, root: Path, clock: Clock, handlers: Mapping[str, PluginHandler]) -> None:
        self._folder = root.absolute() / FOLDER
        self._clock = clock
        self._handlers = handlers
        # By socket: which one it is (another may take its name), and who serves there; None for one that was refused.
        self._known: dict[Path, tuple[int, registration.PluginInfo | None]] = {}
        self._refused_at: dict[Path, float] = {}
        self._asked: set[Path] = set()
        self._tasks = TaskOwner()
        self._log = get_logger("kubelet.plugins")

    async def run(self) -> None:
        """Look again and again, for ever."""
        self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            while True:
                await self.look()
                await self._clock.sleep(LOOK_S)
        finally:
            await self._tasks.close()

    async def look(self) -> None:
        """Compare the folder with what is known. Who is asked then answers later."""
        there = await asyncio.to_thread(self._sockets)
        for path, (inode, info) in list(self._known.items()):
            if there.get(path) != inode:
                del self._known[path]
                if info is not None and path not in there:
                    self._log.info("plugin.gone", type=info.type, name=info.name)
                    await self._handlers[info.type].unplug(info.name)
        for path, inode in there.items():
            if path not in self._asked and self._is_due(path):
                self._known[path] = inode, None
                self._asked.add(path)
                self._tasks.spawn(self._ask(path, inode), "plugin")

    def _is_due(self, path: Path) -> bool:
        if path not in self._known:
            return True
        refused_at = self._refused_at.get(path, float("-inf"))
        return self._known[path][1] is None and self._clock.monotonic() - refused_at >= RETRY_S

    async def _ask(self, path: Path, inode: int) -> None:
        try:
            info = await self._register(path)
        finally:
            self._asked.discard(path)
        if path in self._known and self._known[path][0] == inode:
            self._known[path] = inode, info
        elif info is not None and path not in self._known:
            # It went before it had been taken.
            await self._handlers[info.type].unplug(info.name)

    def _sockets(self) -> dict[Path, int]:
        """The sockets that are there, each with what tells it from another of its name."""
        found = {}
        for folder, _, names in os.walk(self._folder):
            for path in (Path(folder, name) for name in sorted(names) if name.endswith(".sock")):
                # It may go at any moment.
                with contextlib.suppress(OSError):
                    status = path.lstat()
                    if stat.S_ISSOCK(status.st_mode):
                        found[path] = status.st_ino
        return found

    async def _register(self, path: Path) -> registration.PluginInfo | None:
        """Ask who it is, and hand it over. None when it is to be asked again."""
        async with grpc.aio.insecure_channel(f"unix:{path}", options=OPTIONS) as channel:
            stub: pluginregistration_pb2_grpc.RegistrationAsyncStub = pluginregistration_pb2_grpc.RegistrationStub(
                channel
            )
            info, error = None, ""
            try:
                info = await stub.GetInfo(registration.InfoRequest(), timeout=ANSWER_S)
                error = await self._hand_over(info, path)
                status = registration.RegistrationStatus(plugin_registered=not error, error=error)
                await stub.NotifyRegistrationStatus(status, timeout=ANSWER_S)
            except grpc.aio.AioRpcError as failure:
                self._log.info("plugin.silent", socket=path, error=failure.details())
        if error or info is None:
            self._refused_at[path] = self._clock.monotonic()
            self._log.warning("plugin.not_registered", socket=path, error=error or "no answer")
            return None
        # Also one that has gone before it was told so: its socket will be missed.
        self._log.info("plugin.registered", type=info.type, name=info.name)
        return info

    async def _hand_over(self, info: registration.PluginInfo, path: Path) -> str:
        handler = self._handlers.get(info.type)
        if handler is None:
            return f'type: found "{info.type}", accepted are {", ".join(sorted(self._handlers))}'
        try:
            await handler.plug_in(info.name, Path(info.endpoint or path), tuple(info.supported_versions))
        except PluginRefused as refusal:
            return str(refusal)
        return ""
