"""What sandboxes and containers are configured with arrives in the container."""

import os
from pathlib import Path

import pytest

from navarch.protos.cri import v1_pb2 as criv1

from .conftest import Code, Peer, differs, refused


async def test_names_and_dns(cri: Peer) -> None:
    config = cri.sandbox_config("named")
    config.dns_config.servers.append("192.0.2.53")
    config.dns_config.searches.extend(["default.svc.cluster.local", "cluster.local"])
    config.dns_config.options.append("ndots:5")
    container = await cri.container(await cri.sandbox(config))
    assert await cri.shell(container, "hostname; cat /etc/hostname") == "named\nnamed\n"
    lines = (await cri.shell(container, "cat /etc/resolv.conf")).splitlines()
    assert sorted(lines) == [
        "nameserver 192.0.2.53",
        "options ndots:5",
        "search default.svc.cluster.local cluster.local",
    ]


async def test_without_a_hostname_the_hosts_is_kept_whatever_the_sandbox_is_called(cri: Peer) -> None:
    config = cri.sandbox_config("a-name-longer-than-linux-takes-for-a-host-" + "x" * 40, host_network=False)
    config.hostname = ""
    container = await cri.container(await cri.sandbox(config))
    assert (await cri.shell(container, "hostname; cat /etc/hostname")).split() == [os.uname().nodename] * 2


async def test_a_hostname_that_linux_does_not_take_is_refused(cri: Peer) -> None:
    config = cri.sandbox_config(host_network=False)
    config.hostname = "x" * 65
    with refused(Code.INVALID_ARGUMENT, Code.UNKNOWN):
        await cri.sandbox(config)


async def test_a_volume_at_etc_hides_no_files_of_the_sandbox(cri: Peer, tmp_path: Path) -> None:
    sandbox_config = cri.sandbox_config()
    sandbox_config.dns_config.servers.append("192.0.2.53")
    config = cri.container_config()
    (tmp_path / "note").write_text("of the volume")
    config.mounts.add(host_path=str(tmp_path), container_path="/etc")
    container = await cri.container(await cri.sandbox(sandbox_config), config)
    assert await cri.shell(container, "cat /etc/note /etc/resolv.conf") == "of the volumenameserver 192.0.2.53\n"


async def test_a_volume_at_dev_replaces_all_that_would_lie_there(cri: Peer) -> None:
    config = cri.container_config()
    config.mounts.add(host_path="/dev", container_path="/dev")
    container = await cri.container(await cri.sandbox(), config)
    mounted = (await cri.shell(container, "cut -d' ' -f2,3 /proc/mounts")).splitlines()
    host = Path("/proc/mounts").read_text().splitlines()
    (kind,) = {line.split()[2] for line in host if line.split()[1] == "/dev"}
    assert f"/dev {kind}" in mounted
    assert await cri.shell(container, "touch /dev/shm/writable && echo done") == "done\n"


async def test_containers_of_a_sandbox_share_network_ipc_and_memory(cri: Peer) -> None:
    sandbox = await cri.sandbox(host_network=False)
    one, two = [await cri.container(sandbox, cri.container_config(name=name)) for name in ("one", "two")]
    kinds = ("net", "ipc", "uts", "pid", "mnt")
    script = "; ".join(f"readlink /proc/self/ns/{kind}" for kind in kinds)
    seen = [dict(zip(kinds, (await cri.shell(c, script)).split(), strict=True)) for c in (one, two)]
    assert {kind for kind in kinds if seen[0][kind] == seen[1][kind]} == {"net", "ipc", "uts"}
    await cri.shell(one, "echo shared > /dev/shm/file")
    assert await cri.shell(two, "cat /dev/shm/file") == "shared\n"


async def test_namespaces_of_the_host(cri: Peer) -> None:
    sandbox_config = cri.sandbox_config(host_network=True)
    options = sandbox_config.linux.security_context.namespace_options
    options.pid = options.ipc = criv1.NamespaceMode.NODE
    config = cri.container_config()
    config.linux.security_context.namespace_options.CopyFrom(options)
    container = await cri.container(await cri.sandbox(sandbox_config), config)
    for kind in ("net", "ipc", "pid"):
        assert (await cri.shell(container, f"readlink /proc/self/ns/{kind}")).strip() == str(
            Path(f"/proc/self/ns/{kind}").readlink()
        )


async def test_sysctls(cri: Peer) -> None:
    config = cri.sandbox_config()
    config.linux.sysctls.update({"net.ipv4.ip_unprivileged_port_start": "1", "kernel.shm_rmid_forced": "1"})
    container = await cri.container(await cri.sandbox(config))
    script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced"
    assert await cri.shell(container, script) == "1\n1\n"


async def test_command_arguments_environment_and_folder(cri: Peer) -> None:
    config = cri.container_config("sh", "-c")
    config.args.append('echo "$GREETING" "$PWD" "$PATH"')
    config.envs.add(key="GREETING", value=b"hello")
    config.working_dir = "/var/new"
    container = await cri.container(await cri.sandbox(), config)
    await cri.exited(container)
    assert await cri.log(container) == [("stdout", "F", "hello /var/new /bin:/sbin:/usr/bin:/usr/sbin")]


async def test_identity(cri: Peer) -> None:
    config = cri.container_config()
    security = config.linux.security_context
    security.run_as_username = "web"
    security.supplemental_groups.append(4242)
    container = await cri.container(await cri.sandbox(), config)
    assert await cri.shell(container, "id -u; id -g") == "1000\n1000\n"
    assert set((await cri.shell(container, "id -G")).split()) == {"1000", "50", "4242"}


@differs("plugin", reason="the policy of supplemental groups came to CRI after containerd 1.6")
async def test_strict_supplemental_groups(cri: Peer) -> None:
    config = cri.container_config()
    security = config.linux.security_context
    security.run_as_user.value = 1000
    security.run_as_group.value = 7
    security.supplemental_groups.append(4242)
    security.supplemental_groups_policy = criv1.SupplementalGroupsPolicy.Strict
    container = await cri.container(await cri.sandbox(), config)
    assert set((await cri.shell(container, "id -G")).split()) == {"7", "4242"}


async def test_a_group_needs_a_user(cri: Peer) -> None:
    config = cri.container_config()
    config.linux.security_context.run_as_group.value = 7
    sandbox = await cri.sandbox()
    code = cri.where(shim=Code.INVALID_ARGUMENT, plugin=Code.UNKNOWN, because="the plugin's error has no code")
    with refused(code, match="user"):
        await cri.create(sandbox, config)


async def test_capabilities_privileges_and_the_root(cri: Peer) -> None:
    config = cri.container_config()
    security = config.linux.security_context
    security.capabilities.drop_capabilities.append("ALL")
    security.capabilities.add_capabilities.append("NET_BIND_SERVICE")
    security.no_new_privs = True
    security.readonly_rootfs = True
    container = await cri.container(await cri.sandbox(), config)
    status = await cri.shell(container, "grep -E 'CapBnd|NoNewPrivs' /proc/self/status")
    assert status.split() == ["CapBnd:", "0000000000000400", "NoNewPrivs:", "1"]
    assert (await cri.exec(container, "touch", "/file")).exit_code != 0


async def test_privileged_needs_a_privileged_sandbox(cri: Peer) -> None:
    config = cri.container_config()
    config.linux.security_context.privileged = True
    codes = (Code.UNKNOWN, Code.FAILED_PRECONDITION, Code.INVALID_ARGUMENT)
    sandbox = await cri.sandbox()
    with refused(*codes, match="privileged"):
        await cri.create(sandbox, config)


async def test_privileged(cri: Peer) -> None:
    sandbox_config = cri.sandbox_config(host_network=True)
    sandbox_config.linux.security_context.privileged = True
    config = cri.container_config()
    config.linux.security_context.privileged = True
    container = await cri.container(await cri.sandbox(sandbox_config), config)
    answer = await cri.exec(container, "sh", "-c", "mount -t tmpfs none /tmp && ls /dev/null /dev/kmsg")
    assert answer.exit_code == 0, answer.stderr


@pytest.mark.parametrize("masked", [True, False])
async def test_masked_and_readonly_paths(cri: Peer, masked: bool) -> None:
    """Exactly what is given: none is what a Pod asks for with procMount Unmasked."""
    config = cri.container_config()
    security = config.linux.security_context
    if masked:
        security.masked_paths.append("/proc/version")
        security.readonly_paths.append("/proc/sys")
    container = await cri.container(await cri.sandbox(host_network=False), config)
    assert (await cri.shell(container, "cat /proc/version") == "") == masked
    assert (await cri.exec(container, "grep", " /proc/sys .* ro,", "/proc/mounts")).exit_code == (not masked)


async def test_mounts(cri: Peer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host")
    config = cri.container_config()
    config.mounts.add(container_path="/data", host_path=str(tmp_path))
    config.mounts.add(container_path="/data/inner", host_path=str(tmp_path / "made"), readonly=True)
    config.mounts.add(container_path="/one", host_path=str(tmp_path / "file"))
    container = await cri.container(await cri.sandbox(), config)
    assert await cri.shell(container, "cat /data/file /one; echo back > /data/written") == "from the host" * 2
    assert (tmp_path / "written").read_text() == "back\n"
    assert (tmp_path / "made").is_dir()
    assert (await cri.exec(container, "touch", "/data/inner/file")).exit_code != 0


async def test_recursive_read_only_needs_read_only_and_no_propagation(cri: Peer, tmp_path: Path) -> None:
    if cri.where(shim=False, plugin=True, because="recursive read-only came to CRI after containerd 1.6"):
        return
    propagated = criv1.MountPropagation.PROPAGATION_HOST_TO_CONTAINER
    sandbox = await cri.sandbox()
    for fields in ({"readonly": False}, {"readonly": True, "propagation": propagated}):
        config = cri.container_config()
        mount = config.mounts.add(container_path="/data", host_path=str(tmp_path), recursive_read_only=True)
        mount.MergeFrom(criv1.Mount(**fields))  # type: ignore[arg-type]
        with refused(Code.INVALID_ARGUMENT):
            await cri.create(sandbox, config)


async def test_devices(cri: Peer) -> None:
    config = cri.container_config()
    config.devices.add(container_path="/dev/mine", host_path="/dev/null", permissions="rw")
    container = await cri.container(await cri.sandbox(), config)
    assert await cri.shell(container, "echo x > /dev/mine; [ -c /dev/mine ] && echo there") == "there\n"
    config = cri.container_config()
    config.devices.add(container_path="/dev/mine", host_path="/dev/nosuch", permissions="rw")
    sandbox = await cri.sandbox()
    codes = cri.where(
        shim=(Code.INVALID_ARGUMENT,), plugin=(Code.UNKNOWN, Code.NOT_FOUND), because="its error has no code"
    )
    with refused(*codes, match="nosuch"):
        await cri.create(sandbox, config)


async def test_limits(cri: Peer) -> None:
    config = cri.container_config()
    resources = config.linux.resources
    resources.cpu_shares, resources.cpu_period, resources.cpu_quota = 204, 100_000, 50_000
    resources.memory_limit_in_bytes, resources.oom_score_adj = 64 << 20, 900
    container = await cri.container(await cri.sandbox(), config)
    files = ("cpu/cpu.shares", "cpu/cpu.cfs_quota_us", "memory/memory.limit_in_bytes")
    told = await cri.shell(container, f"cd /sys/fs/cgroup; cat {' '.join(files)} /proc/1/oom_score_adj")
    assert told.split() == ["204", "50000", str(64 << 20), "900"]


@pytest.mark.parametrize("kind", ["RuntimeDefault", "Unconfined"])
async def test_seccomp(cri: Peer, kind: str) -> None:
    config = cri.container_config()
    config.linux.security_context.seccomp.profile_type = criv1.SecurityProfile.ProfileType.Value(kind)
    container = await cri.container(await cri.sandbox(), config)
    mode = (await cri.shell(container, "grep '^Seccomp:' /proc/self/status")).split()[-1]
    assert mode == {"RuntimeDefault": "2", "Unconfined": "0"}[kind]
