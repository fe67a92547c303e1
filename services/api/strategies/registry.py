"""Which kind has which hooks."""

from navarch.services.api.kinds import Kind
from navarch.services.api.strategies import (
    admission,
    autoscaling,
    batch,
    certificates,
    classes,
    cluster,
    devices,
    extension,
    flowcontrol,
    networking,
    pods,
    policy,
    quotas,
    rbac,
    services,
    storage,
    workloads,
)
from navarch.services.api.strategies.hooks import Hooks

_HOOKS: dict[tuple[str, str], Hooks] = {
    ("", "ConfigMap"): cluster.CONFIG_MAP,
    ("", "Endpoints"): cluster.ENDPOINTS,
    ("", "Event"): cluster.EVENT,
    ("", "LimitRange"): quotas.LIMIT_RANGE,
    ("", "Namespace"): cluster.NAMESPACE,
    ("", "Node"): cluster.NODE,
    ("", "PersistentVolume"): storage.PERSISTENT_VOLUME,
    ("", "PersistentVolumeClaim"): storage.CLAIM,
    ("", "Pod"): pods.HOOKS,
    ("", "PodTemplate"): quotas.POD_TEMPLATE,
    ("", "ReplicationController"): workloads.REPLICATION_CONTROLLER,
    ("", "ResourceQuota"): quotas.RESOURCE_QUOTA,
    ("", "Secret"): cluster.SECRET,
    ("", "Service"): services.HOOKS,
    ("", "ServiceAccount"): cluster.SERVICE_ACCOUNT,
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"): admission.MUTATING_POLICY,
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"): admission.MUTATING_BINDING,
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): admission.MUTATING_WEBHOOKS,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): admission.VALIDATING_POLICY,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): admission.VALIDATING_BINDING,
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): admission.VALIDATING_WEBHOOKS,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): extension.DEFINITION,
    ("apiregistration.k8s.io", "APIService"): extension.API_SERVICE,
    ("apps", "DaemonSet"): workloads.DAEMON_SET,
    ("apps", "Deployment"): workloads.DEPLOYMENT,
    ("apps", "ReplicaSet"): workloads.REPLICA_SET,
    ("apps", "StatefulSet"): workloads.STATEFUL_SET,
    ("autoscaling", "HorizontalPodAutoscaler"): autoscaling.AUTOSCALER,
    ("batch", "CronJob"): batch.CRON_JOB,
    ("batch", "Job"): batch.JOB,
    ("certificates.k8s.io", "CertificateSigningRequest"): certificates.HOOKS,
    ("certificates.k8s.io", "ClusterTrustBundle"): certificates.TRUST_BUNDLE,
    ("coordination.k8s.io", "Lease"): cluster.LEASE,
    ("discovery.k8s.io", "EndpointSlice"): cluster.ENDPOINT_SLICE,
    ("events.k8s.io", "Event"): cluster.NEW_EVENT,
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): flowcontrol.FLOW_SCHEMA,
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): flowcontrol.PRIORITY_LEVEL,
    ("networking.k8s.io", "IPAddress"): networking.IP_ADDRESS,
    ("networking.k8s.io", "Ingress"): networking.INGRESS,
    ("networking.k8s.io", "IngressClass"): networking.INGRESS_CLASS,
    ("networking.k8s.io", "NetworkPolicy"): networking.NETWORK_POLICY,
    ("networking.k8s.io", "ServiceCIDR"): networking.SERVICE_CIDR,
    ("node.k8s.io", "RuntimeClass"): classes.RUNTIME_CLASS,
    ("policy", "PodDisruptionBudget"): policy.BUDGET,
    ("rbac.authorization.k8s.io", "ClusterRole"): rbac.CLUSTER_ROLE,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): rbac.BINDING,
    ("rbac.authorization.k8s.io", "Role"): rbac.ROLE,
    ("rbac.authorization.k8s.io", "RoleBinding"): rbac.BINDING,
    ("resource.k8s.io", "DeviceClass"): devices.CLASS,
    ("resource.k8s.io", "ResourceClaim"): devices.CLAIM,
    ("resource.k8s.io", "ResourceClaimTemplate"): devices.CLAIM_TEMPLATE,
    ("resource.k8s.io", "ResourceSlice"): devices.SLICE,
    ("scheduling.k8s.io", "PriorityClass"): classes.PRIORITY_CLASS,
    ("storage.k8s.io", "CSIDriver"): storage.CSI_DRIVER,
    ("storage.k8s.io", "CSINode"): storage.CSI_NODE,
    ("storage.k8s.io", "CSIStorageCapacity"): storage.CSI_CAPACITY,
    ("storage.k8s.io", "StorageClass"): storage.STORAGE_CLASS,
    ("storage.k8s.io", "VolumeAttachment"): storage.ATTACHMENT,
    ("storage.k8s.io", "VolumeAttributesClass"): storage.ATTRIBUTES_CLASS,
}


# The rules of kinds whose versions differ, by apiVersion and kind.
_OF_VERSION: dict[tuple[str, str], Hooks] = {
    ("autoscaling/v1", "HorizontalPodAutoscaler"): autoscaling.AUTOSCALER_V1,
}
_NO_RULES = Hooks()


def hooks_of(kind: Kind) -> Hooks:
    """Return the hooks of a kind; those of a kind not listed count no generation and add no rules."""
    of_version = _OF_VERSION.get((kind.api_version, kind.kind))
    return of_version or _HOOKS.get((kind.group, kind.kind), _NO_RULES)
