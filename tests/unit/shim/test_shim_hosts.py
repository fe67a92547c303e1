"""hosts.toml: whom to ask for a registry's images, and how."""

from pathlib import Path

import pytest

from navarch.runtime_shim.containerd.images.hosts import CAPABILITIES, PULL, RESOLVE, Host, duration_s, hosts_of
from navarch.runtime_shim.errors import FailedPrecondition

OWN = Host("https://registry.example.org/v2")
NAME = "registry.example.org"


def configured(root: Path, text: str, folder: str = NAME, registry: str = NAME) -> list[Host]:
    (root / folder).mkdir()
    (root / folder / "hosts.toml").write_text(text)
    return hosts_of(registry, [root / "absent", root])


def test_without_configuration_the_registry_is_asked(tmp_path: Path) -> None:
    assert hosts_of(NAME, [tmp_path]) == [OWN]
    assert hosts_of("docker.io", []) == [Host("https://registry-1.docker.io/v2")]
    assert hosts_of("127.0.0.1:5000", []) == [Host("http://127.0.0.1:5000/v2")]


def test_mirrors_come_in_the_order_of_the_file_and_the_server_last(tmp_path: Path) -> None:
    text = """
    server = "https://upstream.example.org"
    [host."https://z.example.org"]
      capabilities = ["pull", "resolve"]
    [host."http://a.example.org:5000"]
    """
    assert configured(tmp_path, text) == [
        Host("https://z.example.org/v2", frozenset((PULL, RESOLVE))),
        Host("http://a.example.org:5000/v2"),
        Host("https://upstream.example.org/v2"),
    ]


@pytest.mark.parametrize(
    ("server", "options", "url"),
    [
        ("https://m.example.org", "", "https://m.example.org/v2"),
        ("m.example.org", "", "https://m.example.org/v2"),
        ("https://m.example.org/", "", "https://m.example.org/v2"),
        ("https://m.example.org/proxy", "", "https://m.example.org/proxy/v2"),
        ("https://m.example.org/v2", "", "https://m.example.org/v2"),
        ("https://m.example.org/v2/mirror", "", "https://m.example.org/v2/mirror/v2"),
        ("https://m.example.org/v2/mirror", "override_path = true", "https://m.example.org/v2/mirror"),
        ("https://m.example.org", "override_path = true", "https://m.example.org"),
    ],
)
def test_the_path_of_the_api(tmp_path: Path, server: str, options: str, url: str) -> None:
    assert configured(tmp_path, f'[host."{server}"]\n{options}')[0].url == url


def test_certificates_headers_and_times(tmp_path: Path) -> None:
    text = """
    ca = "own.pem"
    skip_verify = true
    [host."https://m.example.org"]
      ca = ["/etc/ca.pem", "ca.crt"]
      client = [["c.pem", "/k.pem"], "both.pem"]
      dial_timeout = "1m1.5s"
      [host."https://m.example.org".header]
        x-one = "1"
        x-many = ["2", "3"]
    """
    folder = tmp_path / NAME
    mirror, own = configured(tmp_path, text)
    assert mirror == Host(
        "https://m.example.org/v2",
        CAPABILITIES,
        (Path("/etc/ca.pem"), folder / "ca.crt"),
        ((folder / "c.pem", Path("/k.pem")), (folder / "both.pem", None)),
        headers=(("x-one", "1"), ("x-many", "2"), ("x-many", "3")),
        dial_timeout_s=61.5,
    )
    assert own == Host(OWN.url, CAPABILITIES, (folder / "own.pem",), skip_verify=True)


@pytest.mark.parametrize(
    ("folder", "registry"),
    [("r.example.org_5000_", "r.example.org:5000"), ("r.example.org:5000", "r.example.org:5000"), ("_default", NAME)],
)
def test_where_the_file_lies(tmp_path: Path, folder: str, registry: str) -> None:
    assert [host.url for host in configured(tmp_path, '[host."https://m"]', folder, registry)] == [
        "https://m/v2",
        f"https://{registry}/v2",
    ]


def test_the_own_folder_outweighs_the_default(tmp_path: Path) -> None:
    configured(tmp_path, '[host."https://m"]', "_default")
    assert configured(tmp_path, "") == [OWN]


def test_certificate_files_without_hosts_toml(tmp_path: Path) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    for name in ("ca.crt", "own.cert", "own.key"):
        (folder / name).touch()
    assert hosts_of(NAME, [tmp_path]) == [
        Host(OWN.url, CAPABILITIES, (folder / "ca.crt",), ((folder / "own.cert", folder / "own.key"),))
    ]
    (folder / "own.key").unlink()
    with pytest.raises(FailedPrecondition, match=r"own\.cert has no own\.key"):
        hosts_of(NAME, [tmp_path])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server = ", "hosts.toml"),
        ('capabilities = ["fly"]', "unknown capability 'fly'"),
        ('[host."https://"]', "not the address"),
        ("ca = 1", "ca must be"),
        ("[header]\nx = 1", "x must be"),
        ('client = [["one"]]', "client must name pairs"),
        ('dial_timeout = "soon"', "not a duration"),
        ("host = 1", "hosts.toml"),
    ],
)
def test_a_broken_file_refuses_the_pull(tmp_path: Path, text: str, message: str) -> None:
    """containerd logs it and goes to the registry itself, past the mirrors that somebody meant to name."""
    with pytest.raises(FailedPrecondition, match=message):
        configured(tmp_path, text)


@pytest.mark.parametrize(("text", "seconds"), [("1m30s", 90), ("1.5h", 5400), ("300ms", 0.3), (".5s", 0.5)])
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)
