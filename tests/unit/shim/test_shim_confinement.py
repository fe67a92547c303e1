"""AppArmor's profiles and SELinux' labels, as hosts that have them are told."""

from pathlib import Path
from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd import apparmor, selinux
from navarch.runtime_shim.errors import InvalidArgument

Kind = criv1.SecurityProfile.ProfileType


def security(kind: "Kind | None" = None, name: str = "", **fields: Any) -> criv1.LinuxContainerSecurityContext:
    made = criv1.LinuxContainerSecurityContext(**fields)
    if kind is not None:
        made.apparmor.CopyFrom(criv1.SecurityProfile(profile_type=kind, localhost_ref=name))
    return made


@pytest.fixture
def loaded(tmp_path: Path) -> Path:
    path = tmp_path / "profiles"
    path.write_text(f"{apparmor.DEFAULT} (enforce)\nmy profile (complain)\n")
    return path


@pytest.mark.parametrize(
    ("context", "profile"),
    [
        (security(), ""),
        (security(Kind.Unconfined), ""),
        (security(Kind.RuntimeDefault), apparmor.DEFAULT),
        (security(Kind.RuntimeDefault, privileged=True), ""),
        (security(Kind.Localhost, "my profile"), "my profile"),
        (security(Kind.Localhost, "localhost/my profile", privileged=True), "my profile"),
        (security(apparmor_profile="runtime/default"), apparmor.DEFAULT),
        (security(apparmor_profile="unconfined"), ""),
        (security(apparmor_profile="localhost/my profile"), "my profile"),
    ],
)
def test_profiles(context: criv1.LinuxContainerSecurityContext, profile: str, loaded: Path) -> None:
    assert apparmor.profile_of(context, enabled=True, loaded=loaded) == profile


@pytest.mark.parametrize(
    ("context", "enabled", "words"),
    [
        (security(Kind.Localhost, "other"), True, "'other' is not loaded"),
        (security(Kind.RuntimeDefault), False, "no AppArmor"),
        (security(Kind.Localhost, "my profile"), False, "no AppArmor"),
        (security(apparmor_profile="nonsense"), True, "localhost/NAME"),
    ],
)
def test_refusals(context: criv1.LinuxContainerSecurityContext, enabled: bool, words: str, loaded: Path) -> None:
    with pytest.raises(InvalidArgument, match=words):
        apparmor.profile_of(context, enabled=enabled, loaded=loaded)


def labelled(*, privileged: bool = False, **options: str) -> tuple[str, str]:
    context = criv1.LinuxContainerSecurityContext(privileged=privileged)
    context.selinux_options.CopyFrom(criv1.SELinuxOption(**options))
    return selinux.labels(context)


def test_labels() -> None:
    assert labelled() == ("system_u:system_r:container_t:s0", "system_u:object_r:container_file_t:s0")
    assert labelled(level="s0:c1,c2", type="spc_t") == (
        "system_u:system_r:spc_t:s0:c1,c2",
        "system_u:object_r:container_file_t:s0:c1,c2",
    )
    assert labelled(privileged=True) == ("", "")
    assert labelled(privileged=True, type="spc_t")[0] == "system_u:system_r:spc_t:s0"
