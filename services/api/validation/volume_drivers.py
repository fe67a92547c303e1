"""Rules for volumes of particular storage systems, most of them served by CSI drivers today."""

import re
from collections.abc import Callable
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.file_paths import validate_descending
from navarch.services.api.validation.values import Errors, in_range, required, supported

Rule = Callable[[Any, str], Errors]

_INITIATORS = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9-.]+)(:[^,;*&$|\s]+)$"),
    "eui": re.compile(r"^eui.[A-Fa-f0-9]{16}$"),
    "naa": re.compile(r"^naa.[A-Fa-f0-9]{32}$"),
}
_PARTITION = names.in_range(1, 255)
_DISK_URIS = {
    True: (
        "/subscriptions/",
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
    ),
    False: ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"),
}
_PAIRS = "must be a host:port pair or multiple pairs separated by commas"


def _needs(*fields: tuple[str, str]) -> Rule:
    """A rule that asks for some fields to be there: their names in messages and in paths."""

    def rule(source: Any, path: str) -> Errors:
        for name, field in fields:
            if not getattr(source, name):
                yield FieldError.required(f"{path}.{field}")

    return rule


def _disk(name: str, field: str) -> Rule:
    def rule(source: Any, path: str) -> Errors:
        yield from required(f"{path}.{field}", getattr(source, name))
        if not 0 <= source.partition <= 255:
            yield FieldError.invalid(f"{path}.partition", source.partition, _PARTITION)

    return rule


def validate_initiator(name: str, path: str) -> Errors:
    """Check the name of an iSCSI node."""
    pattern = _INITIATORS.get(name[:3])
    if pattern is None:
        yield FieldError.invalid(path, name, "must be valid format starting with iqn, eui, or naa")
    elif not pattern.search(name):
        yield FieldError.invalid(path, name, "must be valid format")


def _iscsi(source: corev1.ISCSIVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.targetPortal", source.target_portal)
    if not source.iqn:
        yield FieldError.required(f"{path}.iqn")
    else:
        yield from validate_initiator(source.iqn, f"{path}.iqn")
    yield from in_range(f"{path}.lun", source.lun, 0, 255)
    if (source.chap_auth_discovery or source.chap_auth_session) and not source.HasField("secret_ref"):
        yield FieldError.required(f"{path}.secretRef")
    if source.HasField("initiator_name"):
        yield from validate_initiator(source.initiator_name, f"{path}.initiatorname")


def _fc(source: corev1.FCVolumeSource, path: str) -> Errors:
    here = f"{path}.targetWWNs"
    if not source.target_wwns and not source.wwids:
        yield FieldError.required(here, "must specify either targetWWNs or wwids, but not both")
    if source.target_wwns and source.wwids:
        text = "targetWWNs and wwids can not be specified simultaneously"
        yield FieldError.invalid(here, list(source.target_wwns), text)
    if source.target_wwns and not source.HasField("lun"):
        yield FieldError.required(f"{path}.lun", "lun is required if targetWWNs is specified")
    elif source.target_wwns:
        yield from in_range(f"{path}.lun", source.lun, 0, 255)


def _git(source: corev1.GitRepoVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.repository", source.repository)
    yield from validate_descending(source.directory, f"{path}.directory")


def _cinder(source: corev1.CinderVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.volumeID", source.volume_id)
    if source.HasField("secret_ref"):
        yield from required(f"{path}.secretRef.name", source.secret_ref.name)


def _flocker(source: corev1.FlockerVolumeSource, path: str) -> Errors:
    if not source.dataset_name and not source.dataset_uuid:
        yield FieldError.required(path, "one of datasetName and datasetUUID is required")
    if source.dataset_name and source.dataset_uuid:
        text = "datasetName and datasetUUID can not be specified simultaneously"
        yield FieldError.invalid(path, "resource", text)
    if "/" in source.dataset_name:
        yield FieldError.invalid(f"{path}.datasetName", source.dataset_name, "must not contain '/'")


def _flex(source: corev1.FlexVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.driver", source.driver)
    for key in sorted(source.options):
        if f".{key.partition('/')[0].lower()}".endswith((".kubernetes.io", ".k8s.io")):
            text = "kubernetes.io and k8s.io namespaces are reserved"
            yield FieldError.invalid(f"{path}.options[{key}]", key, text)


def _quobyte(source: corev1.QuobyteVolumeSource, path: str) -> Errors:
    if not source.registry:
        yield FieldError.required(f"{path}.registry", _PAIRS)
    elif len(source.tenant) >= 65:
        text = "must be a UUID and may not exceed a length of 64 characters"
        yield FieldError.required(f"{path}.tenant", text)
    elif not all(":" in pair for pair in source.registry.split(",")):
        yield FieldError.invalid(f"{path}.registry", source.registry, _PAIRS)
    yield from required(f"{path}.volume", source.volume)


def _azure_disk(source: corev1.AzureDiskVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.diskName", source.disk_name)
    yield from required(f"{path}.diskURI", source.disk_uri)
    if source.HasField("caching_mode"):
        yield from supported(f"{path}.cachingMode", source.caching_mode, ("None", "ReadOnly", "ReadWrite"))
    if source.HasField("kind"):
        yield from supported(f"{path}.kind", source.kind, ("Dedicated", "Managed", "Shared"))
        start, example = _DISK_URIS[source.kind == "Managed"]
        if not source.disk_uri.startswith(start):
            yield FieldError.not_supported(f"{path}.diskURI", source.disk_uri, [example])


def _storage_os(source: corev1.StorageOSVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.volumeName", source.volume_name, names.dns_label)
    if source.volume_namespace:
        wrong = names.dns_label(source.volume_namespace)
        yield from (FieldError.invalid(f"{path}.volumeNamespace", source.volume_namespace, text) for text in wrong)
    if source.HasField("secret_ref"):
        yield from required(f"{path}.secretRef.name", source.secret_ref.name)


DRIVER_RULES: dict[str, Rule] = {
    "aws_elastic_block_store": _disk("volume_id", "volumeID"),
    "azure_disk": _azure_disk,
    "azure_file": _needs(("secret_name", "secretName"), ("share_name", "shareName")),
    "cephfs": _needs(("monitors", "monitors")),
    "cinder": _cinder,
    "fc": _fc,
    "flex_volume": _flex,
    "flocker": _flocker,
    "gce_persistent_disk": _disk("pd_name", "pdName"),
    "git_repo": _git,
    "glusterfs": _needs(("endpoints", "endpoints"), ("path", "path")),
    "iscsi": _iscsi,
    "photon_persistent_disk": _needs(("pd_id", "pdID")),
    "portworx_volume": _needs(("volume_id", "volumeID")),
    "quobyte": _quobyte,
    "rbd": _needs(("monitors", "monitors"), ("image", "image")),
    "scale_io": _needs(("gateway", "gateway"), ("system", "system"), ("volume_name", "volumeName")),
    "storageos": _storage_os,
    "vsphere_volume": _needs(("volume_path", "volumePath")),
}
