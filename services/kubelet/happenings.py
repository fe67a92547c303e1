"""Reports what happens to Pods as Events, about the container where there is one."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.client.events import EventRecorder, EventType


class Happenings:
    """The Events of one kubelet. Never blocks."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder

    def tell(self, pod: corev1.Pod, type_: EventType, reason: str, message: str, container: str = "") -> None:
        """Report something about a Pod or one of its containers."""
        self._recorder.event(pod, type_, reason, message, field_path=_field_path(pod, container))


def _field_path(pod: corev1.Pod, container: str) -> str:
    if not container:
        return ""
    init = any(one.name == container for one in pod.spec.init_containers)
    return f"spec.{'initContainers' if init else 'containers'}{{{container}}}"
