"""Which kind is shown by which table."""

from typing import Any

from navarch.services.api.codec.times import format_seconds
from navarch.services.api.kinds import Kind
from navarch.services.api.printers import access, autoscaling, cluster, devices, network, pods, storage, workloads
from navarch.services.api.printers.custom import custom_table
from navarch.services.api.printers.table import Cell, Column, Table


def _created_at(obj: Any, now: float) -> tuple[Cell, ...]:
    return (obj.metadata.name, format_seconds(obj.metadata.creation_timestamp.seconds))


_DEFAULT = Table((Column("Name", format="name"), Column("Created At", "date")), _created_at)

_TABLES: dict[tuple[str, str], Table] = {
    ("", "ComponentStatus"): cluster.COMPONENT,
    ("", "ConfigMap"): cluster.CONFIG_MAP,
    ("", "Endpoints"): network.ENDPOINTS,
    ("", "Event"): cluster.EVENT,
    ("", "Namespace"): cluster.NAMESPACE,
    ("", "Node"): cluster.NODE,
    ("", "PersistentVolume"): storage.PERSISTENT_VOLUME,
    ("", "PersistentVolumeClaim"): storage.PERSISTENT_VOLUME_CLAIM,
    ("", "Pod"): pods.POD,
    ("", "PodTemplate"): workloads.POD_TEMPLATE,
    ("", "ReplicationController"): workloads.REPLICA_SET,
    ("", "ResourceQuota"): cluster.QUOTA,
    ("", "Secret"): cluster.SECRET,
    ("", "Service"): network.SERVICE,
    ("", "ServiceAccount"): cluster.NAMED,
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"): access.MUTATING_POLICY,
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"): access.POLICY_BINDING,
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): access.WEBHOOKS,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): access.VALIDATING_POLICY,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): access.POLICY_BINDING,
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): access.WEBHOOKS,
    ("apiregistration.k8s.io", "APIService"): access.API_SERVICE,
    ("apps", "ControllerRevision"): workloads.CONTROLLER_REVISION,
    ("apps", "DaemonSet"): workloads.DAEMON_SET,
    ("apps", "Deployment"): workloads.DEPLOYMENT,
    ("apps", "ReplicaSet"): workloads.REPLICA_SET,
    ("apps", "StatefulSet"): workloads.STATEFUL_SET,
    ("autoscaling", "HorizontalPodAutoscaler"): autoscaling.AUTOSCALER,
    ("autoscaling", "Scale"): workloads.SCALE,
    ("batch", "CronJob"): workloads.CRON_JOB,
    ("batch", "Job"): workloads.JOB,
    ("certificates.k8s.io", "CertificateSigningRequest"): access.SIGNING_REQUEST,
    ("certificates.k8s.io", "ClusterTrustBundle"): access.TRUST_BUNDLE,
    ("coordination.k8s.io", "Lease"): cluster.LEASE,
    ("discovery.k8s.io", "EndpointSlice"): network.ENDPOINT_SLICE,
    ("events.k8s.io", "Event"): cluster.NEW_EVENT,
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): access.FLOW_SCHEMA,
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): access.PRIORITY_LEVEL,
    ("networking.k8s.io", "IPAddress"): network.IP_ADDRESS,
    ("networking.k8s.io", "Ingress"): network.INGRESS,
    ("networking.k8s.io", "IngressClass"): network.INGRESS_CLASS,
    ("networking.k8s.io", "NetworkPolicy"): network.NETWORK_POLICY,
    ("networking.k8s.io", "ServiceCIDR"): network.SERVICE_CIDR,
    ("node.k8s.io", "RuntimeClass"): cluster.RUNTIME_CLASS,
    ("policy", "PodDisruptionBudget"): autoscaling.DISRUPTION_BUDGET,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): access.BINDING,
    ("rbac.authorization.k8s.io", "RoleBinding"): access.BINDING,
    ("resource.k8s.io", "DeviceClass"): cluster.NAMED,
    ("resource.k8s.io", "ResourceClaim"): devices.CLAIM,
    ("resource.k8s.io", "ResourceClaimTemplate"): cluster.NAMED,
    ("resource.k8s.io", "ResourceSlice"): devices.SLICE,
    ("scheduling.k8s.io", "PriorityClass"): access.PRIORITY_CLASS,
    ("storage.k8s.io", "CSIDriver"): storage.DRIVER,
    ("storage.k8s.io", "CSINode"): storage.CSI_NODE,
    ("storage.k8s.io", "StorageClass"): storage.STORAGE_CLASS,
    ("storage.k8s.io", "VolumeAttachment"): storage.ATTACHMENT,
    ("storage.k8s.io", "VolumeAttributesClass"): storage.ATTRIBUTES_CLASS,
}


def table_for(kind: Kind) -> Table:
    """Return the table of a kind; one without columns of its own shows name and time of creation."""
    if kind.is_custom:
        return custom_table(kind.custom.columns)
    if (kind.group, kind.version, kind.kind) == ("autoscaling", "v1", "HorizontalPodAutoscaler"):
        return autoscaling.AUTOSCALER_V1
    return _TABLES.get((kind.group, kind.kind), _DEFAULT)
