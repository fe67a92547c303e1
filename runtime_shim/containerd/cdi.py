"""Devices by name: what a vendor says that a container needs to use "vendor.com/class=device".

Vendors write specification files, JSON or YAML, into folders; a later folder outweighs an earlier one, and a name that
two files of the same folder explain is nobody's. A file that cannot be read does not keep others from being used. The
edits of a file as a whole come first, then those of each device, in the order in which they were asked for.
Format: the Container Device Interface, CNCF TAG Runtime.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.errors import InvalidArgument
from navarch.services.base.log import get_logger

LOG = get_logger("shim.cdi")
Document = dict[str, Any]
DIRECTORIES: Final = (Path("/etc/cdi"), Path("/var/run/cdi"))
ANNOTATIONS: Final = "cdi.k8s.io/"
SUFFIXES: Final = (".json", ".yaml", ".yml")
SPEC_BYTES: Final = 4 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9.-]+/[A-Za-z0-9._-]+=[A-Za-z0-9](?:[A-Za-z0-9._:-]*[A-Za-z0-9])?")
_HOOKS: Final = {
    "prestart": "prestart",
    "createRuntime": "createRuntime",
    "createContainer": "createContainer",
    "startContainer": "startContainer",
    "poststart": "poststart",
    "poststop": "poststop",
}


@dataclass(frozen=True, slots=True)
class Vendor:
    """A specification file. edits: for any of its devices; devices: the edits of each."""

    kind: str
    edits: Document
    devices: Mapping[str, Document] = field(default_factory=dict)


def names_of(config: criv1.ContainerConfig) -> list[str]:
    """The devices that a container asks for, in annotations and in the field for them, each once."""
    asked = [
        name.strip()
        for key, value in sorted(config.annotations.items())
        if key.startswith(ANNOTATIONS)
        for name in value.split(",")
    ]
    return list(dict.fromkeys([*asked, *(device.name for device in config.CDI_devices)]))


def load(directories: Iterable[Path]) -> dict[str, tuple[Vendor, str] | None]:
    """All devices by full name; None for a name that two files claim."""
    found: dict[str, tuple[Vendor, str] | None] = {}
    for directory in directories:
        here: dict[str, tuple[Vendor, str] | None] = {}
        for vendor in _vendors(directory):
            for device in vendor.devices:
                name = f"{vendor.kind}={device}"
                here[name] = None if name in here else (vendor, device)
        found.update(here)
    return found


def _vendors(directory: Path) -> Iterator[Vendor]:
    if not directory.is_dir():
        return
    for path in sorted(directory.iterdir()):
        if path.suffix not in SUFFIXES:
            continue
        try:
            yield read(path)
        except (OSError, ValueError, yaml.YAMLError) as failure:
            LOG.warning("cdi.unreadable", file=str(path), error=str(failure))


def read(path: Path) -> Vendor:
    """A file. Raises OSError, ValueError, YAMLError."""
    with path.open("rb") as file:
        # JSON is YAML.
        document = yaml.safe_load(file.read(SPEC_BYTES))
    if not isinstance(document, dict) or "cdiVersion" not in document or "/" not in str(document.get("kind")):
        raise ValueError("it has no cdiVersion, or no kind of the form vendor/class")
    devices = {}
    for device in document.get("devices") or ():
        if not isinstance(device, dict) or not _NAME.fullmatch(f"{document['kind']}={device.get('name')}"):
            raise ValueError(f"a device has no proper name: {device!r}")
        devices[str(device["name"])] = device.get("containerEdits") or {}
    return Vendor(str(document["kind"]), document.get("containerEdits") or {}, devices)


def inject(document: Document, names: Iterable[str], known: Mapping[str, tuple[Vendor, str] | None]) -> None:
    """Edit an OCI specification for devices. Raises InvalidArgument for those that are not known."""
    edited: set[int] = set()
    for name in names:
        entry = known.get(name)
        if entry is None:
            if not _NAME.fullmatch(name):
                raise InvalidArgument(f"CDI device {name!r}: a name is of the form vendor/class=device")
            why = "two specifications claim it" if name in known else "no specification knows it"
            raise InvalidArgument(f"unresolvable CDI device {name}: {why}")
        vendor, device = entry
        edits = [vendor.devices[device]] if id(vendor) in edited else [vendor.edits, vendor.devices[device]]
        edited.add(id(vendor))
        for edit in edits:
            try:
                _apply(document, edit)
            except OSError as failure:
                raise InvalidArgument(f"CDI device {name}: {failure}") from None
            except (KeyError, TypeError, AttributeError) as failure:
                raise InvalidArgument(f"CDI device {name}: its specification is broken: {failure!r}") from None


def _apply(document: Document, edits: Document) -> None:
    process, linux = document["process"], document["linux"]
    for entry in edits.get("env") or ():
        variable = entry.partition("=")[0] + "="
        process["env"] = [*(one for one in process["env"] if not one.startswith(variable)), entry]
    for node in edits.get("deviceNodes") or ():
        device = _device(node)
        linux["devices"] = [*(one for one in linux["devices"] if one["path"] != device["path"]), device]
        if device["type"] != "p":
            numbers = {key: device[key] for key in ("type", "major", "minor")}
            access = node.get("permissions") or "rwm"
            linux["resources"].setdefault("devices", []).append({"allow": True, "access": access, **numbers})
    for mount in edits.get("mounts") or ():
        options = list(mount.get("options") or ())
        kind = mount.get("type") or "bind"
        if kind == "bind" and not {"bind", "rbind"} & set(options):
            options.append("bind")
        target = mount["containerPath"]
        made = {"destination": target, "type": kind, "source": mount["hostPath"], "options": options}
        document["mounts"] = [*(one for one in document["mounts"] if one["destination"] != target), made]
    for hook in edits.get("hooks") or ():
        entry = {key: hook[key] for key in ("path", "args", "env", "timeout") if hook.get(key)}
        document.setdefault("hooks", {}).setdefault(_HOOKS[hook["hookName"]], []).append(entry)
    if cache := edits.get("intelRdt"):
        linux["intelRdt"] = dict(cache)
    for link in edits.get("netDevices") or ():
        linux.setdefault("netDevices", {})[link["hostInterfaceName"]] = {"name": link["name"]}
    groups = process["user"].setdefault("additionalGids", [])
    groups += [group for group in edits.get("additionalGids") or () if group and group not in groups]


def _device(node: Document) -> Document:
    """A device node; what the specification leaves out is as it is on the host."""
    device = {"path": node["path"], "type": node.get("type"), "major": node.get("major"), "minor": node.get("minor")}
    if not device["type"] or (device["type"] != "p" and device["major"] is None):
        status = os.stat(node.get("hostPath") or node["path"])
        device["type"] = "b" if stat.S_ISBLK(status.st_mode) else "c" if stat.S_ISCHR(status.st_mode) else "p"
        device["major"], device["minor"] = os.major(status.st_rdev), os.minor(status.st_rdev)
    more = {"fileMode": node.get("fileMode"), "uid": node.get("uid"), "gid": node.get("gid")}
    return {**device, **{key: value for key, value in more.items() if value is not None}}
