"""Pods that ask for AppArmor on a host without it are refused. Pure."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.ephemeral import ephemeral_containers
from navarch.services.kubelet.core.events_text import REJECTED
from navarch.services.kubelet.core.orders import Rejected

UNCONFINED = "Unconfined"


def refuse(pod: corev1.Pod, *, enabled: bool) -> Rejected | None:
    """The refusal of a Pod that some container of asks for a profile. enabled: of the host."""
    if enabled or not any(_asked(pod, container) not in ("", UNCONFINED) for container in _containers(pod)):
        return None
    return Rejected("AppArmor", f"{REJECTED}Cannot enforce AppArmor: AppArmor is not enabled on the host")


def _containers(pod: corev1.Pod) -> list[corev1.Container]:
    return [*pod.spec.init_containers, *pod.spec.containers, *ephemeral_containers(pod)]


def _asked(pod: corev1.Pod, container: corev1.Container) -> str:
    """The type of its profile; "" for none."""
    own = container.security_context.app_armor_profile.type
    return own or pod.spec.security_context.app_armor_profile.type
