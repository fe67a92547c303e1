"""The rows of the table of kinds, group by group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from navarch.services.api.kind import ALL_VERBS, Kind, Subresource

_READ_WRITE: Final = ("get", "patch", "update")
_PROXY_VERBS: Final = ("create", "delete", "get", "patch", "update")


class _Group:
    """Writes the rows of one API group and version."""

    def __init__(self, group: str, version: str = "v1", *, contract: str = "", package: str = "") -> None:
        folder = contract or group.split(".")[0] or "core"
        self.group, self.version = group, version
        self.contract = f"{folder}.{version}"
        self.package = package or f"k8s.io.api.{folder}.{version}"

    def kind(
        self,
        kind: str,
        resource: str = "",
        *,
        short: str = "",
        categories: str = "",
        cluster: bool = False,
        verbs: tuple[str, ...] = ALL_VERBS,
        status: bool = False,
        subresources: tuple[Subresource, ...] = (),
        key: str = "",
        stored_as: str = "",
        encoding: str = "protobuf",
    ) -> Kind:
        api_version = f"{self.group}/{self.version}" if self.group else self.version
        resource = resource or kind.lower() + "s"
        stored = "watch" in verbs
        if status:
            subresources = (*subresources, Subresource("status", kind, _READ_WRITE))
        return Kind(
            self.group,
            self.version,
            kind,
            resource,
            self.contract,
            self.package,
            namespaced=not cluster,
            short_names=tuple(short.split()),
            categories=tuple(categories.split()),
            verbs=verbs,
            subresources=tuple(sorted(subresources, key=lambda sub: sub.name)),
            key_prefix=f"/registry/{key or resource}/" if stored else "",
            stored_as=(stored_as or api_version) if stored else "",
            encoding=encoding,
        )


def _scale() -> Subresource:
    return Subresource("scale", "Scale", _READ_WRITE, "autoscaling/v1")


def _core() -> list[Kind]:
    row = _Group("").kind
    create = ("create",)
    stream = ("create", "get")
    pod_parts = (
        Subresource("attach", "PodAttachOptions", stream),
        Subresource("binding", "Binding", create),
        Subresource("ephemeralcontainers", "Pod", _READ_WRITE),
        Subresource("eviction", "Eviction", create, "policy/v1"),
        Subresource("exec", "PodExecOptions", stream),
        Subresource("log", "Pod", ("get",)),
        Subresource("portforward", "PodPortForwardOptions", stream),
        Subresource("proxy", "PodProxyOptions", _PROXY_VERBS),
        Subresource("resize", "Pod", _READ_WRITE),
    )
    namespace_verbs = tuple(verb for verb in ALL_VERBS if verb != "deletecollection")
    token = Subresource("token", "TokenRequest", create, "authentication.k8s.io/v1")
    node_proxy = Subresource("proxy", "NodeProxyOptions", _PROXY_VERBS)
    service_proxy = Subresource("proxy", "ServiceProxyOptions", _PROXY_VERBS)
    finalize = Subresource("finalize", "Namespace", ("update",))
    return [
        row("Binding", verbs=create),
        row("ComponentStatus", "componentstatuses", short="cs", cluster=True, verbs=("get", "list")),
        row("ConfigMap", short="cm"),
        row("Endpoints", "endpoints", short="ep", key="services/endpoints"),
        row("Event", short="ev"),
        row("LimitRange", short="limits"),
        row("Namespace", short="ns", cluster=True, verbs=namespace_verbs, status=True, subresources=(finalize,)),
        row("Node", short="no", cluster=True, status=True, subresources=(node_proxy,), key="minions"),
        row("PersistentVolume", short="pv", cluster=True, status=True),
        row("PersistentVolumeClaim", short="pvc", status=True),
        row("Pod", short="po", categories="all", status=True, subresources=pod_parts),
        row("PodTemplate"),
        row(
            "ReplicationController",
            short="rc",
            categories="all",
            status=True,
            subresources=(_scale(),),
            key="controllers",
        ),
        row("ResourceQuota", short="quota", status=True),
        row("Secret"),
        row("Service", short="svc", categories="all", status=True, subresources=(service_proxy,), key="services/specs"),
        row("ServiceAccount", short="sa", subresources=(token,)),
    ]


def _workloads() -> list[Kind]:
    apps = _Group("apps").kind
    batch = _Group("batch").kind
    autoscaling = _Group("autoscaling").kind
    autoscaling2 = _Group("autoscaling", "v2").kind
    scale = (_scale(),)
    return [
        apps("ControllerRevision"),
        apps("DaemonSet", short="ds", categories="all", status=True),
        apps("Deployment", short="deploy", categories="all", status=True, subresources=scale),
        apps("ReplicaSet", short="rs", categories="all", status=True, subresources=scale),
        apps("StatefulSet", short="sts", categories="all", status=True, subresources=scale),
        batch("CronJob", short="cj", categories="all", status=True),
        batch("Job", categories="all", status=True),
        # The preferred version of a group comes first.
        autoscaling2("HorizontalPodAutoscaler", short="hpa", categories="all", status=True),
        autoscaling("HorizontalPodAutoscaler", short="hpa", categories="all", status=True, stored_as="autoscaling/v2"),
        _Group("policy").kind("PodDisruptionBudget", short="pdb", status=True),
        _Group("scheduling.k8s.io").kind("PriorityClass", "priorityclasses", short="pc", cluster=True),
        _Group("node.k8s.io").kind("RuntimeClass", "runtimeclasses", cluster=True),
        _Group("coordination.k8s.io").kind("Lease"),
        _Group("events.k8s.io").kind("Event", short="ev", stored_as="v1"),
    ]


def _network() -> list[Kind]:
    row = _Group("networking.k8s.io").kind
    return [
        _Group("discovery.k8s.io").kind("EndpointSlice"),
        row("Ingress", "ingresses", short="ing", status=True, key="ingress"),
        row("IngressClass", "ingressclasses", cluster=True),
        row("IPAddress", "ipaddresses", short="ip", cluster=True),
        row("NetworkPolicy", "networkpolicies", short="netpol"),
        row("ServiceCIDR", cluster=True, status=True),
    ]


def _storage_and_devices() -> list[Kind]:
    storage = _Group("storage.k8s.io").kind
    resource = _Group("resource.k8s.io").kind
    return [
        storage("CSIDriver", cluster=True),
        storage("CSINode", cluster=True),
        storage("CSIStorageCapacity", "csistoragecapacities"),
        storage("StorageClass", "storageclasses", short="sc", cluster=True),
        storage("VolumeAttachment", cluster=True, status=True),
        storage("VolumeAttributesClass", "volumeattributesclasses", short="vac", cluster=True),
        resource("DeviceClass", "deviceclasses", cluster=True),
        resource("ResourceClaim", status=True),
        resource("ResourceClaimTemplate"),
        resource("ResourceSlice", cluster=True),
    ]


def _access() -> list[Kind]:
    rbac = _Group("rbac.authorization.k8s.io", contract="rbac").kind
    review = _Group("authorization.k8s.io").kind
    identity = _Group("authentication.k8s.io").kind
    create = ("create",)
    approval = Subresource("approval", "CertificateSigningRequest", _READ_WRITE)
    return [
        rbac("ClusterRole", cluster=True),
        rbac("ClusterRoleBinding", cluster=True),
        rbac("Role"),
        rbac("RoleBinding"),
        identity("SelfSubjectReview", cluster=True, verbs=create),
        identity("TokenReview", cluster=True, verbs=create),
        review("LocalSubjectAccessReview", verbs=create),
        review("SelfSubjectAccessReview", cluster=True, verbs=create),
        review("SelfSubjectRulesReview", cluster=True, verbs=create),
        review("SubjectAccessReview", cluster=True, verbs=create),
        _Group("certificates.k8s.io").kind(
            "CertificateSigningRequest", short="csr", cluster=True, status=True, subresources=(approval,)
        ),
        _Group("certificates.k8s.io", "v1beta1").kind("ClusterTrustBundle", cluster=True),
    ]


def _extension() -> list[Kind]:
    admission = _Group("admissionregistration.k8s.io").kind
    flow = _Group("flowcontrol.apiserver.k8s.io").kind
    crd = _Group("apiextensions.k8s.io", package="k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1").kind
    aggregation = _Group("apiregistration.k8s.io", package="k8s.io.kube_aggregator.pkg.apis.apiregistration.v1").kind
    extension = "api-extensions"
    old = "admissionregistration.k8s.io/v1beta1"
    plural = "mutatingadmissionpolicies", "validatingadmissionpolicies"
    return [
        admission("MutatingAdmissionPolicy", plural[0], categories=extension, cluster=True, stored_as=old),
        admission("MutatingAdmissionPolicyBinding", categories=extension, cluster=True, stored_as=old),
        admission("MutatingWebhookConfiguration", categories=extension, cluster=True),
        admission("ValidatingAdmissionPolicy", plural[1], categories=extension, cluster=True, status=True),
        admission("ValidatingAdmissionPolicyBinding", categories=extension, cluster=True),
        admission("ValidatingWebhookConfiguration", categories=extension, cluster=True),
        crd(
            "CustomResourceDefinition",
            short="crd crds",
            categories=extension,
            cluster=True,
            status=True,
            key="apiextensions.k8s.io/customresourcedefinitions",
            stored_as="apiextensions.k8s.io/v1beta1",
            encoding="json",
        ),
        aggregation(
            "APIService",
            categories=extension,
            cluster=True,
            status=True,
            key="apiregistration.k8s.io/apiservices",
            encoding="json",
        ),
        flow("FlowSchema", cluster=True, status=True),
        flow("PriorityLevelConfiguration", cluster=True, status=True),
    ]


def all_rows() -> Iterator[Kind]:
    """Every GA kind, and ClusterTrustBundle of beta; where groups share a name the preferred one comes first."""
    for group in (_core, _workloads, _network, _storage_and_devices, _access, _extension):
        yield from group()
