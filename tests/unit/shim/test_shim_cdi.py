"""Devices by name: specification files, and what they do to a container's specification."""

import json
from pathlib import Path
from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd import cdi
from navarch.runtime_shim.errors import InvalidArgument

NULL = {"path": "/dev/null"}
VENDOR = {
    "cdiVersion": "0.6.0",
    "kind": "acme.com/gpu",
    "containerEdits": {"env": ["DRIVER=1"], "additionalGids": [44]},
    "devices": [
        {"name": "0", "containerEdits": {"env": ["GPU=0"], "deviceNodes": [NULL]}},
        {
            "name": "1",
            "containerEdits": {
                "mounts": [{"hostPath": "/lib/acme", "containerPath": "/lib/acme", "options": ["ro"]}],
                "hooks": [{"hookName": "createContainer", "path": "/bin/true", "args": ["true"]}],
            },
        },
    ],
}


def document() -> dict[str, Any]:
    return {
        "process": {"env": ["PATH=/bin", "GPU=none"], "user": {"additionalGids": [1]}},
        "mounts": [],
        "linux": {"devices": [], "resources": {"devices": [{"allow": False, "access": "rwm"}]}},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "acme.json").write_text(json.dumps(VENDOR))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "nothing.yaml").write_text("[]")
    (tmp_path / "readme.txt").write_text("not ours")
    return tmp_path


def test_edits(folder: Path) -> None:
    edited = document()
    cdi.inject(edited, ["acme.com/gpu=0", "acme.com/gpu=1"], cdi.load([folder]))
    assert edited["process"] == {
        "env": ["PATH=/bin", "DRIVER=1", "GPU=0"],
        "user": {"additionalGids": [1, 44]},
    }
    (device,) = edited["linux"]["devices"]
    assert device == {"path": "/dev/null", "type": "c", "major": 1, "minor": 3}
    assert edited["linux"]["resources"]["devices"][-1] == {
        "allow": True, "access": "rwm", "type": "c", "major": 1, "minor": 3
    }  # fmt: skip
    (mount,) = edited["mounts"]
    assert mount == {"destination": "/lib/acme", "type": "bind", "source": "/lib/acme", "options": ["ro", "bind"]}
    assert edited["hooks"] == {"createContainer": [{"path": "/bin/true", "args": ["true"]}]}


def test_edits_of_caches_and_links(tmp_path: Path) -> None:
    edits = {
        "intelRdt": {"closID": "gold", "l3CacheSchema": "L3:0=f"},
        "netDevices": [{"hostInterfaceName": "eth7", "name": "fast0"}],
    }
    vendor = {**VENDOR, "containerEdits": {}, "devices": [{"name": "0", "containerEdits": edits}]}
    (tmp_path / "acme.json").write_text(json.dumps(vendor))
    edited = document()
    cdi.inject(edited, ["acme.com/gpu=0"], cdi.load([tmp_path]))
    assert edited["linux"]["intelRdt"] == {"closID": "gold", "l3CacheSchema": "L3:0=f"}
    assert edited["linux"]["netDevices"] == {"eth7": {"name": "fast0"}}


def test_yaml_and_later_folders(folder: Path, tmp_path: Path) -> None:
    later = tmp_path / "later"
    later.mkdir()
    (later / "acme.yaml").write_text(
        "cdiVersion: 0.6.0\nkind: acme.com/gpu\ndevices:\n- name: '0'\n  containerEdits: {env: [GPU=later]}\n"
    )
    edited = document()
    cdi.inject(edited, ["acme.com/gpu=0"], cdi.load([folder, later, tmp_path / "none"]))
    assert edited["process"]["env"] == ["PATH=/bin", "GPU=later"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("acme.com/gpu=7", "no specification knows it"),
        ("gpu", "vendor/class=device"),
        ("acme.com/gpu=0", "two specifications claim it"),
    ],
)
def test_devices_that_are_not_to_be_had(folder: Path, name: str, words: str) -> None:
    (folder / "again.json").write_text(json.dumps(VENDOR))
    with pytest.raises(InvalidArgument, match=words):
        cdi.inject(document(), [name], cdi.load([folder]))


def test_broken_edits_are_refused_with_the_name(tmp_path: Path) -> None:
    broken = {**VENDOR, "devices": [{"name": "0", "containerEdits": {"mounts": [{}]}}]}
    (tmp_path / "acme.json").write_text(json.dumps(broken))
    with pytest.raises(InvalidArgument, match="acme.com/gpu=0"):
        cdi.inject(document(), ["acme.com/gpu=0"], cdi.load([tmp_path]))


def test_who_asks() -> None:
    config = criv1.ContainerConfig(
        annotations={"cdi.k8s.io/plugin": "acme.com/gpu=0, acme.com/gpu=1", "other": "x"},
        CDI_devices=[criv1.CDIDevice(name="acme.com/gpu=1"), criv1.CDIDevice(name="acme.com/nic=0")],
    )
    assert cdi.names_of(config) == ["acme.com/gpu=0", "acme.com/gpu=1", "acme.com/nic=0"]
