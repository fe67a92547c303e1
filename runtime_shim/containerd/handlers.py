"""Runtime handlers: what a RuntimeClass of a Pod names, and what containerd is asked to run its containers with.

`runc` is always there and is what "" means. Others are configured as NAME=TYPE[,OPTION=VALUE...], such as
`crun=io.containerd.runc.v2,BinaryName=/usr/bin/crun`. Options are those of containerd's runc shim, by the names
of containerd's own configuration; a type other than that one takes none.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import any_pb2

from navarch.protos.containerd.runc import v1_pb2 as runcv1
from navarch.protos.containerd.services.containers import v1_pb2 as containersv1
from navarch.runtime_shim.errors import InvalidArgument

RUNC_TYPE = "io.containerd.runc.v2"
DEFAULT = "runc"


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


# Field and reader by the name in containerd's configuration.
OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "BinaryName": ("binary_name", str),
    "Root": ("root", str),
    "ShimCgroup": ("shim_cgroup", str),
    "NoPivotRoot": ("no_pivot_root", _truth),
    "NoNewKeyring": ("no_new_keyring", _truth),
    "SystemdCgroup": ("systemd_cgroup", _truth),
    "IoUid": ("io_uid", int),
    "IoGid": ("io_gid", int),
}


@dataclass(frozen=True, slots=True)
class Handler:
    """A runtime. options: fields of the runc shim's options."""

    name: str
    runtime_type: str = RUNC_TYPE
    options: Mapping[str, Any] = field(default_factory=dict)


def parse(text: str) -> Handler:
    """NAME=TYPE[,OPTION=VALUE...]. Raises ValueError."""
    name, _, rest = text.partition("=")
    runtime_type, *settings = rest.split(",")
    if not name or "/" in name or not runtime_type:
        raise ValueError(f"{text!r} is not of the form NAME=RUNTIME_TYPE[,OPTION=VALUE...]")
    options = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        if runtime_type != RUNC_TYPE or key not in OPTIONS:
            known = ", ".join(OPTIONS) if runtime_type == RUNC_TYPE else "none"
            raise ValueError(f"runtime handler {name}: unknown option {key!r} of {runtime_type}; known: {known}")
        target, read = OPTIONS[key]
        options[target] = read(value)
    return Handler(name, runtime_type, options)


class Handlers:
    """All runtime handlers of this shim."""

    def __init__(self, root: Path, more: Iterable[Handler] = (), *, systemd_cgroup: bool = False) -> None:
        """root: below it each runtime keeps the state of its containers."""
        self._root = root
        self._systemd_cgroup = systemd_cgroup
        self._known = {DEFAULT: Handler(DEFAULT), **{handler.name: handler for handler in more}}

    @property
    def names(self) -> tuple[str, ...]:
        """By which Pods may ask, the default included; without ""."""
        return tuple(self._known)

    def check(self, name: str) -> None:
        """Raises InvalidArgument for a handler that there is not."""
        if name and name not in self._known:
            raise InvalidArgument(f"no runtime for {name!r} is configured: there is {', '.join(self._known)}")

    def program(self, name: str) -> str | None:
        """What runc's shim runs for it; None for a runtime of another kind. Raises InvalidArgument."""
        self.check(name)
        handler = self._known[name or DEFAULT]
        return handler.options.get("binary_name") or DEFAULT if handler.runtime_type == RUNC_TYPE else None

    def runtime(self, name: str, root_user: int = 0) -> containersv1.Container.Runtime:
        """What containerd is told. root_user: the host's number of the container's root. Raises InvalidArgument."""
        self.check(name)
        handler = self._known[name or DEFAULT]
        runtime = containersv1.Container.Runtime(name=handler.runtime_type)
        if handler.runtime_type == RUNC_TYPE:
            # State formats differ between the programs that this type may stand for.
            root = self._root / (DEFAULT if handler.name == DEFAULT else f"{DEFAULT}-{handler.name}")
            defaults = {"root": str(root), "systemd_cgroup": self._systemd_cgroup}
            if root_user:
                # Who may open the pipes of standard output anew, as /dev/stdout.
                defaults |= {"io_uid": root_user, "io_gid": root_user}
            options = runcv1.Options(**{**defaults, **handler.options})
            value = any_pb2.Any(type_url=options.DESCRIPTOR.full_name, value=options.SerializeToString())
            runtime.options.CopyFrom(value)
        return runtime

    def document(self) -> dict[str, Any]:
        """For people who look at the shim's configuration."""
        return {
            name: {"runtimeType": handler.runtime_type, "options": dict(handler.options)}
            for name, handler in self._known.items()
        }
