"""Pods: they start Pending, with a quality of service that follows from their resources."""

from collections.abc import Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.defaults.pods import default_pod
from navarch.services.api.pod_resources import qos_class
from navarch.services.api.strategies.hooks import Hooks, Part, keep_metadata, spec_changed
from navarch.services.api.strategies.pod_warnings import pod_warnings
from navarch.services.api.validation.pod_parts import validate_ephemeral_containers, validate_resize
from navarch.services.api.validation.pod_status import validate_pod_status_update
from navarch.services.api.validation.pod_updates import validate_pod_update
from navarch.services.api.validation.pods import validate_pod


def _prepare_create(pod: corev1.Pod) -> None:
    pod.status.phase = "Pending"
    pod.status.qos_class = qos_class(pod.spec)
    if pod.spec.HasField("affinity") or pod.spec.topology_spread_constraints:
        _select_own_labels(pod)
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
    _keep_observed_generations(pod.status, old.status)


def _keep_observed_generations(status: corev1.PodStatus, old: corev1.PodStatus) -> None:
    """Reporters that do not know of generations do not take away what others said."""
    status.observed_generation = status.observed_generation or old.observed_generation
    known: dict[str, list[int]] = {}
    for condition in old.conditions:
        known.setdefault(condition.type, []).append(condition.observed_generation)
    for condition in status.conditions:
        before = known.get(condition.type)
        generation = before.pop(0) if before else 0
        condition.observed_generation = condition.observed_generation or generation


def _keep_all_but_ephemeral_containers(pod: corev1.Pod, old: corev1.Pod) -> None:
    added = list(pod.spec.ephemeral_containers)
    _keep_all(pod, old)
    pod.spec.ClearField("ephemeral_containers")
    pod.spec.ephemeral_containers.extend(added)


def _keep_all(pod: corev1.Pod, old: corev1.Pod) -> None:
    pod.spec.CopyFrom(old.spec)
    pod.status.CopyFrom(old.status)
    keep_metadata(pod, old)


def _keep_all_but_resources(pod: corev1.Pod, old: corev1.Pod) -> None:
    """Containers that were added, removed or renamed are left for validation to refuse."""
    said = corev1.PodSpec()
    said.CopyFrom(pod.spec)
    _keep_all(pod, old)
    for name in ("containers", "init_containers"):
        ours, theirs = getattr(pod.spec, name), getattr(said, name)
        if [one.name for one in ours] != [one.name for one in theirs]:
            pod.spec.ClearField(name)
            getattr(pod.spec, name).MergeFrom(theirs)
            continue
        for container, wanted in zip(ours, theirs, strict=True):
            container.resources.CopyFrom(wanted.resources)
            container.ClearField("resize_policy")
            container.resize_policy.MergeFrom(wanted.resize_policy)


def _select_own_labels(pod: corev1.Pod) -> None:
    """Let the selectors of affinity and spreading name the values that the Pod's own labels have."""
    affinity = pod.spec.affinity
    for part in (affinity.pod_affinity, affinity.pod_anti_affinity):
        weighted = part.preferred_during_scheduling_ignored_during_execution
        terms = [
            *part.required_during_scheduling_ignored_during_execution,
            *(one.pod_affinity_term for one in weighted),
        ]
        for term in terms:
            _select_keys(term, term.match_label_keys, "In", pod)
            _select_keys(term, term.mismatch_label_keys, "NotIn", pod)
    for constraint in pod.spec.topology_spread_constraints:
        _select_keys(constraint, constraint.match_label_keys, "In", pod)


def _select_keys(
    term: corev1.PodAffinityTerm | corev1.TopologySpreadConstraint, keys: Sequence[str], operator: str, pod: corev1.Pod
) -> None:
    for key in keys:
        if term.HasField("label_selector") and key in pod.metadata.labels:
            value = pod.metadata.labels[key]
            term.label_selector.match_expressions.add(key=key, operator=operator, values=[value])


HOOKS = Hooks(
    generation=spec_changed,
    default=default_pod,
    prepare_create=_prepare_create,
    prepare_status=_prepare_status,
    validate=validate_pod,
    validate_update=validate_pod_update,
    validate_status=validate_pod_status_update,
    warnings=pod_warnings,
    parts={
        "ephemeralcontainers": Part(_keep_all_but_ephemeral_containers, validate_ephemeral_containers),
        "resize": Part(_keep_all_but_resources, validate_resize),
    },
)
