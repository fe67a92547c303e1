"""Rules for volumes: each has a name of its own and one source."""

from collections.abc import Callable, Sequence
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.file_paths import (
    validate_downward_files,
    validate_keys_to_paths,
    validate_mode,
    validate_no_backsteps,
)
from navarch.services.api.validation.metadata import validate_annotations, validate_labels
from navarch.services.api.validation.persistent_volumes import validate_claim_spec
from navarch.services.api.validation.projections import validate_projected
from navarch.services.api.validation.resources import validate_quantity
from navarch.services.api.validation.values import Errors, check, required, supported
from navarch.services.api.validation.volume_drivers import DRIVER_RULES

_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_DRIVER_NAME_MAX = 63
_ISCSI_NAME_MAX = 64


def validate_volumes(volumes: Sequence[corev1.Volume], path: str, pod_name: str = "") -> Errors:
    """Check the volumes of a Pod, or (without a name) of a template."""
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        here = f"{path}[{index}]"
        yield from required(f"{here}.name", volume.name, names.dns_label)
        if volume.name in seen:
            yield FieldError.duplicate(f"{here}.name", volume.name)
        seen.add(volume.name)
        yield from _validate_source(volume.volume_source, here)
        yield from _validate_derived_names(volume, here, pod_name)


def _validate_source(source: corev1.VolumeSource, path: str) -> Errors:
    present = source.ListFields()
    if not present:
        yield FieldError.required(path, "must specify a volume type")
        return
    field, chosen = present[0]
    yield from _SOURCES[field.name](chosen, f"{path}.{field.json_name}")
    for extra, _ in present[1:]:
        yield FieldError.forbidden(f"{path}.{extra.json_name}", "may not specify more than 1 volume type")


def _validate_derived_names(volume: corev1.Volume, path: str, pod_name: str) -> Errors:
    """Check the names that are made from the volume's: of its claim, of its iSCSI session."""
    source, name = volume.volume_source, volume.name
    if source.HasField("ephemeral") and pod_name and name:
        claim = f"{pod_name}-{name}"
        wrong = names.dns_subdomain(claim)
        yield from check(f"{path}.name", name, (f'PVC name "{claim}": {text}' for text in wrong))
    is_named = source.HasField("iscsi") and source.iscsi.HasField("initiator_name")
    if is_named and len(f"{name}:{source.iscsi.target_portal}") > _ISCSI_NAME_MAX:
        text = (
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters "
            "if iscsi.initiatorName is specified."
        )
        yield FieldError.invalid(f"{path}.name", name, text)


def _empty_dir(source: corev1.EmptyDirVolumeSource, path: str) -> Errors:
    if source.HasField("size_limit"):
        yield from validate_quantity(source.size_limit, f"{path}.sizeLimit")


def _host_path(source: corev1.HostPathVolumeSource, path: str) -> Errors:
    if not source.path:
        yield FieldError.required(f"{path}.path")
    else:
        yield from validate_no_backsteps(source.path, f"{path}.path")


def _secret(source: corev1.SecretVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.secretName", source.secret_name)
    yield from validate_keys_to_paths(source.items, path)
    yield from validate_mode(source.default_mode, f"{path}.defaultMode")


def _config_map(source: corev1.ConfigMapVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.name", source.local_object_reference.name)
    yield from validate_keys_to_paths(source.items, path)
    yield from validate_mode(source.default_mode, f"{path}.defaultMode")


def _downward_api(source: corev1.DownwardAPIVolumeSource, path: str) -> Errors:
    yield from validate_downward_files(source.items, path)
    yield from validate_mode(source.default_mode, f"{path}.defaultMode")


def _claim(source: corev1.PersistentVolumeClaimVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.claimName", source.claim_name)


def _nfs(source: corev1.NFSVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.server", source.server)
    yield from required(f"{path}.path", source.path)
    if not source.path.startswith("/"):
        yield FieldError.invalid(f"{path}.path", source.path, "must be an absolute path")


def _csi(source: corev1.CSIVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.driver", source.driver, lambda name: names.dns_subdomain(name.lower()))
    if len(source.driver.encode()) > _DRIVER_NAME_MAX:
        yield FieldError.too_long(f"{path}.driver", source.driver, _DRIVER_NAME_MAX)
    if source.HasField("node_publish_secret_ref"):
        yield from required(f"{path}.nodePublishSecretRef.name", source.node_publish_secret_ref.name)


def _ephemeral(source: corev1.EphemeralVolumeSource, path: str) -> Errors:
    here = f"{path}.volumeClaimTemplate"
    if not source.HasField("volume_claim_template"):
        yield FieldError.required(here)
        return
    template = source.volume_claim_template
    yield from validate_labels(template.metadata.labels, f"{here}.labels")
    yield from validate_annotations(template.metadata.annotations, f"{here}.annotations")
    for field, value in template.metadata.ListFields():
        if field.name not in ("labels", "annotations") and value:
            yield FieldError.forbidden(f"{here}.metadata.{field.json_name}", "cannot be set for an ephemeral volume")
    yield from validate_claim_spec(template.spec, f"{here}.spec")


def _image(source: corev1.ImageVolumeSource, path: str) -> Errors:
    yield from supported(f"{path}.pullPolicy", source.pull_policy, _PULL_POLICIES)


_SOURCES: dict[str, Callable[[Any, str], Errors]] = {
    **DRIVER_RULES,
    "empty_dir": _empty_dir,
    "host_path": _host_path,
    "secret": _secret,
    "config_map": _config_map,
    "downward_api": _downward_api,
    "persistent_volume_claim": _claim,
    "nfs": _nfs,
    "csi": _csi,
    "ephemeral": _ephemeral,
    "image": _image,
    "projected": validate_projected,
}
