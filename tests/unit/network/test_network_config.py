"""The node's network: CNI files and the nftables transaction."""

import json
import subprocess
from pathlib import Path

import pytest

from navarch.services.network import cni_config, masquerade


def test_the_files_are_written_once_and_removed(tmp_path: Path) -> None:
    directory = tmp_path / "net.d"
    assert cni_config.write(directory, "10.244.1.0/24", "nv0")
    assert not cni_config.write(directory, "10.244.1.0/24", "nv0")
    config = json.loads((directory / cni_config.BRIDGE_FILE).read_text())
    bridge, portmap = config["plugins"]
    assert (bridge["type"], bridge["bridge"], bridge["ipMasq"], bridge["isGateway"]) == ("bridge", "nv0", False, True)
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}]]
    assert portmap["capabilities"] == {"portMappings": True}
    assert sorted(entry.name for entry in directory.iterdir()) == ["10-navarch.conflist", "99-loopback.conf"]
    cni_config.remove(directory)
    cni_config.remove(directory)
    assert list(directory.iterdir()) == []


def test_a_changed_cidr_rewrites_the_file(tmp_path: Path) -> None:
    cni_config.write(tmp_path / "net.d", "10.244.1.0/24", "nv0")
    assert cni_config.write(tmp_path / "net.d", "10.244.2.0/24", "nv0")


@pytest.mark.parametrize("cidr", ["nonsense", "10.0.0.1/24", "fd00::/64"])
def test_a_bad_cidr_is_refused(cidr: str) -> None:
    with pytest.raises(ValueError, match=cidr.partition("/")[0]):
        masquerade.ruleset("t", cidr)


def test_the_transaction_is_one_that_nft_accepts() -> None:
    commands = {"nftables": masquerade.ruleset("navarch_unit", "10.244.1.0/24", ("10.244.0.0/16",))}
    checked = subprocess.run(["nft", "-c", "-j", json.dumps(commands)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_pods_keep_their_address_within_the_cluster() -> None:
    rule = masquerade.ruleset("t", "10.244.1.0/24", ("10.244.0.0/16", "10.244.1.0/24"))[-1]["add"]["rule"]["expr"]
    inside = rule[1]["match"]["right"]["set"]
    assert [entry["prefix"]["len"] for entry in inside] == [24, 16]
    assert rule[-1] == {"masquerade": {"flags": ["fully-random"]}}
