"""The REST door met with paths, heads, bodies and manners that no client has."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import quote

from navarch.testing.door_fuzz import mutation
from navarch.testing.door_fuzz.bodies import query
from navarch.testing.door_fuzz.http1 import Client, Connection, Gone, faults
from navarch.testing.door_fuzz.subject import Subject
from navarch.testing.door_fuzz.tally import Turn

_SEGMENTS = (
    "api", "apis", "v1", "namespaces", "default", "pods", "watch", "nodes", "services", "proxy", "log", "exec",
    "attach",
    "portforward", "status", "scale", "binding", "token", "apps", "deployments", "openapi", "v2", "v3",
    "metrics", "livez",
    "healthz", "readyz", "version", "openid", "jwks", ".well-known", "apiextensions.k8s.io", "secrets", "configmaps",
    "web", "", ".", "..", "%2e%2e", "%2E", "%252e%252e", "%2f", "%252f", "%5c", "\\", "%00", "%", "%zz",
    "%c0%af", "%ff",
    "%ed%a0%80", "%E2%80%AE", "é", ";a=b", "a;b", "*", "@", ":", "http:", "a" * 300, "%20", "+", "~", "&", "=", "{}",
    "http:web:80", "https:web:", "kube-system", "fuzz.example.com", "gadgets", "gadget", "events", "leases", "foo",
)  # fmt: skip
_METHODS = (
    "GET", "GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND",
    "get", "PRI",
)  # fmt: skip
_HEADERS = (
    "Transfer-Encoding: chunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding : chunked",
    "Transfer-Encoding: xchunked", "Content-Length: 5", "Content-Length: -1", "Content-Length: +5",
    "Content-Length: 0x5",
    "Content-Length: 99999999999999999999", "Content-Length: 10485760", "Content-Length: 5, 5", "Expect: 100-continue",
    "Expect: x", "Connection: upgrade", "Upgrade: websocket", "Upgrade: SPDY/3.1", "Upgrade: h2c", "Connection: close",
    "Connection: keep-alive, \x00", "Host: a", "Host:", ": empty", "no colon", " folded", "\tfolded", "X-A\x00: b",
    "X: \x00", "X: \xff\xfe", "Authorization: Bearer", "Authorization: Bearer a.b.c", "Authorization: Basic !",
    "Authorization: Bearer " + "x" * 9_000, "Impersonate-User: x", "Impersonate-Group: g", "Impersonate-Extra-%zz: 1",
    "X-Remote-User: admin", "Accept: " + "application/json;q=0.1," * 500, "Accept-Encoding: gzip", "Cookie: a=b",
    "Accept: application/json;as=Table;v=v1;g=meta.k8s.io", "Content-Encoding: gzip", "Range: bytes=0-1",
    "If-None-Match: *",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: !", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Version: 99", "Sec-WebSocket-Protocol: v5.channel.k8s.io", "Sec-WebSocket-Protocol: ,,",
    "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.!!!!, v4.channel.k8s.io",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99",
    "X-Stream-Protocol-Version: v4.channel.k8s.io",
    "X: " + "y" * 70_000, "User-Agent: Mozilla/5.0",
)  # fmt: skip
_POD = "/api/v1/namespaces/default/pods/web"
_STREAMS = (
    "exec?command=a&stdout=1",
    "attach?stdout=1",
    "portforward?ports=80",
    "portforward",
    "exec",
    "proxy/x",
    "log",
)
_WATCHED = (
    "/api/v1/pods",
    "/api/v1/configmaps",
    "/apis/fuzz.example.com/v1/gadgets",
    "/apis/apps/v1/watch/deployments",
)


async def paths(subject: Subject, turn: Turn) -> None:
    """Requests in order at odd places."""
    client = Client(subject, turn.tally)
    rng = turn.rng
    try:
        while turn.goes_on():
            method = rng.choice(_METHODS[:8])
            path = "/" + "/".join(rng.choice(_SEGMENTS) for _ in range(rng.randrange(9)))
            if rng.random() < 0.5:
                path = rng.choice(("/api/v1", "/apis/apps/v1", "/api/v1/namespaces/default", "/openapi/v3")) + path
            if method == "DELETE" and "namespaces" in path:
                method = "GET"
            if "watch" in path:
                path += "?timeoutSeconds=1"
            else:
                path += _odd_query(rng)
            await client.ask(method, path, b"", {})
    finally:
        client.close()


def _odd_query(rng: random.Random) -> str:
    match rng.randrange(6):
        case 0:
            return "?" + "&".join(f"p{n}=v" for n in range(rng.choice((10, 1_000, 6_000))))
        case 1:
            return "?labelSelector=" + quote(
                rng.choice(("a," * 9_000, "(" * 900, "a in (" + "b," * 5_000 + ")", "!" * 99))
            )
        case 2:
            return "?" + rng.choice(
                ("%", "%zz=1", "&&&&", "=", "a=%00", "limit=1&limit=2&limit=x", "?", "a[]=1", "%ff=%fe")
            )
    # A watch would go on.
    return f"{query(rng, (1, 2, 3))}&timeoutSeconds=1"


async def heads(subject: Subject, turn: Turn) -> None:
    """Bytes that are nearly HTTP, and shapes that two parsers might read differently."""
    rng = turn.rng
    while turn.goes_on():
        data = _head(rng) if rng.random() < 0.85 else rng.randbytes(rng.choice((1, 16, 5_000)))
        if rng.random() < 0.3:
            data = mutation.raw(rng, data)
        # Pipelined: the same again, or what a smuggler would hide.
        if rng.random() < 0.3:
            data += rng.choice((data, b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n" * rng.choice((1, 300)), b"0\r\n\r\n"))
        await _exchange(subject, turn, data, half_closed=rng.random() < 0.3)


def _head(rng: random.Random) -> bytes:
    path = rng.choice((
        "/", "/version", "/api/v1/namespaces/default/pods", _POD, "//", "*", "http://x/version", "a", "/\x00",
        "/ /", "/" + "a" * 70_000,
        f"{_POD}/{rng.choice(_STREAMS)}",
    ))  # fmt: skip
    version = rng.choice(
        ("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.10", "http/1.1", "")
    )
    lines = [f"{rng.choice(_METHODS)} {path} {version}", *rng.sample(_HEADERS, rng.randrange(6))]
    if rng.random() < 0.7:
        lines.append("Host: localhost")
    if rng.random() < 0.03:
        lines += [f"X-{n}: {n}" for n in range(rng.choice((200, 300, 5_000)))]
    end = rng.choice(("\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n"))
    body = rng.choice((
        b"", b"hello", b'{"kind":"Pod"}', b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\nx", b"-1\r\n\r\n",
        b"5;a=b\r\nhel",
        b"0\r\nX: y\r\n\r\n", b"1\nx0\n\n", b"5\r\nhelloGET / HTTP/1.1\r\n\r\n", b"\x00" * 3_000, b"z\r\n",
    ))  # fmt: skip
    return (end.join(lines) + end + end).encode("latin-1", "replace") + body


async def _exchange(subject: Subject, turn: Turn, data: bytes, *, half_closed: bool) -> None:
    """Send it all, and look at what comes until there is nothing more."""
    connection = await Connection.open(subject)
    try:
        await connection.send(data)
        if half_closed:
            connection.writer.transport.close()
        for _ in range(4):
            async with asyncio.timeout(0.15):
                found = await connection.answer(streams=True)
            turn.tally.count(found.status)
            for fault in faults(found):
                turn.tally.find(fault, data)
            if found.headers.get("content-length", "").isdigit():
                async with asyncio.timeout(0.15):
                    await connection.reader.readexactly(int(found.headers["content-length"]))
            elif found.status != 304:
                return
    except TimeoutError:
        turn.tally.count("waits")
    except (Gone, asyncio.IncompleteReadError, ConnectionError, OSError):
        turn.tally.count("closed")
    except (AssertionError, ValueError) as failure:
        turn.tally.count("garbage")
        # The head of an answer may be read in the middle of the body of a HEAD's answer; nothing else explains it.
        if not data.startswith((b"HEAD", b"CONNECT")) and b"HEAD" not in data:
            turn.tally.find("no HTTP", str(failure), data)
    finally:
        connection.close()


async def upgrades(subject: Subject, turn: Turn) -> None:
    """WebSocket and SPDY at the streams of a Pod, and garbage after."""
    rng = turn.rng
    while turn.goes_on():
        spdy = rng.random() < 0.3
        lines = [f"{rng.choice(('GET', 'POST'))} {_POD}/{rng.choice(_STREAMS)} HTTP/1.1", "Host: localhost"]
        lines += ["Connection: Upgrade", f"Upgrade: {'SPDY/3.1' if spdy else 'websocket'}"]
        if not spdy:
            lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
            protocol = rng.choice(("v5.channel.k8s.io", "v4.channel.k8s.io", "SPDY/3.1+portforward.k8s.io", "x", ""))
            lines += [f"Sec-WebSocket-Protocol: {protocol}"] if protocol else []
        garbage = rng.choice((
            rng.randbytes(200), b"\x82\xff" + b"\xff" * 8, b"\x80\x03\x00\x01" + rng.randbytes(60), b"\x88\x80abcd",
            b"\x89\x7e\xff\xff" + bytes(70_000), b"\xc1\x85abcdhello", b"\x01\x80abcd" * 3_000, b"\x82\x81abcd\x00",
        ))  # fmt: skip
        await _exchange(subject, turn, "\r\n".join(lines).encode() + b"\r\n\r\n" + garbage, half_closed=False)


async def slow(subject: Subject, turn: Turn) -> None:
    """Clients that hold on to what they have: unread watches, large bodies, bodies that do not end."""
    rng = turn.rng
    client = Client(subject, turn.tally)
    held: list[Connection] = []
    try:
        while turn.goes_on():
            for _ in range(10):
                held.append(await Connection.open(subject))
                target = f"{rng.choice(_WATCHED)}?watch=1&timeoutSeconds=30&resourceVersion={rng.choice(('', '0'))}"
                with contextlib.suppress(Gone):
                    await held[-1].send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            for size in (2 << 20, 3 << 20, 10 << 20):
                await _large(subject, turn, size)
            held.append(await Connection.open(subject))
            with contextlib.suppress(Gone):
                await held[-1].send(
                    b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: a\r\nContent-Length: 90\r\n\r\n{"
                )
            # Something for the watchers to swallow.
            for number in range(8):
                body = b'{"metadata":{"name":"large-%d"},"data":{"x":"%b"}}' % (number, b"y" * 300_000)
                await client.ask(
                    "POST", "/api/v1/namespaces/default/configmaps", body, {"Content-Type": "application/json"}
                )
                await client.ask("DELETE", f"/api/v1/namespaces/default/configmaps/large-{number}")
            future = await client.ask("GET", "/api/v1/pods?watch=1&timeoutSeconds=1&resourceVersion=99999999999")
            if future is not None and b"Timeout" not in future.body and future.status not in (200, 504, 410):
                turn.tally.find("a watch from the future", str(future.status), future.body)
            while len(held) > 150:
                held.pop(0).close()
    finally:
        client.close()
        for connection in held:
            connection.close()


async def _large(subject: Subject, turn: Turn, size: int) -> None:
    connection = await Connection.open(subject)
    head = "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    chunked = turn.rng.random() < 0.5
    head += "Transfer-Encoding: chunked\r\n\r\n" if chunked else f"Content-Length: {size}\r\n\r\n"
    block = b'"' + b"a" * 65_534 + b'"'
    try:
        await connection.send(head.encode())
        for _ in range(size // len(block)):
            await connection.send(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
        await connection.send(b"0\r\n\r\n" if chunked else b"a" * (size % len(block)))
        found = await connection.answer()
    except Gone:
        # It answered before we were done; what it said was lost with the connection.
        turn.tally.count("closed")
        return
    except TimeoutError:
        turn.tally.find("a large body was not answered", f"{size}")
        return
    finally:
        connection.close()
    turn.tally.count(found.status)
    if found.status not in (400, 413):
        turn.tally.find(f"a body of {size} bytes: {found.status}", found.body)


PHASES: Sequence[Callable[[Subject, Turn], Awaitable[None]]] = (paths, heads, upgrades, slow)
