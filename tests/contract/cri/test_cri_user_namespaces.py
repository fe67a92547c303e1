"""User namespaces (KEP-127): whose a sandbox's files, namespaces and processes are, and what can't be had with one."""

import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.testing.cri_client import until
from navarch.testing.private_containerd import IMAGE, environment

from .conftest import Code, Peer, differs, refused
from .test_cri_image_layers import Layer, offered, pull

Mode = criv1.NamespaceMode
FIRST, LENGTH = 1_000_000, 65_536
IGNORED = "the plugin of 1.6 ignores what it is told of user namespaces"


def mapped(options: criv1.NamespaceOption) -> None:
    """Ask for a user namespace."""
    options.userns_options.mode = Mode.POD
    for lines in (options.userns_options.uids, options.userns_options.gids):
        lines.add(container_id=0, host_id=FIRST, length=LENGTH)


def pod(cri: Peer) -> criv1.PodSandboxConfig:
    config = cri.sandbox_config()
    mapped(config.linux.security_context.namespace_options)
    return config


def container(cri: Peer, *command: str, name: str = "main", attempt: int = 0) -> criv1.ContainerConfig:
    config = cri.container_config(*command, name=name, attempt=attempt)
    mapped(config.linux.security_context.namespace_options)
    return config


async def pid_of(cri: Peer, container_id: str) -> int:
    request = criv1.ContainerStatusRequest(container_id=container_id, verbose=True)
    return int(json.loads((await cri.runtime.ContainerStatus(request)).info["info"])["pid"])


@differs("plugin", reason=IGNORED)
async def test_a_container_is_root_of_its_own_files_and_nobody_on_the_host(cri: Peer) -> None:
    sandbox = await cri.sandbox(pod(cri))
    first = await cri.container(sandbox, container(cri))
    maps = (await cri.shell(first, "cat /proc/self/uid_map /proc/self/gid_map")).split()
    assert maps == ["0", str(FIRST), str(LENGTH)] * 2
    files = (
        "/ /bin /bin/sh /etc/hosts /etc/hostname /etc/resolv.conf /dev/shm /dev/mqueue /dev/pts /sys/class/net/lo/mtu"
    )
    owners = await cri.shell(first, f"id -u; stat -c %u:%g {files}; touch /own /etc/hosts && stat -c %u /own")
    assert owners.split() == ["0", *["0:0"] * len(files.split()), "0"]
    assert os.stat(f"/proc/{await pid_of(cri, first)}").st_uid == FIRST
    # All containers are in one namespace, and see one image that was given to it once.
    second = await cri.container(sandbox, container(cri, name="second"))
    namespaces = [await cri.shell(each, "readlink /proc/self/ns/user") for each in (first, second)]
    assert len({*namespaces, os.readlink("/proc/self/ns/user")}) == 2
    assert (await cri.shell(second, "stat -c %u /bin/sh; ls /own")).split() == ["0"]
    told = (await cri.sandbox_status(sandbox)).linux.namespaces.options.userns_options
    assert (told.mode, told.uids[0].host_id, told.gids[0].length) == (Mode.POD, FIRST, LENGTH)


@differs("plugin", reason=IGNORED)
async def test_what_it_writes_into_a_folder_of_the_host(cri: Peer, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    sandbox = await cri.sandbox(pod(cri))
    for uid in (0, 1000):
        config = container(cri, "sh", "-c", f"touch /data/{uid}; exec sleep 1000", name=f"as-{uid}")
        config.mounts.add(host_path=str(tmp_path), container_path="/data")
        config.linux.security_context.run_as_user.value = uid
        seen = await cri.shell(await cri.container(sandbox, config), f"cd /data; until stat -c %u {uid}; do :; done")
        assert seen.split() == [str(uid)]
        assert (tmp_path / str(uid)).stat().st_uid == FIRST + uid


async def test_what_is_read_only(cri: Peer, tmp_path: Path) -> None:
    """Flags of a mount can't be taken away in a user namespace, also not by making it read-only."""
    config = container(cri)
    config.linux.security_context.readonly_rootfs = True
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec,noatime", "tmpfs", tmp_path], check=True)
    try:
        (tmp_path / "file").write_text("here")
        for name, recursive in (("/plain", False), ("/recursive", True)):
            config.mounts.add(
                host_path=str(tmp_path), container_path=name, readonly=True, recursive_read_only=recursive
            )
        main = await cri.container(await cri.sandbox(pod(cri)), config)
        folders = "/plain /recursive /etc /sys /sys/fs/cgroup/memory"
        seen = await cri.shell(main, f"cat /plain/file; for f in {folders}; do touch $f/a && echo $f; done")
        assert seen == "here"
        assert await cri.shell(main, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max")
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


async def test_its_network_name_and_kernel_parameters_are_its_own(cri: Peer) -> None:
    config = pod(cri)
    parameters = {"net.ipv4.ip_unprivileged_port_start": "80", "kernel.msgmax": "16384", "fs.mqueue.msg_max": "20"}
    config.linux.sysctls.update(parameters | {"net.ipv4.ping_group_range": "0\t1000"})
    sandbox = await cri.sandbox(config)
    main = container(cri, "httpd", "-f", "-p", "80")
    main.linux.security_context.run_as_user.value = 1000
    server = await cri.container(sandbox, main)

    async def listens() -> bool:
        return ":0050 " in await cri.shell(server, "cat /proc/net/tcp /proc/net/tcp6")

    await until(listens)
    admin = container(cri, name="admin")
    admin.linux.security_context.capabilities.add_capabilities.extend(["SYS_ADMIN", "NET_ADMIN"])
    client = await cri.container(sandbox, admin)
    address = (await cri.sandbox_status(sandbox)).network.ip
    assert (await cri.exec(client, "sh", "-c", f"nc -w 5 {address} 80 < /dev/null")).exit_code == 0
    assert address in await cri.shell(client, "ip -4 address show eth0; ip link set lo down && ip link set lo up")
    files = " ".join(f"/proc/sys/{name.replace('.', '/')}" for name in sorted(parameters))
    told = (await cri.shell(client, f"hostname; cat {files}; hostname mine && hostname")).split()
    assert told == [config.hostname, *(parameters[name] for name in sorted(parameters)), "mine"]
    assert await cri.shell(server, "hostname; cat /proc/sys/net/ipv4/ping_group_range") == "mine\n0\t1000\n"
    stats = await cri.runtime.PodSandboxStats(criv1.PodSandboxStatsRequest(pod_sandbox_id=sandbox))
    assert stats.stats.linux.network.default_interface.name == "eth0"


async def test_output_terminals_and_restarts(cri: Peer) -> None:
    sandbox = await cri.sandbox(pod(cri))
    for attempt, tty in enumerate((False, True)):
        config = container(cri, "sh", "-c", "echo one; echo two > /dev/stdout; tty; exit 3", attempt=attempt)
        config.tty = tty
        if not tty:
            config.linux.security_context.run_as_user.value = 1000
        status = await cri.exited(await cri.container(sandbox, config))
        assert (status.exit_code, status.reason) == (3, "Error")
        end = "/dev/pts/0" if tty else "not a tty"
        assert [text.rstrip("\r") for _, _, text in await cri.log(status.id)] == ["one", "two", end]


@differs("plugin", reason=IGNORED)
async def test_containers_of_a_pod_see_each_other(cri: Peer) -> None:
    config = pod(cri)
    config.linux.security_context.namespace_options.pid = Mode.POD
    sandbox = await cri.sandbox(config)
    ids = []
    for command in (("sleep", "1000"), ("tail", "-f", "/dev/null")):
        each = container(cri, *command, name=command[0])
        each.linux.security_context.namespace_options.pid = Mode.POD
        ids.append(await cri.container(sandbox, each))
    # To each other they are who they are; the first process is nobody's.
    seen = await cri.shell(
        ids[0], "for p in 1 $(pidof sleep tail); do stat -c %u /proc/$p; done; kill -9 $(pidof tail)"
    )
    assert seen.split() == ["65535", "0", "0"]
    assert (await cri.exited(ids[1])).exit_code == 137
    request = criv1.PodSandboxStatusRequest(pod_sandbox_id=sandbox, verbose=True)
    init = int(json.loads((await cri.runtime.PodSandboxStatus(request)).info["info"])["pid"])
    assert os.stat(f"/proc/{init}").st_uid == FIRST + 65535


async def test_users_by_name_and_those_that_are_not_there(cri: Peer) -> None:
    sandbox = await cri.sandbox(pod(cri))
    config = container(cri)
    config.linux.security_context.run_as_username = "web"
    assert (await cri.shell(await cri.container(sandbox, config), "id -u; id -g")).split() == ["1000", "1000"]
    for number, (uid, gid, group) in enumerate(((LENGTH, 0, 0), (0, LENGTH, 0), (0, 0, LENGTH))):
        config = container(cri, name=f"out-{number}")
        security = config.linux.security_context
        security.run_as_user.value, security.run_as_group.value = uid, gid
        security.supplemental_groups.append(group)
        if cri.where(shim=True, plugin=False, because=IGNORED):
            with refused(Code.INVALID_ARGUMENT, match=f"{LENGTH} is not in the user namespace"):
                await cri.create(sandbox, config)


async def test_an_image_s_files_keep_their_owners_and_modes(cri: Peer) -> None:
    layer = Layer().folder("bin").file("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o4755)
    layer.file("a", b"same", uid=7).link("b", "a", tarfile.LNKTYPE).link("c", "/nowhere").folder("kept")
    layer.file("d", uid=7).file("kept/seed", uid=9)
    config = container(cri, "/bin/busybox", "sleep", "1000000")
    config.linux.security_context.run_as_user.value = 7
    async with offered([layer.bytes()], Volumes={"/kept": {}, "/fresh": {}}) as name:
        await pull(cri, name)
        config.image.image = name
        main = await cri.container(await cri.sandbox(pod(cri)), config)
    script = 'b=/bin/busybox; $b stat -c "%h %a" /a /b; $b stat -c %u /c /d /kept/seed /fresh; $b stat -c %u:%a $b'
    seen = (await cri.exec(main, "/bin/busybox", "sh", "-c", script)).stdout.decode().split("\n")
    assert seen == ["2 644", "2 644", "0", "7", "9", "0", "0:4755", ""]


async def test_an_image_as_a_volume(cri: Peer) -> None:
    if cri.where(shim=False, plugin=True, because="the plugin of 1.6 has no image volumes"):
        return
    config = container(cri)
    config.mounts.add(container_path="/image", readonly=True).image.image = IMAGE
    main = await cri.container(await cri.sandbox(pod(cri)), config)
    seen = await cri.shell(main, "stat -c %u /image /image/bin; touch /image/a || echo no")
    assert seen.split() == ["0", "0", "no"]


async def test_volumes_with_mapped_ids(cri: Peer, tmp_path: Path) -> None:
    """Where the runtime can: files of the host's root are those of the container's, and what it makes is the host's."""
    if cri.where(shim=False, plugin=True, because="the plugin of 1.6 has no mapped mounts"):
        return
    status = await cri.runtime.Status(criv1.StatusRequest())
    told = {handler.name: handler.features.user_namespaces for handler in status.runtime_handlers}
    features = json.loads(
        subprocess.run(["runc", "features"], check=True, capture_output=True, env=environment()).stdout
    )
    can = features["linux"].get("mountExtensions", {}).get("idmap", {}).get("enabled", False)
    assert set(told) == {"", "runc", "other"}
    assert set(told.values()) == {can}
    sandbox, config = await cri.sandbox(pod(cri)), container(cri)
    mount = config.mounts.add(host_path=str(tmp_path), container_path="/data")
    for lines in (mount.uidMappings, mount.gidMappings):
        lines.add(container_id=0, host_id=FIRST, length=LENGTH)
    (tmp_path / "old").touch()
    if not can:
        with refused(Code.INVALID_ARGUMENT, match="mount of /data: .*runc 1.2"):
            await cri.create(sandbox, config)
        return
    main = await cri.container(sandbox, config)
    assert (await cri.shell(main, "stat -c %u /data/old; touch /data/new")).split() == ["0"]
    assert (tmp_path / "new").stat().st_uid == 0


async def test_privileged_containers_are_so_in_their_namespace(cri: Peer) -> None:
    config = pod(cri)
    config.linux.security_context.privileged = True
    privileged = container(cri)
    privileged.linux.security_context.privileged = True
    main = await cri.container(await cri.sandbox(config), privileged)
    assert (await cri.exec(main, "mount", "-t", "tmpfs", "tmpfs", "/tmp")).exit_code == 0
    written = await cri.exec(main, "sh", "-c", "echo 1 > /proc/sys/kernel/panic")
    assert (written.exit_code == 0) is cri.where(shim=False, plugin=True, because=IGNORED)


def uids(options: criv1.NamespaceOption) -> criv1.IDMapping:
    return options.userns_options.uids[0]


REFUSED: dict[str, tuple[Callable[[criv1.NamespaceOption], object], str]] = {
    "no mappings": (lambda o: o.userns_options.CopyFrom(criv1.UserNamespace(mode=Mode.POD)), "mappings"),
    "no GIDs": (lambda o: o.userns_options.ClearField("gids"), "mappings"),
    "two lines": (lambda o: o.userns_options.uids.add(container_id=9, host_id=1, length=1), "one line"),
    "no length": (lambda o: setattr(uids(o), "length", 0), "invalid length 0"),
    "from 1 on": (lambda o: setattr(uids(o), "container_id", 1), "begin with 0"),
    "others for GIDs": (lambda o: setattr(uids(o), "host_id", 5), "must be equal"),
    "too many": (lambda o: setattr(uids(o), "host_id", 2**32 - 9), "more than there are"),
    "mode NODE with mappings": (lambda o: setattr(o.userns_options, "mode", Mode.NODE), "can't have"),
    "mode CONTAINER": (lambda o: setattr(o.userns_options, "mode", Mode.CONTAINER), "unsupported mode CONTAINER"),
    "mode TARGET": (lambda o: setattr(o.userns_options, "mode", Mode.TARGET), "unsupported mode TARGET"),
    "host network": (lambda o: setattr(o, "network", Mode.NODE), "host's network"),
    "host pid": (lambda o: setattr(o, "pid", Mode.NODE), "host's pid"),
    "host ipc": (lambda o: setattr(o, "ipc", Mode.NODE), "host's ipc"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_refusals(cri: Peer, case: str) -> None:
    config = pod(cri)
    spoil, words = REFUSED[case]
    spoil(config.linux.security_context.namespace_options)
    if cri.where(shim=True, plugin=False, because=IGNORED):
        with refused(Code.INVALID_ARGUMENT, match=f"user namespace: .*{words}"):
            await cri.sandbox(config)
        assert not (await cri.runtime.ListPodSandbox(criv1.ListPodSandboxRequest())).items


async def test_the_host_s_by_name(cri: Peer) -> None:
    config = cri.sandbox_config(host_network=True)
    config.linux.security_context.namespace_options.userns_options.mode = Mode.NODE
    main = cri.container_config()
    main.linux.security_context.namespace_options.userns_options.mode = Mode.NODE
    created = await cri.container(await cri.sandbox(config), main)
    own = (await cri.shell(created, "readlink /proc/self/ns/user")).strip()
    assert own == os.readlink("/proc/self/ns/user")


async def test_a_container_can_t_have_another_than_its_sandbox(cri: Peer) -> None:
    if cri.where(shim=False, plugin=True, because=IGNORED):
        return
    inside, outside = await cri.sandbox(pod(cri)), await cri.sandbox()
    other = container(cri)
    asked = other.linux.security_context.namespace_options.userns_options
    for line in (asked.uids[0], asked.gids[0]):
        line.host_id += 1
    host = cri.container_config()
    host.linux.security_context.namespace_options.userns_options.mode = Mode.NODE
    for sandbox, config in ((inside, other), (inside, host), (outside, container(cri))):
        with refused(Code.INVALID_ARGUMENT, match="is not that of its sandbox"):
            await cri.create(sandbox, config)
    on_host = container(cri)
    on_host.linux.security_context.namespace_options.pid = Mode.NODE
    with refused(Code.INVALID_ARGUMENT, match="host's pid"):
        await cri.create(inside, on_host)
    # Who says nothing takes what there is.
    silent = await cri.container(inside, cri.container_config())
    assert str(FIRST) in await cri.shell(silent, "cat /proc/self/uid_map")
