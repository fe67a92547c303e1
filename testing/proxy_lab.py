"""A node, its Pods and an outsider in network namespaces, for tests of the proxy with real packets.

    outside --- node --- bridge --- Pods

Namespaces belong to this process by descriptors only: when it ends, in whatever way, they are gone. The proxy runs
in a process of its own (`navarch.testing.proxy_node`) in the node's namespace, and is told of objects by a pipe.
"""

import asyncio
import ctypes
import errno
import json
import os
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from google.protobuf.message import Message

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
NODE_IP, NODE_IP6 = "203.0.113.1", "fd00:203::1"
OUTSIDE_IP, OUTSIDE_IP6 = "203.0.113.9", "fd00:203::9"
# Generous: an answer comes at once, unless the machine is busy.
ANSWER_S = 30.0


def pod_ip(number: int) -> str:
    """Of Pod 1, 2, ..."""
    return f"10.244.1.{number + 1}"


def pod_ip6(number: int) -> str:
    """Of Pod 1, 2, ..."""
    return f"fd00:244:1::{number + 1}"


class ProxyLab:
    """An async context manager."""

    def __init__(self, pods: int) -> None:
        self._pods = pods
        self._namespaces: dict[str, int] = {}
        self._closing: list[Callable[[], None]] = []
        self._proxy: asyncio.subprocess.Process | None = None
        self._marks = 0

    async def __aenter__(self) -> Self:
        """Make the network; nothing listens yet, and no proxy runs."""
        for name in ("node", "outside", *(f"pod{number}" for number in range(1, self._pods + 1))):
            self._make(name)
        self._wire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of all."""
        await self.kill_proxy()
        for close in self._closing:
            close()
        for descriptor in self._namespaces.values():
            os.close(descriptor)

    # The network.

    def _make(self, name: str) -> None:
        def leave() -> int:
            if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "cannot make a network namespace")
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

        self._namespaces[name] = _in_thread(leave)

    def path(self, name: str) -> str:
        """Of a namespace, for nsenter and ip."""
        return f"/proc/{os.getpid()}/fd/{self._namespaces[name]}"

    def run(self, name: str, *command: str, input: str | None = None) -> str:
        """Run a command there; its output."""
        done = subprocess.run(
            ["nsenter", f"--net={self.path(name)}", *command], input=input, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def _wire(self) -> None:
        batches: dict[str, list[str]] = {name: ["link set lo up"] for name in self._namespaces}
        batches["node"] += ["link add br0 type bridge", "link set br0 up"]
        batches["node"] += ["addr add 10.244.1.1/24 dev br0", "addr add fd00:244:1::1/64 dev br0 nodad"]
        for name in self._namespaces:
            if name != "node":
                batches["node"].append(f"link add {name} type veth peer name eth0 netns {self.path(name)}")
                batches["node"].append(f"link set {name} up")
        batches["node"] += [f"addr add {NODE_IP}/24 dev outside", f"addr add {NODE_IP6}/64 dev outside nodad"]
        # Where a cluster IP leads before its destination is changed.
        batches["node"] += [f"route add default via {OUTSIDE_IP}", f"route add ::/0 via {OUTSIDE_IP6}"]
        for number in range(1, self._pods + 1):
            batches["node"].append(f"link set pod{number} master br0")
            # As the bridge plugin has it: what leads back to its sender leaves by the port it came from.
            batches["node"].append(f"link set pod{number} type bridge_slave hairpin on")
            batches[f"pod{number}"] += _host(
                f"{pod_ip(number)}/24", f"{pod_ip6(number)}/64", "10.244.1.1", "fd00:244:1::1"
            )
        batches["outside"] += _host(f"{OUTSIDE_IP}/24", f"{OUTSIDE_IP6}/64", NODE_IP, NODE_IP6)
        for name in ("node", *(name for name in batches if name != "node")):
            self.run(name, "ip", "-batch", "-", input="\n".join(batches[name]) + "\n")
        switches = (
            "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; "
            "for f in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 > $f; done"
        )
        self.run("node", "sh", "-c", switches)

    def inside(self, name: str, do: Callable[[], T]) -> T:
        """Call something on a thread in a namespace; what it opens stays there."""
        descriptor = self._namespaces[name]

        def enter() -> T:
            if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "cannot enter a network namespace")
            return do()

        return _in_thread(enter)

    # Servers and clients.

    def serve(self, name: str, port: int = 8080, *, udp: bool = False) -> Callable[[], None]:
        """Answer each client with `name address-of-client`, at all addresses. Returns what ends it."""

        def open() -> socket.socket:
            made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(("::", port))
            if not udp:
                made.listen(128)
            return made

        listening = self.inside(name, open)

        def close() -> None:
            # A close alone does not wake who waits.
            try:
                listening.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # Of UDP: not connected, but awake.
            listening.close()

        target = _answer_datagrams if udp else _answer_streams
        threading.Thread(target=target, args=(listening, name), daemon=True).start()
        self._closing.append(close)
        return close

    def ask(self, name: str, host: str, port: int, *, udp: bool = False, patience_s: float = ANSWER_S) -> str:
        """What answers at this address; "refused", "unreachable" or "silence" if nobody does."""
        with self.client(name, host, udp=udp) as client:
            client.settimeout(patience_s)
            return exchange(client, host, port, udp=udp)

    def client(self, name: str, host: str, *, udp: bool = False) -> socket.socket:
        """A socket there."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = self.inside(name, lambda: socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM))
        made.settimeout(ANSWER_S)
        return made

    # The proxy.

    async def start_proxy(self) -> None:
        """Run it, knowing nothing."""
        self._proxy = await asyncio.create_subprocess_exec(
            "nsenter",
            f"--net={self.path('node')}",
            "setpriv",
            "--pdeathsig",
            "KILL",
            sys.executable,
            "-m",
            "navarch.testing.proxy_node",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    async def kill_proxy(self) -> None:
        """End it as a crash does."""
        proxy, self._proxy = self._proxy, None
        if proxy is not None:
            if proxy.returncode is None:
                proxy.kill()
            await proxy.wait()

    async def put(self, *objects: Message) -> None:
        """Tell the proxy of objects, and wait until the kernel has what they mean."""
        for object in objects:
            self._tell({"set": type(object).__name__, "object": b64encode(object.SerializeToString()).decode()})
        await self._synced()

    async def take(self, *objects: Message) -> None:
        """Tell the proxy that objects are gone, and wait for the kernel."""
        for object in objects:
            self._tell({"remove": type(object).__name__, "object": b64encode(object.SerializeToString()).decode()})
        await self._synced()

    def _tell(self, what: dict[str, object]) -> None:
        assert self._proxy is not None
        assert self._proxy.stdin is not None
        self._proxy.stdin.write(json.dumps(what).encode() + b"\n")

    async def _synced(self) -> None:
        assert self._proxy is not None
        assert self._proxy.stdout is not None
        self._marks += 1
        self._tell({"mark": self._marks})
        async with asyncio.timeout(60):
            while int(await self._proxy.stdout.readline() or b"-1") != self._marks:
                assert self._proxy.returncode is None, "the proxy has ended"


def exchange(client: socket.socket, host: str, port: int, *, udp: bool = False) -> str:
    """Send something and read the answer; "refused", "unreachable" or "silence" if none comes."""
    try:
        if udp:
            client.connect((host, port))
            client.send(b"?")
        else:
            client.connect((host, port))
        return client.recv(1000).decode()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silence"
    except OSError as failure:
        if failure.errno != errno.EHOSTUNREACH:
            raise
        return "unreachable"


def _host(address: str, address6: str, gateway: str, gateway6: str) -> list[str]:
    return [
        "link set eth0 up",
        f"addr add {address} dev eth0",
        f"addr add {address6} dev eth0 nodad",
        f"route add default via {gateway}",
        f"route add ::/0 via {gateway6}",
    ]


def _in_thread(do: Callable[[], T]) -> T:
    """Call on a thread that is never used again: it may have left for another namespace."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(do).result()


def _plain(address: str) -> str:
    return address.removeprefix("::ffff:")


def _answer_streams(listening: socket.socket, name: str) -> None:
    while True:
        try:
            connection, peer = listening.accept()
        except OSError:
            return
        connection.sendall(f"{name} {_plain(peer[0])}".encode())
        # Whoever keeps the connection may go on talking.
        threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection:
        try:
            while data := connection.recv(1000):
                connection.sendall(data)
        except OSError:
            return


def _answer_datagrams(listening: socket.socket, name: str) -> None:
    while True:
        try:
            _, peer = listening.recvfrom(1000)
        except OSError:
            return
        if peer is None or listening.fileno() < 0:
            return
        listening.sendto(f"{name} {_plain(peer[0])}".encode(), peer)
