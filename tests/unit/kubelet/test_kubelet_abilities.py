"""What a runtime can do for a Pod."""

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.abilities import (
    Abilities,
    abilities,
    check_image_volume,
    is_recursive_read_only,
)
from navarch.services.kubelet.core.references import ConfigError


def a_node(runtime: str) -> corev1.Node:
    node = corev1.Node()
    node.status.node_info.container_runtime_version = runtime
    node.status.runtime_handlers.add(name="").features.recursive_read_only_mounts = True
    node.status.runtime_handlers.add(name="other").features.user_namespaces = True
    return node


@pytest.mark.parametrize(
    ("runtime", "can"),
    [
        ("containerd://1.6.20~ds1", False),
        ("containerd://1.7.29", False),
        ("containerd://2.0.5", False),
        ("containerd://2.1.0", True),
        ("cri-o://1.30.2", False),
        ("cri-o://1.31.0", True),
        ("navarch://0.1.0", True),
        ("", True),
    ],
)
def test_runtimes_that_mount_images(runtime: str, can: bool) -> None:
    known = abilities(a_node(runtime), "")
    assert known.image_volumes == can
    if not can:
        with pytest.raises(ConfigError, match='^volume "v" is an image, which (containerd|cri-o) [0-9.~ds]+ cannot'):
            check_image_volume("v", known)


def test_each_handler_has_its_own() -> None:
    node = a_node("")
    assert abilities(node, "").recursive_read_only
    assert not abilities(node, "").user_namespaces
    assert not abilities(node, "other").recursive_read_only
    assert abilities(node, "other").user_namespaces
    assert abilities(node, "unheard-of") == Abilities(" ")


@pytest.mark.parametrize(
    ("mode", "read_only", "propagation", "can", "result"),
    [
        ("", True, "", True, False),
        ("Disabled", True, "", True, False),
        ("IfPossible", True, "None", True, True),
        ("IfPossible", True, "", False, False),
        ("Enabled", True, "", True, True),
        ("Enabled", True, "", False, "supported by the runtime"),
        ("Enabled", False, "", True, "read-only"),
        ("IfPossible", True, "HostToContainer", True, 'compatible with propagation "HostToContainer"'),
    ],
)
def test_recursive_read_only(mode: str, read_only: bool, propagation: str, can: bool, result: bool | str) -> None:
    mount = corev1.VolumeMount(name="v", read_only=read_only, recursive_read_only=mode, mount_propagation=propagation)
    known = Abilities(recursive_read_only=can)
    if isinstance(result, bool):
        assert is_recursive_read_only(mount, known) == result
        return
    with pytest.raises(ConfigError) as refusal:
        is_recursive_read_only(mount, known)
    assert str(refusal.value) == f'volume "v" requested recursive read-only mode, but it is not {result}'
