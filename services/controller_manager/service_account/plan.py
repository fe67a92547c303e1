"""The objects that every Namespace gets. Pure."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import is_being_deleted

DEFAULT = "default"
ROOT_CA = "kube-root-ca.crt"
_CA_KEY = "ca.crt"
_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


def wants_content(namespace: corev1.Namespace) -> bool:
    """Whether objects may be put into it."""
    return not is_being_deleted(namespace) and namespace.status.phase != "Terminating"


def default_account(namespace: str) -> corev1.ServiceAccount:
    """The ServiceAccount of Pods that name none."""
    account = corev1.ServiceAccount()
    account.metadata.name, account.metadata.namespace = DEFAULT, namespace
    return account


def root_ca(namespace: str, certificate: str, current: corev1.ConfigMap | None) -> corev1.ConfigMap | None:
    """The ConfigMap to write so that it holds the cluster's root certificate; None where it does."""
    if current is not None and current.data.get(_CA_KEY) == certificate:
        return None
    wanted = corev1.ConfigMap()
    if current is not None:
        wanted.CopyFrom(current)
    wanted.metadata.name, wanted.metadata.namespace = ROOT_CA, namespace
    wanted.metadata.annotations["kubernetes.io/description"] = _DESCRIPTION
    wanted.data[_CA_KEY] = certificate
    return wanted
