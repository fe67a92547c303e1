"""What descriptors cannot say: messages with a JSON form of their own, and defaults that stand in schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

_META: Final = "k8s.io.apimachinery.pkg.apis.meta.v1."
_CORE: Final = "k8s.io.api.core.v1."
_EXTENSIONS: Final = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1."
_QUANTITY: Final[dict[str, Any]] = {"oneOf": [{"type": "string"}, {"type": "number"}]}

SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "k8s.io.apimachinery.pkg.api.resource.Quantity": _QUANTITY,
    "k8s.io.apimachinery.pkg.api.resource.QuantityValue": _QUANTITY,
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": {
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
    "k8s.io.apimachinery.pkg.runtime.RawExtension": {"type": "object"},
    "k8s.io.apimachinery.pkg.runtime.Unknown": {"type": "object"},
    _META + "Time": {"type": "string", "format": "date-time"},
    _META + "MicroTime": {"type": "string", "format": "date-time"},
    _META + "Duration": {"type": "string"},
    _META + "FieldsV1": {"type": "object"},
    _EXTENSIONS + "JSON": {},
    _EXTENSIONS + "JSONSchemaPropsOrArray": {},
    _EXTENSIONS + "JSONSchemaPropsOrBool": {},
    _EXTENSIONS + "JSONSchemaPropsOrStringArray": {},
}
# Messages around a list of strings; JSON shows the list.
LISTS: Final = frozenset(
    {_META + "Verbs"}
    | {f"k8s.io.api.{group}.v1.ExtraValue" for group in ("authentication", "authorization", "certificates")}
)
_CEPH: Final[dict[str, Any]] = {"keyring": "/etc/ceph/keyring", "pool": "rbd", "user": "admin"}
_SCALE_IO: Final[dict[str, Any]] = {"fsType": "xfs", "storageMode": "ThinProvisioned"}
_BY_MESSAGE: Final[dict[str, dict[str, Any]]] = {
    _CORE + "AzureDiskVolumeSource": {
        "cachingMode": "ReadWrite",
        "fsType": "ext4",
        "kind": "Shared",
        "readOnly": False,
    },
    _CORE + "ContainerPort": {"protocol": "TCP"},
    _CORE + "ISCSIPersistentVolumeSource": {"iscsiInterface": "default"},
    _CORE + "ISCSIVolumeSource": {"iscsiInterface": "default"},
    _CORE + "RBDPersistentVolumeSource": _CEPH,
    _CORE + "RBDVolumeSource": _CEPH,
    _CORE + "ReplicationControllerSpec": {"replicas": 1},
    _CORE + "ScaleIOPersistentVolumeSource": _SCALE_IO,
    _CORE + "ScaleIOVolumeSource": _SCALE_IO,
    _CORE + "ServicePort": {"protocol": "TCP"},
    "k8s.io.api.resource.v1.DeviceToleration": {"operator": "Equal"},
}
# Members that an object may leave out and that then read as zero, and required ones that have no default.
_ZEROS: Final = """
    apps.v1.StatefulSetOrdinals start=0
    apps.v1.StatefulSetSpec serviceName=""
    apps.v1.StatefulSetStatus availableReplicas=0
    authentication.v1.TokenRequestStatus token=""
    autoscaling.v1.ScaleSpec replicas=0
    batch.v1.PodFailurePolicyOnPodConditionsPattern status=""
    core.v1.ConfigMapEnvSource name=""
    core.v1.ConfigMapKeySelector name=""
    core.v1.ConfigMapProjection name=""
    core.v1.ConfigMapVolumeSource name=""
    core.v1.Event reportingComponent="" reportingInstance=""
    core.v1.FileKeySelector optional=false
    core.v1.GRPCAction service=""
    core.v1.LocalObjectReference name=""
    core.v1.NodeRuntimeHandler name=""
    core.v1.ReplicationControllerSpec minReadySeconds=0
    core.v1.SecretEnvSource name=""
    core.v1.SecretKeySelector name=""
    core.v1.SecretProjection name=""
    flowcontrol.v1.FlowSchemaSpec matchingPrecedence=0
    flowcontrol.v1.QueuingConfiguration queues=0 handSize=0 queueLengthLimit=0
    policy.v1.PodDisruptionBudgetStatus expectedPods=0 desiredHealthy=0 disruptionsAllowed=0 currentHealthy=0
    rbac.v1.RoleRef apiGroup=""
    scheduling.v1.PriorityClass value=0
    admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec policyName=null
    authentication.v1.TokenReviewSpec token=null
    core.v1.ContainerRestartRule action=null
    core.v1.ContainerRestartRuleOnExitCodes operator=null
    core.v1.ImageVolumeStatus imageRef=null
    core.v1.PodCertificateProjection signerName=null keyType=null
    networking.v1.ParentReference resource=null name=null
"""


def _zeros() -> Iterator[tuple[tuple[str, str], Any]]:
    for line in _ZEROS.split("\n"):
        message, *fields = line.split() or [""]
        for field, _, value in (text.partition("=") for text in fields):
            yield (f"k8s.io.api.{message}", field), json.loads(value)


# (message, JSON name of the member) -> default in its schema; None for none.
DEFAULTS: Final[dict[tuple[str, str], Any]] = dict(_zeros()) | {
    (message, field): value for message, fields in _BY_MESSAGE.items() for field, value in fields.items()
}
