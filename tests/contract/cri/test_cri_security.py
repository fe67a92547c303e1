"""Confinement beyond capabilities: AppArmor and SELinux on hosts that have neither, legacy profiles of seccomp."""

from pathlib import Path

import pytest

from navarch.protos.cri import v1_pb2 as criv1

from .conftest import Code, Peer, refused

Kind = criv1.SecurityProfile.ProfileType
HAS_APPARMOR = Path("/sys/module/apparmor/parameters/enabled").exists()


@pytest.mark.parametrize("kind", [Kind.RuntimeDefault, Kind.Localhost], ids=["RuntimeDefault", "Localhost"])
async def test_apparmor_where_there_is_none(cri: Peer, kind: "criv1.SecurityProfile.ProfileType") -> None:
    """Who asks to be confined is not run unconfined."""
    assert not HAS_APPARMOR, "this host has AppArmor: its profiles are to be tested here"
    config = cri.container_config()
    config.linux.security_context.apparmor.CopyFrom(criv1.SecurityProfile(profile_type=kind, localhost_ref="some"))
    sandbox = await cri.sandbox()
    with refused(Code.INVALID_ARGUMENT, Code.UNKNOWN, match="(?i)apparmor"):
        await cri.create(sandbox, config)


async def test_no_apparmor_asked_for(cri: Peer) -> None:
    config = cri.container_config()
    config.linux.security_context.apparmor.profile_type = Kind.Unconfined
    await cri.container(await cri.sandbox(), config)


async def test_selinux_where_there_is_none(cri: Peer) -> None:
    config = cri.container_config()
    config.linux.security_context.selinux_options.level = "s0:c1,c2"
    config.mounts.add(host_path="/tmp", container_path="/volume", selinux_relabel=True)
    await cri.container(await cri.sandbox(), config)


@pytest.mark.parametrize(("path", "mode"), [("runtime/default", "2"), ("unconfined", "0"), ("docker/default", "2")])
async def test_seccomp_by_its_older_name(cri: Peer, path: str, mode: str) -> None:
    config = cri.container_config()
    config.linux.security_context.seccomp_profile_path = path
    container = await cri.container(await cri.sandbox(), config)
    assert (await cri.shell(container, "grep '^Seccomp:' /proc/self/status")).split()[-1] == mode


async def test_what_seccomp_refuses(cri: Peer) -> None:
    """Programs run as usual under RuntimeDefault; namespaces are not for them to make."""
    config = cri.container_config()
    config.linux.security_context.seccomp.profile_type = Kind.RuntimeDefault
    container = await cri.container(await cri.sandbox(), config)
    assert (await cri.exec(container, "sh", "-c", "echo one | sed s/one/two/; sleep 0.01; date; ls /")).exit_code == 0
    said = await cri.exec(container, "unshare", "-U", "true")
    assert said.exit_code != 0
    assert "not permitted" in said.stderr.decode()


async def test_a_seccomp_profile_that_is_not_there(cri: Peer) -> None:
    config = cri.container_config()
    config.linux.security_context.seccomp.CopyFrom(
        criv1.SecurityProfile(profile_type=Kind.Localhost, localhost_ref="/nonexistent/profile.json")
    )
    sandbox = await cri.sandbox()
    with refused(Code.INVALID_ARGUMENT, Code.UNKNOWN, match="/nonexistent/profile.json"):
        await cri.create(sandbox, config)
