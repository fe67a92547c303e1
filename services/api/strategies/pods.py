"""Pods: they start Pending, with a quality of service that follows from their resources."""

from collections.abc import Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.defaults.pods import default_pod
from navarch.services.api.pod_resources import qos_class
from navarch.services.api.strategies.hooks import Hooks, spec_changed
from navarch.services.api.validation.pod_updates import validate_pod_status_update, validate_pod_update
from navarch.services.api.validation.pods import validate_pod


def _prepare_create(pod: corev1.Pod) -> None:
    pod.status.phase = "Pending"
    pod.status.qos_class = qos_class(pod.spec)
    if pod.spec.scheduling_gates:
        pod.status.conditions.add(
            type="PodScheduled",
            status="False",
            reason="SchedulingGated",
            message="Scheduling is blocked due to non-empty scheduling gates",
        )


def _prepare_status(pod: corev1.Pod, old: corev1.Pod) -> None:
    if not pod.status.qos_class:
        pod.status.qos_class = old.status.qos_class
    pod.metadata.ClearField("owner_references")
    pod.metadata.owner_references.MergeFrom(old.metadata.owner_references)


def _warnings(pod: corev1.Pod) -> Sequence[str]:
    return template_warnings(pod.spec, "spec")


def template_warnings(spec: corev1.PodSpec, path: str) -> list[str]:
    """Say what in a PodSpec is allowed and probably a mistake."""
    found = []
    for field, containers in (("containers", spec.containers), ("initContainers", spec.init_containers)):
        for index, container in enumerate(containers):
            taken: set[str] = set()
            for place, variable in enumerate(container.env):
                if variable.name in taken:
                    found.append(
                        f"{path}.{field}[{index}].env[{place}]: hides previous definition of "
                        f'"{variable.name}", which may be dropped when using apply'
                    )
                taken.add(variable.name)
    return found


HOOKS = Hooks(
    generation=spec_changed,
    default=default_pod,
    prepare_create=_prepare_create,
    prepare_status=_prepare_status,
    validate=validate_pod,
    validate_update=validate_pod_update,
    validate_status=validate_pod_status_update,
    warnings=_warnings,
)
