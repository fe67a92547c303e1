"""AppArmor: which profile a container is confined by, where the kernel has AppArmor.

RuntimeDefault is a profile of ours, loaded when it is first needed: the usual rights within the container, no writing
to what the kernel shows of the host in /proc and /sys, no mounts, signals and tracing only among the confined.
"""

import subprocess
from pathlib import Path
from typing import Final

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.errors import InvalidArgument, RuntimeFailure

ENABLED: Final = Path("/sys/module/apparmor/parameters/enabled")
LOADED: Final = Path("/sys/kernel/security/apparmor/profiles")
DEFAULT: Final = "navarch-default"
PARSER_TIMEOUT_S: Final = 30.0
LOCALHOST: Final = "localhost/"
_DEFAULT_NAMES: Final = ("runtime/default", "docker/default")
PROFILE: Final = f"""\
#include <tunables/global>

profile {DEFAULT} flags=(attach_disconnected,mediate_deleted) {{
  #include <abstractions/base>

  network,
  capability,
  file,
  umount,
  signal (receive) peer=unconfined,
  signal (send,receive) peer={DEFAULT},
  ptrace (trace,read,tracedby,readby) peer={DEFAULT},

  deny mount,
  deny @{{PROC}}/{{sysrq-trigger,mem,kmem,kcore}} rwklx,
  deny @{{PROC}}/{{acpi,bus,fs,irq}}/** wklx,
  deny @{{PROC}}/sys/{{abi,debug,dev,vm}}/** wklx,
  deny /sys/{{block,bus,class,dev,devices,hypervisor,kernel,module,power}}/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/kernel/security/** rwklx,
  deny /sys/fs/{{bpf,ext4,fuse,pstore,selinux,smackfs,xfs}}/** wklx,
}}
"""


def is_enabled(parameter: Path = ENABLED) -> bool:
    """Whether the kernel confines."""
    try:
        return parameter.read_text().startswith("Y")
    except OSError:
        return False


def profile_of(security: criv1.LinuxContainerSecurityContext, *, enabled: bool, loaded: Path = LOADED) -> str:
    """The profile of a container, "" for none. Raises InvalidArgument, RuntimeFailure."""
    kinds = criv1.SecurityProfile.ProfileType
    if security.HasField("apparmor"):
        kind, name = security.apparmor.profile_type, security.apparmor.localhost_ref.removeprefix(LOCALHOST)
    elif security.apparmor_profile in ("", "unconfined"):
        kind, name = kinds.Unconfined, ""
    elif security.apparmor_profile in _DEFAULT_NAMES:
        kind, name = kinds.RuntimeDefault, ""
    elif security.apparmor_profile.startswith(LOCALHOST):
        kind, name = kinds.Localhost, security.apparmor_profile.removeprefix(LOCALHOST)
    else:
        text = "runtime/default, unconfined or localhost/NAME is accepted"
        raise InvalidArgument(f"AppArmor profile {security.apparmor_profile!r}: {text}")
    if kind == kinds.Unconfined:
        return ""
    if not enabled:
        # Who asks to be confined must not run unconfined without a word.
        raise InvalidArgument("an AppArmor profile is asked for, but this host has no AppArmor")
    if kind == kinds.Localhost:
        if name not in _names(loaded):
            raise InvalidArgument(f"AppArmor profile {name!r} is not loaded on this host")
        return name
    if security.privileged:
        return ""
    if DEFAULT not in _names(loaded):
        _load()
    return DEFAULT


def _names(loaded: Path) -> set[str]:
    """Lines such as "navarch-default (enforce)"."""
    try:
        return {line.rpartition(" ")[0] for line in loaded.read_text().splitlines()}
    except OSError:
        return set()


def _load() -> None:
    command = ["apparmor_parser", "--replace", "--write-cache=false"]
    try:
        subprocess.run(command, input=PROFILE, text=True, capture_output=True, check=True, timeout=PARSER_TIMEOUT_S)
    except subprocess.CalledProcessError as failure:
        raise RuntimeFailure(f"load AppArmor profile {DEFAULT}: {failure.stderr.strip()}") from None
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise RuntimeFailure(f"load AppArmor profile {DEFAULT}: {failure}") from None
