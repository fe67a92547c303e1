"""Hostile and mistaken requests: the status that Kubernetes gives, and a server that goes on."""

import asyncio
import socket
import ssl
from typing import Any

import pytest

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
        ("/api/v1/namespaces/..%2Fkube-system/configmaps", 200),
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
    ],
)  # fmt: skip
async def test_bodies(rest: Any, body: bytes, media: str, status: int, reason: str) -> None:
    answer = await rest.ask("POST", MAPS, body, Content_Type=media)
    assert (answer.status, answer.reason) == (status, reason), answer.body
    assert (await rest.get(MAPS)).status == 200


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


async def test_clients_that_vanish_half_way_leave_the_server_well(rest: Any) -> None:
    port = int(rest.url.rpartition(":")[2])
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
