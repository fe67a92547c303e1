"""Answers over TCP and UDP with the address that it was asked from; and asks. Runs anywhere, also in Pods.

    python3 network_probe.py serve PORT
    python3 network_probe.py ask SECONDS PROTOCOL/ADDRESS/PORT/BYTES...
    python3 network_probe.py traffic FILE ADDRESS PORT
    python3 network_probe.py load ADDRESS PORT RATE

Asking prints a line for each question: what was asked, and what was answered or went wrong: "tcp/10.0.0.1/7000/1
10.0.0.2". BYTES of payload, at least one, are sent along and must arrive whole. A question is asked until it is
answered, or for so many seconds.

Traffic goes on until the file exists: on one connection (FILE.begun tells that it is open), on new ones, and over UDP.
Then a line of JSON tells of each
kind how often it was asked, and what went wrong.

Load is so many new connections a second, each with a question, until a line comes in; then a line of JSON tells how
many there were in how many seconds, what went wrong, and the 99th percentile of what they took, in seconds.
"""

import asyncio
import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Coroutine

ATTEMPT_S = 1.0
# Of traffic: how long an answer may take, so that packets that were lost can be sent again; between two questions.
PATIENCE_S = 10.0
PAUSE_S = 0.02
KINDS = ("steady", "new", "datagrams")


def answer(host: str, payload: bytes) -> bytes:
    """Of a peer at this address."""
    return f"{host.removeprefix('::ffff:')} {hashlib.sha256(payload).hexdigest()}\n".encode()


async def serve(port: int) -> None:
    """For ever."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                payload = await reader.readexactly(int(line))
                writer.write(answer(writer.get_extra_info("peername")[0], payload))
                await writer.drain()
        except (OSError, ValueError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    class Datagrams(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
            self.transport.sendto(answer(peer[0], data), peer)  # type: ignore[attr-defined]

    families = [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]
    for family, any_address in families:
        await asyncio.start_server(connected, any_address, port, family=family)
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        datagrams.bind((any_address, port))
        datagrams.setblocking(False)
        await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, sock=datagrams)
    await asyncio.Event().wait()


async def ask(question: str, seconds: float) -> str:
    """The answer, or the last failure."""
    protocol, host, port, size = question.split("/")
    payload = bytes(range(256)) * (int(size) // 256 + 1)
    payload = payload[: int(size)]
    attempt = tcp if protocol == "tcp" else udp
    deadline = time.monotonic() + seconds
    failure = "not asked"
    while time.monotonic() < deadline:
        try:
            text = (await asyncio.wait_for(attempt(host, int(port), payload), ATTEMPT_S)).decode().split()
            if text and text[-1] == hashlib.sha256(payload).hexdigest():
                return text[0]
            failure = f"answered {text}"
        except (TimeoutError, OSError) as error:
            failure = repr(error)
            await asyncio.sleep(0.05)
    return failure.replace(" ", "_")


async def tcp(host: str, port: int, payload: bytes) -> bytes:
    """One question over TCP."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"{len(payload)}\n".encode() + payload)
        await writer.drain()
        return await reader.readline()
    finally:
        writer.close()


async def udp(host: str, port: int, payload: bytes) -> bytes:
    """One question over UDP."""
    received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    class Answer(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
            if not received.done():
                received.set_result(data)

        def error_received(self, error: Exception) -> None:
            if not received.done():
                received.set_exception(error)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Answer, remote_addr=(host, port))
    try:
        transport.sendto(payload)
        return await received
    finally:
        transport.close()


async def ask_all(seconds: float, questions: list[str]) -> None:
    """All at once."""
    answers = await asyncio.gather(*(ask(question, seconds) for question in questions))
    for question, said in zip(questions, answers, strict=True):
        sys.stdout.write(f"{question} {said}\n")


async def traffic(until: str, host: str, port: int) -> None:
    """For ever, but for the file."""
    asked = dict.fromkeys(KINDS, 0)
    failures: dict[str, list[str]] = {kind: [] for kind in KINDS}

    async def one(kind: str, question: Coroutine[None, None, bytes]) -> None:
        asked[kind] += 1
        try:
            if not await asyncio.wait_for(question, PATIENCE_S):
                failures[kind].append("closed")
        except (TimeoutError, OSError) as error:
            failures[kind].append(repr(error))

    async def steady() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        os.mknod(f"{until}.begun")
        while not os.path.exists(until) and not failures["steady"]:
            writer.write(b"1\nx")
            await one("steady", reader.readline())
            await asyncio.sleep(PAUSE_S)

    async def new() -> None:
        tasks = []
        while not os.path.exists(until):
            tasks.append(asyncio.create_task(one("new", tcp(host, port, b"x"))))
            tasks.append(asyncio.create_task(one("datagrams", udp(host, port, b"x"))))
            await asyncio.sleep(PAUSE_S)
        await asyncio.gather(*tasks)

    await asyncio.gather(steady(), new())
    told = {kind: {"asked": asked[kind], "failures": failures[kind]} for kind in KINDS}
    sys.stdout.write(f"{json.dumps(told)}\n")


async def load(host: str, port: int, rate: float) -> None:
    """Until a line comes in."""
    took: list[float] = []
    failures: list[str] = []

    async def one() -> None:
        began = time.monotonic()
        try:
            if not await asyncio.wait_for(tcp(host, port, b"x"), PATIENCE_S):
                failures.append("closed")
        except (TimeoutError, OSError) as error:
            failures.append(repr(error))
        took.append(time.monotonic() - began)

    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    began, tasks = time.monotonic(), []
    while not stop.is_set():
        tasks.append(asyncio.create_task(one()))
        await asyncio.sleep(max(0.0, began + len(tasks) / rate - time.monotonic()))
    seconds = time.monotonic() - began
    await asyncio.gather(*tasks)
    p99_s = sorted(took)[int(len(took) * 0.99)]
    told = {"requests": len(tasks), "seconds": seconds, "failures": failures, "p99_s": p99_s}
    sys.stdout.write(f"{json.dumps(told)}\n")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(int(sys.argv[2])))
    elif sys.argv[1] == "traffic":
        asyncio.run(traffic(sys.argv[2], sys.argv[3], int(sys.argv[4])))
    elif sys.argv[1] == "load":
        asyncio.run(load(sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
    else:
        asyncio.run(ask_all(float(sys.argv[2]), sys.argv[3:]))
