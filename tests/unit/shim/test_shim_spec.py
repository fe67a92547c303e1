"""The OCI specification, field by field."""

from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd import spec
from navarch.runtime_shim.containerd.images.model import ImageConfig
from navarch.runtime_shim.containerd.users import User
from navarch.runtime_shim.errors import InvalidArgument

SHARED = criv1.MountPropagation.PROPAGATION_BIDIRECTIONAL
PERMITTED = frozenset({"CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"})
IMAGE = ImageConfig(diff_ids=(), entrypoint=("/entry",), cmd=("one",), env=("A=image", "B=image"), working_dir="/work")


def inputs(**changes: Any) -> spec.Inputs:
    values: dict[str, Any] = {
        "container_id": "c1",
        "sandbox_id": "s1",
        "hostname": "host",
        "image": IMAGE,
        "user": User(7, 8, (8, 9), "/home/seven"),
        "cgroup_path": "/kubepods/pod1/c1",
        "permitted_capabilities": PERMITTED,
        "namespaces": {"network": "/run/net", "ipc": "/run/ipc", "uts": "/run/uts"},
        "files": {"/etc/hosts": "/s1/hosts", "/dev/shm": "/s1/shm"},
    }
    return spec.Inputs(**{**values, **changes})


def config(**fields: Any) -> criv1.ContainerConfig:
    return criv1.ContainerConfig(metadata=criv1.ContainerMetadata(name="main"), **fields)


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        pytest.param([], [], ["/entry", "one"], id="image alone"),
        pytest.param([], ["two"], ["/entry", "two"], id="args replace the image's"),
        pytest.param(["/bin"], [], ["/bin"], id="command drops the image's arguments"),
        pytest.param(["/bin"], ["two"], ["/bin", "two"], id="both"),
    ],
)
def test_command_line(command: list[str], args: list[str], expected: list[str]) -> None:
    assert spec.command_line(config(command=command, args=args), IMAGE) == expected


def test_no_command_at_all() -> None:
    with pytest.raises(InvalidArgument, match="no command specified"):
        spec.command_line(config(), ImageConfig(diff_ids=()))


def test_environment_layers() -> None:
    given = config(envs=[criv1.KeyValue(key="B", value=b"pod"), criv1.KeyValue(key="C", value=b"1=2")], tty=True)
    found = dict(entry.split("=", 1) for entry in spec.environment(given, IMAGE, "host", "/root"))
    assert (found["A"], found["B"], found["C"]) == ("image", "pod", "1=2")
    assert (found["HOSTNAME"], found["HOME"], found["TERM"]) == ("host", "/root", "xterm")
    assert found["PATH"].startswith("/usr/local/sbin")


@pytest.mark.parametrize(
    ("add", "drop", "privileged", "expected"),
    [
        pytest.param([], [], False, {"CAP_CHOWN", "CAP_KILL"}, id="defaults, as far as permitted"),
        pytest.param(["NET_ADMIN"], ["KILL"], False, {"CAP_CHOWN", "CAP_NET_ADMIN"}, id="add and drop"),
        pytest.param(["ALL"], ["KILL"], False, PERMITTED - {"CAP_KILL"}, id="all but one"),
        pytest.param(["CAP_CHOWN"], ["ALL"], False, {"CAP_CHOWN"}, id="none but one"),
        pytest.param(["SYS_RESOURCE"], [], False, {"CAP_CHOWN", "CAP_KILL", "CAP_SYS_RESOURCE"}, id="asked by name"),
        pytest.param([], ["ALL"], True, PERMITTED, id="privileged has all"),
    ],
)
def test_capabilities(add: list[str], drop: list[str], privileged: bool, expected: set[str]) -> None:
    asked = criv1.Capability(add_capabilities=add, drop_capabilities=drop)
    security = criv1.LinuxContainerSecurityContext(capabilities=asked, privileged=privileged)
    found = spec.capabilities(security, PERMITTED)
    assert set(found["bounding"]) == set(found["effective"]) == set(found["permitted"]) == expected
    assert "ambient" not in found


def test_unknown_capability() -> None:
    asked = criv1.Capability(add_capabilities=["FLY"])
    with pytest.raises(InvalidArgument, match="CAP_FLY"):
        spec.capabilities(criv1.LinuxContainerSecurityContext(capabilities=asked), PERMITTED)


def test_ambient_capabilities() -> None:
    asked = criv1.Capability(add_ambient_capabilities=["NET_BIND_SERVICE"])
    found = spec.capabilities(criv1.LinuxContainerSecurityContext(capabilities=asked), PERMITTED)
    assert found["ambient"] == found["inheritable"] == ["CAP_NET_BIND_SERVICE"]
    assert "CAP_NET_BIND_SERVICE" in found["bounding"]


def test_a_plain_container() -> None:
    given = config()
    given.linux.security_context.masked_paths.append("/proc/kcore")
    given.linux.security_context.readonly_paths.append("/proc/sys")
    document = spec.build(given, inputs())
    process = document["process"]
    assert process["user"] == {"uid": 7, "gid": 8, "additionalGids": [8, 9]}
    assert (process["cwd"], process["terminal"], process["noNewPrivileges"]) == ("/work", False, False)
    linux = document["linux"]
    assert linux["cgroupsPath"] == "/kubepods/pod1/c1"
    assert {"type": "network", "path": "/run/net"} in linux["namespaces"]
    assert {"type": "pid"} in linux["namespaces"]
    assert {"type": "mount"} in linux["namespaces"]
    assert (linux["maskedPaths"], linux["readonlyPaths"]) == (["/proc/kcore"], ["/proc/sys"])
    assert linux["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert "seccomp" not in linux
    assert document["annotations"]["io.kubernetes.cri.sandbox-id"] == "s1"


def test_a_privileged_container() -> None:
    given = config()
    given.linux.security_context.privileged = True
    given.linux.security_context.masked_paths.append("/proc/kcore")
    linux = spec.build(given, inputs(seccomp={"defaultAction": "SCMP_ACT_ERRNO"}))["linux"]
    assert linux["maskedPaths"] == linux["readonlyPaths"] == []
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert "seccomp" not in linux


def test_host_namespaces_are_left_out() -> None:
    linux = spec.build(config(), inputs(namespaces={}, host_namespaces=frozenset({"network", "ipc", "uts", "pid"})))
    assert linux["linux"]["namespaces"] == [{"type": "mount"}]


def test_unified_control_groups_get_a_namespace() -> None:
    assert {"type": "cgroup"} in spec.build(config(), inputs(unified_cgroups=True))["linux"]["namespaces"]


def test_mounts_are_ordered_and_replace_what_is_there_by_default() -> None:
    given = config(
        mounts=[
            criv1.Mount(container_path="/data/inner", host_path="/h2", readonly=True),
            criv1.Mount(
                container_path="/data", host_path="/h1", propagation=criv1.MountPropagation.PROPAGATION_BIDIRECTIONAL
            ),
            criv1.Mount(container_path="/etc/hosts", host_path="/h3"),
            criv1.Mount(container_path="/dev/shm/", host_path="/h4"),
        ]
    )
    document = spec.build(given, inputs())
    binds = {mount["destination"]: mount for mount in document["mounts"] if mount["type"] == "bind"}
    assert list(binds).index("/data") < list(binds).index("/data/inner")
    assert binds["/etc/hosts"]["source"] == "/h3"
    assert [mount["source"] for mount in document["mounts"] if mount["destination"].rstrip("/") == "/dev/shm"] == [
        "/h4"
    ]
    assert binds["/data"]["options"] == ["rbind", "rshared", "rw"]
    assert binds["/data/inner"]["options"] == ["rbind", "rprivate", "ro"]
    assert document["linux"]["rootfsPropagation"] == "rshared"


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        (criv1.Mount(container_path="relative", host_path="/h"), "absolute"),
        (criv1.Mount(container_path="/x", host_path="/h", recursive_read_only=True), "readonly"),
        (
            criv1.Mount(container_path="/x", host_path="/h", readonly=True, recursive_read_only=True, propagation=1),
            "private",
        ),
        (criv1.Mount(container_path="/x", host_path="/h", uidMappings=[criv1.IDMapping()]), "id-mapped"),
    ],
)
def test_refused_mounts(mount: criv1.Mount, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        spec.build(config(mounts=[mount]), inputs())


@pytest.mark.parametrize(
    ("asked", "floor", "expected"), [(-998, -1000, -998), (-998, 0, 0), (2000, -1000, 1000), (5, 0, 5)]
)
def test_oom_score_is_kept_within_what_we_may_set(asked: int, floor: int, expected: int) -> None:
    given = config()
    given.linux.resources.oom_score_adj = asked
    assert spec.build(given, inputs(oom_score_floor=floor))["process"]["oomScoreAdj"] == expected


def test_resources() -> None:
    limits = criv1.LinuxContainerResources(
        cpu_shares=512, cpu_quota=50_000, cpu_period=100_000, memory_limit_in_bytes=1 << 20, cpuset_cpus="0-1"
    )
    limits.hugepage_limits.add(page_size="2MB", limit=4 << 20)
    limits.unified["memory.high"] = "1000"
    cpu = {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0-1"}
    assert spec.linux_resources(limits, frozenset(), False) == {"cpu": cpu, "memory": {"limit": 1 << 20}}
    found = spec.linux_resources(limits, frozenset({"memory.swap", "hugetlb"}), True)
    assert found["memory"] == {"limit": 1 << 20, "swap": 1 << 20}
    assert found["hugepageLimits"] == [{"pageSize": "2MB", "limit": 4 << 20}]
    assert found["unified"] == {"memory.high": "1000"}


def test_devices_may_be_used() -> None:
    device = spec.Device("/dev/fuse", "c", 10, 229, 0o666, 0, 0, "rw")
    linux = spec.build(config(), inputs(devices=(device,)))["linux"]
    assert linux["devices"][0]["path"] == "/dev/fuse"
    assert linux["resources"]["devices"][1] == {"allow": True, "access": "rw", "type": "c", "major": 10, "minor": 229}


def test_exec_process_is_the_container_s_with_another_command() -> None:
    process = spec.build(config(), inputs())["process"]
    found = spec.exec_process(process, ["ls"], tty=True)
    assert (found["args"], found["terminal"], found["user"]) == (["ls"], True, process["user"])
    assert "TERM=xterm" in found["env"]
    assert "oomScoreAdj" not in found
    assert process["args"] == ["/entry", "one"]
