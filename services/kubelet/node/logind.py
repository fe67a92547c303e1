"""Hears from logind that the host is about to go down, and has it wait until the Pods have ended.

A delay lock is held while the kubelet runs; when `PrepareForShutdown` says so the shutdown begins, and the lock is
given up when it is done. Needs the library dbus-fast, which is only imported here, and a host with systemd.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.kubelet.node.shutdown import Shutdown

BUS_SOCKET = Path("/run/dbus/system_bus_socket")
LOGIND = "org.freedesktop.login1"
LOGIND_PATH = "/org/freedesktop/login1"
MANAGER = f"{LOGIND}.Manager"
# logind grants five seconds unless it is told otherwise.
DELAY_CONFIG = Path("/etc/systemd/logind.conf.d/99-kubelet.conf")
RETRY_S = 30.0
SIGHUP = 1


class Logind:
    """Announces shutdowns of the host to `shutdown`."""

    def __init__(self, shutdown: Shutdown, clock: Clock) -> None:
        self._shutdown = shutdown
        self._clock = clock
        self._lock = -1
        self._announced: asyncio.Queue[bool] = asyncio.Queue(maxsize=8)
        self._log = get_logger("kubelet.shutdown")

    async def run(self) -> None:
        """Listen, for ever; on a host without a system bus there is nothing to listen to."""
        if not self._shutdown.policy.periods or not BUS_SOCKET.exists():
            return
        from dbus_fast import BusType, DBusError
        from dbus_fast.aio import MessageBus

        while True:
            try:
                bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
                try:
                    await self._listen(bus)
                finally:
                    self._release()
                    bus.disconnect()
            except (OSError, EOFError, DBusError) as failure:
                self._log.warning("shutdown.no_logind", error=failure)
                await self._clock.sleep(RETRY_S)

    async def _listen(self, bus: Any) -> None:
        await self._allow_delay(bus)
        bus.add_message_handler(self._heard)
        match = f"type='signal',interface='{MANAGER}',member='PrepareForShutdown',path='{LOGIND_PATH}'"
        await _call(
            bus, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", "s", match
        )
        await self._take_lock(bus)
        ended = asyncio.ensure_future(bus.wait_for_disconnect())
        try:
            while not ended.done():
                heard = asyncio.ensure_future(self._announced.get())
                try:
                    await asyncio.wait([ended, heard], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    heard.cancel()
                if heard.done() and not heard.cancelled():
                    await self._act(bus, heard.result())
        finally:
            ended.cancel()

    async def _act(self, bus: Any, going_down: bool) -> None:
        if going_down:
            await self._shutdown.begin()
            self._release()
        else:
            self._shutdown.cancel()
            await self._take_lock(bus)

    def _heard(self, message: Any) -> None:
        if message.interface == MANAGER and message.member == "PrepareForShutdown" and not self._announced.full():
            self._announced.put_nowait(bool(message.body[0]))

    async def _allow_delay(self, bus: Any) -> None:
        """Have logind wait as long as the Pods may take."""
        wanted_s = self._shutdown.policy.total_s
        properties = "org.freedesktop.DBus.Properties"
        reply = await _call(bus, LOGIND, LOGIND_PATH, properties, "Get", "ss", MANAGER, "InhibitDelayMaxUSec")
        if reply.body[0].value >= wanted_s * 1e6:
            return
        DELAY_CONFIG.parent.mkdir(parents=True, exist_ok=True)
        DELAY_CONFIG.write_text(f"# Kubelet logind override\n[Login]\nInhibitDelayMaxSec={wanted_s:.0f}\n")
        systemd = "org.freedesktop.systemd1"
        kill = ("systemd-logind.service", "all", SIGHUP)
        await _call(bus, systemd, "/org/freedesktop/systemd1", f"{systemd}.Manager", "KillUnit", "ssi", *kill)

    async def _take_lock(self, bus: Any) -> None:
        self._release()
        what = ("shutdown", "kubelet", "Kubelet needs time to handle node shutdown", "delay")
        reply = await _call(bus, LOGIND, LOGIND_PATH, MANAGER, "Inhibit", "ssss", *what)
        self._lock = reply.unix_fds[reply.body[0]]

    def _release(self) -> None:
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)


async def _call(bus: Any, to: str, path: str, interface: str, member: str, signature: str, *body: object) -> Any:
    from dbus_fast import DBusError, Message, MessageType

    message = Message(
        destination=to, path=path, interface=interface, member=member, signature=signature, body=list(body)
    )
    reply = await bus.call(message)
    if reply.message_type == MessageType.ERROR:
        raise DBusError(reply.error_name, str(reply.body[0] if reply.body else ""), reply)
    return reply
