"""Filters of system calls: the usual one, those in files, and their older names."""

from pathlib import Path
from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd.seccomp import default_profile, seccomp_of
from navarch.runtime_shim.errors import InvalidArgument

Kind = criv1.SecurityProfile.ProfileType
ALLOW = "SCMP_ACT_ALLOW"


def security(kind: "Kind | None" = None, path: str = "", **fields: Any) -> criv1.LinuxContainerSecurityContext:
    made = criv1.LinuxContainerSecurityContext(**fields)
    if kind is not None:
        made.seccomp.CopyFrom(criv1.SecurityProfile(profile_type=kind, localhost_ref=path))
    return made


def allowed(profile: dict[str, Any]) -> set[str]:
    """What is allowed whatever its arguments are."""
    return {
        name for rule in profile["syscalls"] if rule["action"] == ALLOW and "args" not in rule for name in rule["names"]
    }


@pytest.mark.parametrize("call", ["openat", "execve", "futex", "socket", "clock_gettime", "wait4", "ptrace"])
def test_what_programs_need(call: str) -> None:
    assert call in allowed(default_profile((), "x86_64"))


@pytest.mark.parametrize(
    ("call", "capability"),
    [
        ("mount", "CAP_SYS_ADMIN"),
        ("unshare", "CAP_SYS_ADMIN"),
        ("setns", "CAP_SYS_ADMIN"),
        ("init_module", "CAP_SYS_MODULE"),
        ("clock_settime", "CAP_SYS_TIME"),
        ("reboot", "CAP_SYS_BOOT"),
        ("bpf", "CAP_BPF"),
        ("open_by_handle_at", "CAP_DAC_READ_SEARCH"),
        ("chroot", "CAP_SYS_CHROOT"),
    ],
)
def test_what_a_capability_is_for(call: str, capability: str) -> None:
    assert call not in allowed(default_profile((), "x86_64"))
    assert call in allowed(default_profile((capability,), "x86_64"))


@pytest.mark.parametrize(
    "call", ["keyctl", "add_key", "kexec_load", "swapon", "nfsservctl", "userfaultfd", "io_uring_setup"]
)
def test_what_nobody_needs(call: str) -> None:
    everything = [f"CAP_{name}" for name in ("SYS_ADMIN", "SYS_MODULE", "SYS_TIME", "SYS_BOOT", "SYS_PTRACE")]
    assert call not in allowed(default_profile(everything, "x86_64"))


def test_namespaces_are_for_those_who_may_make_them() -> None:
    plain = default_profile((), "x86_64")["syscalls"]
    (clone,) = [rule for rule in plain if rule["names"] == ["clone"]]
    assert clone["args"] == [{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]
    (clone3,) = [rule for rule in plain if rule["names"] == ["clone3"]]
    assert clone3["errnoRet"] == 38
    assert {"clone", "clone3"} <= allowed(default_profile(("CAP_SYS_ADMIN",), "x86_64"))


def test_programs_of_32_bits() -> None:
    assert "SCMP_ARCH_X86" in default_profile((), "x86_64")["architectures"]
    assert "architectures" not in default_profile((), "another")


@pytest.mark.parametrize(
    ("context", "is_filtered"),
    [
        (security(), False),
        (security(Kind.RuntimeDefault), True),
        (security(Kind.Unconfined), False),
        (security(Kind.RuntimeDefault, privileged=True), False),
        (security(seccomp_profile_path="runtime/default"), True),
        (security(seccomp_profile_path="docker/default"), True),
        (security(seccomp_profile_path="unconfined"), False),
        (security(Kind.Unconfined, seccomp_profile_path="runtime/default"), False),
    ],
)
def test_who_is_filtered(context: criv1.LinuxContainerSecurityContext, is_filtered: bool) -> None:
    assert (seccomp_of(context, ()) is not None) is is_filtered


def test_profiles_in_files(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text('{"defaultAction": "SCMP_ACT_LOG"}')
    for context in (security(Kind.Localhost, str(path)), security(seccomp_profile_path=f"localhost/{path}")):
        assert seccomp_of(context, ()) == {"defaultAction": "SCMP_ACT_LOG"}


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_broken_profiles(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "profile.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidArgument, match=str(path)):
        seccomp_of(security(Kind.Localhost, str(path)), ())


def test_a_name_that_is_none() -> None:
    with pytest.raises(InvalidArgument, match="runtime/default, unconfined or localhost/PATH"):
        seccomp_of(security(seccomp_profile_path="nonsense"), ())
