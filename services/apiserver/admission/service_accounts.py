"""The account a Pod acts as."""

from navarch.protos.k8s.core import v1_pb2 as corev1

DEFAULT = "default"
MIRROR = "kubernetes.io/config.mirror"


def settle_service_account(pod: corev1.Pod) -> None:
    """Let a Pod that names no account run as `default`. Pods that mirror a node's own files have none."""
    if MIRROR in pod.metadata.annotations:
        return
    name = pod.spec.service_account_name or pod.spec.service_account or DEFAULT
    pod.spec.service_account_name = pod.spec.service_account = name
