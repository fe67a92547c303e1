"""Hostile and mistaken requests: the status that Kubernetes gives, and a server that goes on."""

import asyncio
import socket
import ssl
from typing import Any

import pytest

from navarch.services.apiserver.doors.rest import door

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/nonsense", 404),
        ("/apis/apps/v9/deployments", 404),
        ("/apis/nobody.example/v1/things", 404),
        ("/nowhere", 404),
        ("/api/v1/namespaces/default/configmaps/a/nothing", 404),
        ("/api/v1/namespaces/default/configmaps/..%2F..%2Fsecrets", 400),
        ("/api/v1/namespaces/default/configmaps/%2e%2e", 400),
        ("/api/v1/namespaces/..%2Fkube-system/configmaps", 400),
        ("/api/v1/namespaces/default/configmaps/a%252Fb", 404),
        ("/api/v1/namespaces/default/configmaps/%ff%fe", 400),
        ("/api/v1/namespaces/default/configmaps/a%00b", 404),
        ("/api/v1//pods", 404),
        ("/api/v1/nodes/x/status/more", 404),
    ],
)
async def test_paths(rest: Any, path: str, status: int) -> None:
    answer = await rest.get(path)
    assert answer.status == status, answer.body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", f"{MAPS}/a", 405),
        ("PUT", MAPS, 405),
        ("PATCH", MAPS, 405),
        ("OPTIONS", MAPS, 405),
        ("BREW", MAPS, 400),
        ("POST", "/api/v1/configmaps", 400),
        ("DELETE", f"{MAPS}/a/status", 404),
        ("GET", "/api/v1/namespaces/default/bindings", 405),
    ],
)
async def test_methods(rest: Any, method: str, path: str, status: int) -> None:
    answer = await rest.ask(method, path, {"metadata": {"name": "a"}} if method != "GET" else None)
    assert answer.status == status, answer.body


@pytest.mark.parametrize(
    ("body", "media", "status", "reason"),
    [
        pytest.param(b"{", "application/json", 400, "BadRequest", id="half an object"),
        pytest.param(b"", "application/json", 400, "BadRequest", id="nothing"),
        pytest.param(b"[]", "application/json", 400, "BadRequest", id="a list"),
        pytest.param(b"null", "application/json", 400, "BadRequest", id="null"),
        pytest.param(b'{"metadata":{"name":1}}', "application/json", 400, "BadRequest", id="a number for a name"),
        pytest.param(b'{"kind":"Pod","apiVersion":"v1"}', "application/json", 400, "BadRequest", id="another kind"),
        pytest.param(b'{"apiVersion":"apps/v1"}', "application/json", 400, "BadRequest", id="another version"),
        pytest.param(b"\xff\xfe{}", "application/json", 400, "BadRequest", id="no UTF-8"),
        pytest.param(b'{"data":' + b"[" * 100_000, "application/json", 400, "BadRequest", id="deep lists"),
        pytest.param(b'{"a":' * 5000 + b"1" + b"}" * 5000, "application/json", 400, "BadRequest", id="deep objects"),
        pytest.param(b'{"metadata":{"name":"a"},"data":{"x":"' + b"x" * 4_000_000 + b'"}}', "application/json", 413,
                     "RequestEntityTooLarge", id="four megabytes"),
        pytest.param(b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n" + b"".join(
            b"d%d: &d%d [*%s,*%s]\n" % (n, n, p, p) for n, p in enumerate([b"c", *(b"d%d" % n for n in range(40))])
        ), "application/yaml", 400, "BadRequest", id="a bomb of aliases"),
        pytest.param(b"a: b: c", "application/yaml", 400, "BadRequest", id="no YAML"),
        pytest.param(b"metadata: {name: a}\n---\nmetadata: {name: b}", "application/yaml", 400, "BadRequest",
                     id="two documents"),
        pytest.param(b"{}", "text/plain", 415, "UnsupportedMediaType", id="plain text"),
        pytest.param(b"{}", "application/cbor", 415, "UnsupportedMediaType", id="CBOR"),
        pytest.param(b"k8s\0\xff\xff", "application/vnd.kubernetes.protobuf", 400, "BadRequest", id="a torn envelope"),
        pytest.param(b"{}", "application/vnd.kubernetes.protobuf", 400, "BadRequest", id="no envelope"),
        pytest.param(b"k8s\0\x12\x05\n\x03\n\x01\xff", "application/vnd.kubernetes.protobuf", 400, "BadRequest",
                     id="protobuf with a name that is not UTF-8"),
    ],
)  # fmt: skip
async def test_bodies(rest: Any, body: bytes, media: str, status: int, reason: str) -> None:
    answer = await rest.ask("POST", MAPS, body, Content_Type=media)
    assert (answer.status, answer.reason) == (status, reason), answer.body
    assert (await rest.get(MAPS)).status == 200


@pytest.mark.parametrize("media", ["application/merge-patch+json", "application/strategic-merge-patch+json"])
@pytest.mark.parametrize("levels", [300, 900])
async def test_a_patch_that_is_deep_and_wrong(rest: Any, media: str, levels: int) -> None:
    await rest.make(MAPS, "a")
    body = b'{"immutable":' + b'{"a":[' * (levels // 2) + b"]}" * (levels // 2) + b"}"
    answer = await rest.ask("PATCH", f"{MAPS}/a", body, Content_Type=media)
    # What little is wrong with the shallower ones is shown.
    assert (answer.status, answer.reason) in ((400, "BadRequest"), (422, "Invalid")), answer.body


async def test_a_compressed_body_is_refused(rest: Any) -> None:
    answer = await rest.ask("POST", MAPS, b"\x1f\x8b", Content_Encoding="gzip")
    assert (answer.status, answer.reason) == (415, "UnsupportedMediaType")


async def test_a_very_long_selector(rest: Any) -> None:
    fine = await rest.get(f"{MAPS}?labelSelector=" + ",".join(f"k{n}%3Dv" for n in range(3000)))
    assert (fine.status, fine.json["items"]) == (200, [])
    assert (await rest.get(f"{MAPS}?labelSelector=" + "a" * 200_000)).status in (400, 414, 431)


async def test_a_client_that_sends_its_body_slowly_is_not_waited_for(
    rest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from navarch.services.apiserver.doors.rest import bodies

    monkeypatch.setattr(bodies, "PATIENCE_S", 0.2)

    async def drip() -> Any:
        yield b'{"metadata":'
        await asyncio.sleep(5)

    async with rest.session.post(rest.url + MAPS, data=drip(), headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 504


@pytest.mark.parametrize("before", [b"", b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"], ids=["first", "second"])
async def test_a_client_that_sends_a_head_slowly_is_not_waited_for(
    rest: Any, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    from navarch.services.apiserver.doors.rest import connections

    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.port, ssl=rest.context)
    writer.write(before)
    if before:
        assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200")
    writer.write(b"GET /version HT")
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()


async def test_a_connection_at_rest_is_kept_longer_than_a_head_may_take(
    rest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from navarch.services.apiserver.doors.rest import connections

    monkeypatch.setattr(connections, "HEAD_S", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.port, ssl=rest.context)
    for _ in range(2):
        writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.4)
    writer.close()


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01 no HTTP\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["bytes", "path", "length", "field", "chunk"],
)
async def test_what_is_no_http_is_no_error_of_ours(rest: Any, caplog: pytest.LogCaptureFixture, said: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.port, ssl=rest.context)
    writer.write(said)
    assert (await reader.readline()).startswith((b"HTTP/1.1 400", b"HTTP/1.0 400", b"HTTP/1.1 200"))
    async with asyncio.timeout(30):
        await reader.read()
    writer.close()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("target", [b"*", b"http://localhost/nowhere"])
async def test_a_request_for_no_path_is_no_fault_of_the_server(
    rest: Any, caplog: pytest.LogCaptureFixture, target: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.port, ssl=rest.context)
    writer.write(b"OPTIONS " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 404")
    writer.close()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_clients_that_vanish_half_way_leave_the_server_well(rest: Any) -> None:
    port = rest.port
    for cut in (b"", b"POST ", b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"):
        with socket.create_connection(("127.0.0.1", port)) as plain:
            plain.sendall(cut)
        with (
            socket.create_connection(("127.0.0.1", port)) as raw,
            rest.context.wrap_socket(raw, server_hostname="localhost", do_handshake_on_connect=False) as secure,
        ):
            await asyncio.to_thread(secure.do_handshake)
            secure.sendall(cut or b"\r\n")
    assert (await rest.get(MAPS)).status == 200


async def test_a_certificate_of_another_authority_ends_at_the_handshake(rest: Any) -> None:
    import time

    from navarch.services.base.tls import CertificateAuthority
    from navarch.services.base.tls_context import load_pair

    other = CertificateAuthority.create("other", time.time()).issue(
        "kubernetes-admin", ["system:masters"], now=time.time()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    load_pair(context, other)
    with pytest.raises(Exception):  # noqa: B017, PT011 - a handshake fails in many words
        async with rest.session.get(rest.url + MAPS, ssl=context) as answer:
            raise AssertionError(answer.status)
    assert (await rest.get(MAPS)).status == 200


@pytest.mark.parametrize(("query", "status"), [("", 429), ("?watch=0", 429), ("?watch=false", 429), ("?watch=x", 400)])
async def test_what_is_no_watch_counts_as_a_read(
    rest: Any, monkeypatch: pytest.MonkeyPatch, query: str, status: int
) -> None:
    monkeypatch.setattr(door, "READS_IN_FLIGHT", 0)
    answer = await rest.get(MAPS + query)
    assert answer.status == status, answer.body
