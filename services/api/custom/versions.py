"""The kinds that a CustomResourceDefinition adds to the table: one row per served version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import codec
from navarch.services.api.custom.message import CustomClass
from navarch.services.api.custom.ownership import ownership_schema
from navarch.services.api.custom.structural import Structural, compile_schema
from navarch.services.api.kind import ALL_VERBS, Kind, Subresource
from navarch.services.api.managed_fields.descriptors import root_schema
from navarch.services.api.managed_fields.schema import Schema
from navarch.services.api.meta import condition_is

_READ_WRITE: Final = ("get", "patch", "update")
_PACKAGE: Final = "navarch.v1"
_CONTRACT: Final = "custom"


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column. json_path: as in the definition (".spec.replicas")."""

    name: str
    type: str
    json_path: str
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where the scale subresource finds its numbers; label_selector: "" for none."""

    spec_replicas: str
    status_replicas: str
    label_selector: str = ""


@dataclass(frozen=True, slots=True)
class Conversion:
    """How one version becomes another. strategy: "None" or "Webhook"; client: clientConfig in JSON."""

    strategy: str = "None"
    url: str = ""
    service_namespace: str = ""
    service_name: str = ""
    service_path: str = ""
    service_port: int = 443
    # PEM.
    ca_bundle: bytes = b""
    review_versions: tuple[str, ...] = ()

    @property
    def is_none(self) -> bool:
        """Whether versions differ in nothing but their name."""
        return self.strategy != "Webhook"


class CustomVersion:
    """What a definition says about one version of its kind. Compared by identity."""

    def __init__(self, crd: Any, version: Any, names: Any) -> None:
        """crd: the message. version: one of spec.versions. names: those accepted."""
        self._version = version
        self._class: CustomClass | None = None
        self.crd_name: str = crd.metadata.name
        self.crd_uid: str = crd.metadata.uid
        self.list_kind: str = names.list_kind or f"{names.kind}List"
        self.singular: str = names.singular or names.kind.lower()
        self.storage_version: str = next((one.name for one in crd.spec.versions if one.storage), version.name)
        self.conversion = _conversion(crd.spec.conversion)
        self.has_status = version.subresources.HasField("status")
        self.scale = _scale(version)
        self.columns = tuple(
            Column(one.name, one.type, one.json_path, one.format, one.description, one.priority)
            for one in version.additional_printer_columns
        )
        self.selectable = tuple(one.json_path for one in version.selectable_fields)
        # Set while the definition is being deleted: then nothing new is created.
        self.is_terminating = False
        self.deprecation = _deprecation(crd, version) if version.deprecated else ""

    def message_of(self, kind: Kind) -> Any:
        """The message class of the kind; the same one every time."""
        if self._class is None:
            self._class = CustomClass(kind)
        return self._class

    @cached_property
    def openapi(self) -> Mapping[str, Any]:
        """The version's OpenAPI v3 schema in JSON, as the definition has it; {} for none."""
        if not self._version.schema.HasField("open_apiv3_schema"):
            return {}
        return codec.to_json(self._version.schema.open_apiv3_schema)

    @cached_property
    def schema(self) -> Structural | None:
        """The structural schema; None where there is none."""
        return compile_schema(self.openapi) if self.openapi else None

    @cached_property
    def ownership(self) -> Schema:
        """How the fields of its objects are owned."""
        return ownership_schema(self.schema, root_schema(metav1.ObjectMeta.DESCRIPTOR))


def custom_kinds(crd: Any) -> list[Kind]:
    """The rows of a definition, one per served version, the preferred version first.

    Accepted names are used, where the definition's status has any; `is_established` says whether to serve them.
    """
    names = crd.status.accepted_names if crd.status.accepted_names.plural else crd.spec.names
    versions = sorted((one for one in crd.spec.versions if one.served), key=lambda one: version_order(one.name))
    return [_kind(crd, one, names) for one in versions]


def is_established(crd: Any) -> bool:
    """Whether the definition's kinds are to be served."""
    return condition_is(crd.status.conditions, "Established")


def _kind(crd: Any, version: Any, names: Any) -> Kind:
    custom = CustomVersion(crd, version, names)
    parts = []
    if custom.scale is not None:
        parts.append(Subresource("scale", "Scale", _READ_WRITE, "autoscaling/v1"))
    if custom.has_status:
        parts.append(Subresource("status", names.kind, _READ_WRITE))
    group = crd.spec.group
    return Kind(
        group,
        version.name,
        names.kind,
        names.plural,
        _CONTRACT,
        _PACKAGE,
        namespaced=crd.spec.scope == "Namespaced",
        short_names=tuple(names.short_names),
        categories=tuple(names.categories),
        verbs=ALL_VERBS,
        subresources=tuple(parts),
        key_prefix=f"/registry/{group}/{names.plural}/",
        stored_as=f"{group}/{custom.storage_version}",
        encoding="json",
        custom=custom,
    )


def version_order(name: str) -> tuple[int, int, int, str]:
    """Sorts versions as Kubernetes prefers them: v2, v1, v1beta2, v1beta1, v1alpha1, then others by name."""
    match = re.fullmatch(r"v([1-9]\d*)(?:(alpha|beta)([1-9]\d*))?", name)
    if match is None:
        return (3, 0, 0, name)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0), "")


def _scale(version: Any) -> ScalePaths | None:
    if not version.subresources.HasField("scale"):
        return None
    scale = version.subresources.scale
    return ScalePaths(scale.spec_replicas_path, scale.status_replicas_path, scale.label_selector_path)


def _conversion(conversion: Any) -> Conversion:
    if conversion.strategy != "Webhook":
        return Conversion()
    client = conversion.webhook.client_config
    service = client.service
    return Conversion(
        "Webhook",
        client.url,
        service.namespace,
        service.name,
        service.path,
        service.port if service.HasField("port") else 443,
        client.ca_bundle,
        tuple(conversion.webhook.conversion_review_versions),
    )


def _deprecation(crd: Any, version: Any) -> str:
    default = f"{crd.spec.group}/{version.name} {crd.spec.names.kind} is deprecated"
    return version.deprecation_warning or default
