"""Field selectors: "spec.nodeName=node-1,status.phase!=Failed".

Unlike labels, only a few fields of a kind can be asked for: name and namespace for all, and the ones of the
table below, which are Kubernetes'. A field that the kind does not offer is a bad request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from google.protobuf.message import Message

from navarch.services.api.custom import paths
from navarch.services.api.custom.structural import ABSENT
from navarch.services.api.errors import BadRequest
from navarch.services.api.kinds import Kind

_Read = Callable[[Any], str]


def _at(path: str) -> _Read:
    """Read a string or a number at a dotted path of snake_case members."""
    names = path.split(".")

    def read(message: Any) -> str:
        for name in names:
            message = getattr(message, name)
        return _text(message)

    return read


def _at_json_path(path: str) -> _Read:
    """Read a member of a custom object; one that is missing is empty."""

    def read(message: Any) -> str:
        found = paths.read(orjson.loads(message.content or b"{}"), path)
        return "" if found is ABSENT or found is None else _text(found)

    return read


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _pod_ip(pod: Any) -> str:
    return str(pod.status.pod_ips[0].ip if pod.status.pod_ips else pod.status.pod_ip)


def _event_source(event: Any) -> str:
    return str(event.source.component or event.reporting_component)


_REFERENCE: Final = {
    "kind": "kind",
    "namespace": "namespace",
    "name": "name",
    "uid": "uid",
    "apiVersion": "api_version",
    "resourceVersion": "resource_version",
    "fieldPath": "field_path",
}
_METADATA: Final[dict[str, _Read]] = {
    "metadata.name": _at("metadata.name"),
    "metadata.namespace": _at("metadata.namespace"),
}
_OF_KIND: Final[dict[tuple[str, str], dict[str, _Read]]] = {
    ("", "Pod"): {
        "spec.nodeName": _at("spec.node_name"),
        "spec.restartPolicy": _at("spec.restart_policy"),
        "spec.schedulerName": _at("spec.scheduler_name"),
        "spec.serviceAccountName": _at("spec.service_account_name"),
        "spec.hostNetwork": _at("spec.host_network"),
        "status.phase": _at("status.phase"),
        "status.podIP": _pod_ip,
        "status.podIPs": _pod_ip,
        "status.nominatedNodeName": _at("status.nominated_node_name"),
    },
    ("", "Event"): {
        **{f"involvedObject.{json}": _at(f"involved_object.{name}") for json, name in _REFERENCE.items()},
        "reason": _at("reason"),
        "reportingComponent": _at("reporting_component"),
        "source": _event_source,
        "type": _at("type"),
    },
    ("events.k8s.io", "Event"): {
        **{f"regarding.{json}": _at(f"regarding.{name}") for json, name in _REFERENCE.items()},
        "reason": _at("reason"),
        "reportingController": _at("reporting_controller"),
        "type": _at("type"),
    },
    ("", "Namespace"): {"status.phase": _at("status.phase")},
    ("", "Node"): {"spec.unschedulable": _at("spec.unschedulable")},
    ("", "ReplicationController"): {"status.replicas": _at("status.replicas")},
    ("", "Secret"): {"type": _at("type")},
    ("", "Service"): {"spec.clusterIP": _at("spec.cluster_ip"), "spec.type": _at("spec.type")},
    ("apps", "ReplicaSet"): {"status.replicas": _at("status.replicas")},
    ("batch", "Job"): {"status.successful": _at("status.succeeded")},
    ("certificates.k8s.io", "CertificateSigningRequest"): {"spec.signerName": _at("spec.signer_name")},
    ("certificates.k8s.io", "ClusterTrustBundle"): {"spec.signerName": _at("spec.signer_name")},
    ("resource.k8s.io", "ResourceSlice"): {
        "spec.nodeName": _at("spec.node_name"),
        "spec.driver": _at("spec.driver"),
    },
}


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """``field`` equals ``value``, or does not."""

    field: str
    value: str
    equal: bool = True

    def __str__(self) -> str:
        value = self.value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
        return f"{self.field}{'=' if self.equal else '!='}{value}"


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All of its requirements have to hold; without any it selects everything."""

    requirements: tuple[FieldRequirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> FieldSelector:
        """Read the text form; "" selects everything. Raises BadRequest."""
        return cls(tuple(_requirement(term, text) for term in _terms(text) if term))

    def check(self, kind: Kind) -> None:
        """Raise BadRequest where a field cannot be selected by for this kind."""
        for requirement in self.requirements:
            _reader(kind, requirement.field)

    def matches(self, message: Message, kind: Kind) -> bool:
        """Whether an object of the kind is selected. Raises BadRequest for an unknown field."""
        return all(
            (_reader(kind, requirement.field)(message) == requirement.value) is requirement.equal
            for requirement in self.requirements
        )

    def value_of(self, field: str) -> str | None:
        """The value that the selector demands of a field, if it demands one: lets a lookup replace a scan."""
        return next((r.value for r in self.requirements if r.equal and r.field == field), None)

    def __bool__(self) -> bool:
        return bool(self.requirements)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


def supported_fields(kind: Kind) -> list[str]:
    """The fields that objects of a kind can be selected by."""
    if kind.is_custom:
        return sorted([*_METADATA, *(path.lstrip(".") for path in kind.custom.selectable)])
    return sorted({**_METADATA, **_OF_KIND.get((kind.group, kind.kind), {})})


def _reader(kind: Kind, field: str) -> _Read:
    if kind.is_custom and f".{field}" in kind.custom.selectable:
        return _at_json_path(f".{field}")
    reader = (not kind.is_custom and _OF_KIND.get((kind.group, kind.kind), {}).get(field)) or _METADATA.get(field)
    if reader is None:
        raise BadRequest(f"field label not supported: {field}")
    return reader


def _terms(text: str) -> list[str]:
    """Split at commas that no backslash protects."""
    terms, current, escaped = [], "", False
    for character in text:
        if character == "," and not escaped:
            terms.append(current)
            current = ""
        else:
            current += character
        escaped = character == "\\" and not escaped
    return [*terms, current]


def _requirement(term: str, selector: str) -> FieldRequirement:
    for operator in ("!=", "==", "="):
        field, found, value = term.partition(operator)
        # The leftmost operator counts: "a=b!=c" is the field a with the value "b!=c".
        if found and "=" not in field:
            return FieldRequirement(field.strip(), _unescaped(value, selector), operator != "!=")
    raise BadRequest(f"invalid selector: '{selector}'; can't understand '{term}'")


def _unescaped(value: str, selector: str) -> str:
    out, escaped = "", False
    for character in value:
        if escaped and character not in "\\,=":
            raise BadRequest(f"invalid field selector '{selector}': invalid escape sequence '\\{character}'")
        if not escaped and character == "=":
            raise BadRequest(f"invalid field selector '{selector}': '=' in a value has to be escaped")
        if escaped or character != "\\":
            out += character
        escaped = character == "\\" and not escaped
    if escaped:
        raise BadRequest(f"invalid field selector '{selector}': ends within an escape sequence")
    return out
