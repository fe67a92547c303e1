"""Mirrors, certificates and headers as hosts.toml says, and what no other host is told."""

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from navarch.runtime_shim import errors
from navarch.testing.faulty_registry import Registry, an_image, answers, digest_of, serving

from .conftest import Images

Make = Callable[..., Images]


@pytest.fixture
def configure(tmp_path: Path, make_images: Make) -> Callable[[str, str], Images]:
    """An image service with a hosts.toml for a registry."""

    def configure(registry: str, text: str) -> Images:
        folder = tmp_path / "certs.d" / registry
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(text)
        return make_images(config_dirs=(tmp_path / "certs.d",))

    return configure


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    path = folder / f"{name}.pem"
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(path)]
    command = ["openssl", "req", "-x509", *key, *subject, "-days", "2", "-out", str(path) + ".crt"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


async def test_a_mirror_is_asked_first_and_told_for_whom(configure: Callable[[str, str], Images]) -> None:
    async with serving(Registry()) as mirror:
        image = mirror.add(an_image(), "v1")
        images = configure("registry.invalid", f'[host."http://{mirror.host}"]')
        assert await images.pull("registry.invalid/team/web:v1") == image.id
        assert {request.query["ns"] for request in mirror.requests} == {"registry.invalid"}
    found = await images.find(image.id)
    assert found is not None
    assert list(found.repo_tags) == ["registry.invalid/team/web:v1"]


@pytest.mark.parametrize("status", [403, 404, 500, 503])
async def test_what_a_mirror_does_not_give_comes_from_the_registry(
    configure: Callable[[str, str], Images], registry: Registry, status: int
) -> None:
    image = registry.add(an_image(), "v1")
    async with serving(Registry(faults=[answers(status)])) as mirror:
        images = configure(registry.host, f'[host."http://{mirror.host}"]\n[host."http://127.0.0.1:1"]')
        assert await images.pull(f"{registry.host}/web:v1") == image.id
        assert mirror.requests
    assert not any("ns" in request.query for request in registry.requests)


async def test_a_mirror_that_breaks_off_is_gone_on_from_elsewhere(
    configure: Callable[[str, str], Images], registry: Registry
) -> None:
    image = registry.add(an_image(100_000), "v1")

    async def cut(request: web.Request) -> web.StreamResponse | None:
        if digest_of(image.layer) not in request.path:
            return None
        response = web.StreamResponse()
        response.content_length = len(image.layer)
        await response.prepare(request)
        await response.write(image.layer[:60_000])
        assert request.transport is not None
        request.transport.close()
        return response

    async with serving(Registry(faults=[cut])) as mirror:
        mirror.add(image, "v1")
        images = configure(registry.host, f'[host."http://{mirror.host}"]')
        assert await images.pull(f"{registry.host}/web:v1") == image.id
        assert len(mirror.asked(digest_of(image.layer))) == 1
    (rest,) = registry.asked(digest_of(image.layer))
    assert rest.headers["Range"].startswith("bytes=")


async def test_a_failure_quotes_all_that_were_asked(
    configure: Callable[[str, str], Images], registry: Registry
) -> None:
    async with serving(Registry(faults=[answers(500)])) as mirror:
        images = configure(registry.host, f'[host."http://{mirror.host}"]')
        with pytest.raises(errors.NotFound, match=f"no v1 here.*{mirror.host} answered: FAULT: status 500"):
            await images.pull(f"{registry.host}/web:v1")


async def test_a_mirror_for_blobs_alone_does_not_say_what_a_tag_means(
    configure: Callable[[str, str], Images], registry: Registry
) -> None:
    image = registry.add(an_image(), "v1")
    async with serving(Registry()) as mirror:
        mirror.add(an_image(), "v1")
        mirror.add(image)
        images = configure(registry.host, f'[host."http://{mirror.host}"]\ncapabilities = ["pull"]')
        assert await images.pull(f"{registry.host}/web:v1") == image.id
        assert mirror.asked("/blobs/")
        assert not mirror.asked("/manifests/v1")
    assert not registry.asked("/blobs/")


async def test_headers_and_an_overridden_path(configure: Callable[[str, str], Images]) -> None:
    async with serving(Registry()) as mirror:
        image = mirror.add(an_image(), "v1")
        options = 'override_path = true\nheader = {x-one = "1", x-many = ["2", "3"]}'
        images = configure("registry.invalid", f'[host."http://{mirror.host}/api"]\n{options}')
        assert await images.pull("registry.invalid/web:v1") == image.id
        for request in mirror.requests:
            assert request.path.startswith("/api/web/")
            assert request.headers["x-one"] == "1"
            assert request.headers.getall("x-many") == ["2", "3"]


@pytest.mark.parametrize(
    ("options", "works"),
    [
        ("", False),
        ('ca = "server.pem.crt"', True),
        ('ca = ["{tmp}/server.pem.crt"]', True),
        ("skip_verify = true", True),
        ('ca = "other.pem.crt"', False),
    ],
)
async def test_certificate_authorities(
    configure: Callable[[str, str], Images], tmp_path: Path, options: str, works: bool
) -> None:
    folder = tmp_path / "certs.d" / "registry.invalid"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path, "server"))
    certificate(tmp_path, "other")
    async with serving(Registry(), context) as served:
        image = served.add(an_image(), "v1")
        text = f'server = "https://{served.host}"\n{options.format(tmp=tmp_path)}'
        images = configure("registry.invalid", text)
        for name in ("server", "other"):
            (folder / f"{name}.pem.crt").write_bytes((tmp_path / f"{name}.pem.crt").read_bytes())
        if works:
            assert await images.pull("registry.invalid/web:v1") == image.id
        else:
            with pytest.raises(errors.RuntimeFailure, match=f"failed to verify {served.host}"):
                await images.pull("registry.invalid/web:v1")


@pytest.mark.parametrize("shown", [True, False])
async def test_client_certificates(configure: Callable[[str, str], Images], tmp_path: Path, shown: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path, "server"))
    own = certificate(tmp_path, "own")
    context.load_verify_locations(f"{own}.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    async with serving(Registry(), context) as served:
        image = served.add(an_image(), "v1")
        client = f'client = ["{own}"]' if shown else ""
        text = f'server = "https://{served.host}"\nca = "{tmp_path}/server.pem.crt"\n{client}'
        images = configure("registry.invalid", text)
        if shown:
            assert await images.pull("registry.invalid/web:v1") == image.id
        else:
            with pytest.raises(errors.ShimError, match=served.host):
                await images.pull("registry.invalid/web:v1")


async def test_an_unreadable_certificate_is_named(configure: Callable[[str, str], Images]) -> None:
    images = configure("registry.invalid", 'ca = "absent.pem"')
    with pytest.raises(errors.FailedPrecondition, match=r"absent\.pem"):
        await images.pull("registry.invalid/web:v1")


async def test_a_redirect_takes_no_secrets_along(configure: Callable[[str, str], Images], registry: Registry) -> None:
    """Neither the registry's password, nor configured headers; and its host is not answered when it asks."""
    image = registry.add(an_image(), "v1")
    async with serving(Registry()) as elsewhere:
        elsewhere.add(image)

        async def password(request: web.Request) -> web.StreamResponse | None:
            if "Authorization" in request.headers:
                return None
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})

        async def redirect(request: web.Request) -> web.StreamResponse | None:
            if "/blobs/" not in request.path:
                return None
            return web.Response(status=307, headers={"Location": f"http://{elsewhere.host}{request.path}?sig=a%2Fb"})

        registry.faults += [password, redirect]
        images = configure(registry.host, 'header = {x-secret = "1"}')
        name, secret = f"{registry.host}/web:v1", {"username": "me", "password": "secret"}
        assert await images.pull(name, **secret) == image.id
        for request in elsewhere.requests:
            assert request.path_qs.endswith("?sig=a%2Fb")
            assert not {"Authorization", "x-secret"} & set(request.headers)
        await images.remove(name)
        elsewhere.faults.append(password)
        with pytest.raises(errors.RuntimeFailure, match="pull access denied"):
            await images.pull(name, **secret)
    assert not any("Authorization" in request.headers for request in elsewhere.requests)


async def test_redirects_in_a_circle(images: Images, registry: Registry) -> None:
    async def around(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=302, headers={"Location": request.path})

    registry.faults.append(around)
    with pytest.raises(errors.RuntimeFailure, match="in a circle"):
        await images.pull(f"{registry.host}/web:v1")


async def test_a_token_that_runs_out_is_renewed(images: Images, registry: Registry) -> None:
    image = registry.add(an_image(), "v1")
    tokens = 0

    async def bearer(request: web.Request) -> web.StreamResponse | None:
        nonlocal tokens
        if request.path == "/token":
            assert request.query.getall("scope") == ["repository:web:pull"]
            tokens += 1
            return web.json_response({"token": f"t{tokens}"})
        wanted = "Bearer t2" if "/blobs/" in request.path else "Bearer t1"
        if request.headers.get("Authorization") == wanted:
            return None
        challenge = f'Bearer realm="http://{registry.host}/token",service="s"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    registry.faults.append(bearer)
    assert await images.pull(f"{registry.host}/web:v1", username="me", password="secret") == image.id
    assert tokens == 2


async def test_credentials_for_another_server_are_not_shown(images: Images, registry: Registry) -> None:
    registry.faults.append(answers(401, WWW_Authenticate='Basic realm="x"'))
    auth = {"username": "me", "password": "secret", "server_address": "https://other.example.org"}
    with pytest.raises(errors.RuntimeFailure, match="no pull secret"):
        await images.pull(f"{registry.host}/web:v1", **auth)
    assert not any("Authorization" in request.headers for request in registry.requests)
