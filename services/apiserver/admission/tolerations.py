"""How long a Pod stays bound to a node that is lost."""

from navarch.protos.k8s.core import v1_pb2 as corev1

SECONDS = 300
TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def add_default_tolerations(pod: corev1.Pod) -> None:
    """Tolerate a node that is not ready or unreachable for five minutes, where the Pod says nothing about it."""
    for taint in TAINTS:
        if not any(_concerns(toleration, taint) for toleration in pod.spec.tolerations):
            pod.spec.tolerations.add(key=taint, operator="Exists", effect="NoExecute", toleration_seconds=SECONDS)


def _concerns(toleration: corev1.Toleration, taint: str) -> bool:
    return toleration.key in ("", taint) and toleration.effect in ("", "NoExecute")
