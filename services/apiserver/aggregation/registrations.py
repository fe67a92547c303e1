"""The APIServices of what this server serves itself: its own groups, and those of custom resources. Pure."""

from collections.abc import Iterable
from typing import Final

from navarch.protos.k8s.apiregistration import v1_pb2 as apiregistrationv1
from navarch.services.api import meta
from navarch.services.api.kinds import Kind

# What tells an APIService of ours from one that somebody made: "onstart" for groups that are always there, "true" for
# those of definitions, which go with them.
MANAGED: Final = "kube-aggregator.kubernetes.io/automanaged"
ALWAYS, WHILE_DEFINED = "onstart", "true"
OWN_GROUP = "apiregistration.k8s.io"
# Of the group, as in Kubernetes; versions have 15 where nothing else is said.
_GROUPS: Final = {
    "": 18000,
    "apps": 17800,
    "events.k8s.io": 17750,
    "authentication.k8s.io": 17700,
    "authorization.k8s.io": 17600,
    "autoscaling": 17500,
    "batch": 17400,
    "certificates.k8s.io": 17300,
    "networking.k8s.io": 17200,
    "policy": 17100,
    "rbac.authorization.k8s.io": 17000,
    "storage.k8s.io": 16800,
    "apiextensions.k8s.io": 16700,
    "admissionregistration.k8s.io": 16700,
    "scheduling.k8s.io": 16600,
    "coordination.k8s.io": 16500,
    "node.k8s.io": 16300,
    "discovery.k8s.io": 16200,
    "flowcontrol.apiserver.k8s.io": 16100,
    "resource.k8s.io": 15900,
}
_VERSIONS: Final = {("", "v1"): 1, ("autoscaling", "v2"): 30, ("flowcontrol.apiserver.k8s.io", "v1"): 21}
_DEFAULT_VERSION = 15
_CUSTOM = (1000, 100)


def service_name(group: str, version: str) -> str:
    """The name of the APIService of a group and version: "v1.apps", "v1."."""
    return f"{version}.{group}"


def local_services(kinds: Iterable[Kind]) -> dict[str, apiregistrationv1.APIService]:
    """What should be there, by name."""
    custom = {(kind.group, kind.version): kind.is_custom for kind in kinds if kind.group != OWN_GROUP}
    return {service_name(*key): _service(*key, is_custom) for key, is_custom in custom.items()}


def _service(group: str, version: str, is_custom: bool) -> apiregistrationv1.APIService:
    service = apiregistrationv1.APIService()
    service.metadata.name = service_name(group, version)
    service.metadata.labels[MANAGED] = WHILE_DEFINED if is_custom else ALWAYS
    spec = service.spec
    spec.group, spec.version = group, version
    own = (_GROUPS.get(group, 15000), _VERSIONS.get((group, version), _DEFAULT_VERSION))
    spec.group_priority_minimum, spec.version_priority = _CUSTOM if is_custom else own
    return service


def settled(current: apiregistrationv1.APIService, wanted: apiregistrationv1.APIService) -> bool:
    """Whether an APIService of ours is as it should be. One that somebody made for a custom group is left alone."""
    label = current.metadata.labels.get(MANAGED, "")
    if not label and wanted.metadata.labels[MANAGED] == WHILE_DEFINED:
        return True
    return label == wanted.metadata.labels[MANAGED] and not current.spec.HasField("service")


def put_available(service: apiregistrationv1.APIService, status: str, reason: str, message: str, now: float) -> None:
    """Set the condition Available."""
    condition = apiregistrationv1.APIServiceCondition(type="Available", status=status, reason=reason, message=message)
    condition.last_transition_time.CopyFrom(meta.time_from(now))
    meta.set_condition(service.status.conditions, condition)
