"""The command line of a controller manager: what is taken, and what is refused with a reason."""

from pathlib import Path

import pytest

from navarch.services.base.credentials import Credentials
from navarch.services.controller_manager.main import config_of


@pytest.fixture
def needed(tmp_path: Path) -> list[str]:
    """The arguments that no controller manager does without."""
    files = {name: tmp_path / name for name in ("ca", "cert", "key")}
    Credentials(b"ca", b"cert", b"key").save(**files)
    return ["--api-server=127.0.0.1:1", *(f"--{name}={path}" for name, path in files.items())]


def test_what_it_is_without_being_told(needed: list[str]) -> None:
    config = config_of(needed)
    assert (config.cluster_cidrs, config.service_cidrs, config.node_prefixes) == (
        ("10.244.0.0/16",),
        (),
        {4: 24, 6: 64},
    )
    assert (config.slice_limit, config.mirrored_subset_limit) == (100, 1000)


def test_networks_of_both_families(needed: list[str]) -> None:
    config = config_of(
        [
            *needed,
            "--cluster-cidr=10.8.0.0/16,fd00:8::/48",
            "--service-cluster-ip-range=10.9.0.0/16,fd00:9::/112",
            "--node-cidr-mask-size-ipv4=26",
            "--max-endpoints-per-slice=50",
        ]
    )
    assert config.cluster_cidrs == ("10.8.0.0/16", "fd00:8::/48")
    assert config.service_cidrs == ("10.9.0.0/16", "fd00:9::/112")
    assert (config.node_prefixes, config.slice_limit) == ({4: 26, 6: 64}, 50)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--cluster-cidr=10.8.0.0/16,10.9.0.0/16", "expected one, or one IPv4 and one IPv6"),
        ("--cluster-cidr=10.8.0.0/26", "smaller than the /24 of one node"),
        ("--cluster-cidr=10.8.0.1/16", "has host bits set"),
        ("--cluster-cidr=", "no cluster CIDR"),
        ("--service-cluster-ip-range=services", "'services' does not appear to be an IPv4 or IPv6 network"),
        ("--node-cidr-mask-size-ipv4=33", "'33' is no number of 1 to 32"),
        ("--node-cidr-mask-size-ipv4=8", "smaller than the /8 of one node"),
        ("--max-endpoints-per-slice=0", "'0' is no number of 1 to 1000"),
    ],
)
def test_what_is_refused(needed: list[str], argument: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        config_of([*needed, argument])
    assert message in capsys.readouterr().err
