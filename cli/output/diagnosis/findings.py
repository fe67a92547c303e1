"""What explains that a Pod does not run. Pure.

Each check looks for one kind of reason; the order of the checks is that in which reasons are read: where there is no
node, nothing else matters, and what a container waits for comes before what its probes say.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from navarch.cli.output.diagnosis.facts import CLAIM, Facts, references
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2
from navarch.services.api.meta import condition_is, find_condition, human_duration, unix

# What every container goes through on its way up: no reason by itself.
ON_THE_WAY = frozenset({"", "ContainerCreating", "PodInitializing"})
OF_IMAGES = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
CRASHING = "CrashLoopBackOff"
SIGNALS = 128
PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason. about: the part that it is about; text: what is wrong with it."""

    about: str
    text: str


Findings = Iterator[Finding]


def findings(facts: Facts) -> list[Finding]:
    """All reasons, the first ones first; none for a Pod that is as it should be."""
    if is_well(facts.pod):
        return []
    found = [one for check in CHECKS for one in check(facts)]
    return list(dict.fromkeys(found)) or list(_last_resort(facts))


def is_well(pod: corev1.Pod) -> bool:
    """Whether it runs and is Ready, or has run to its end as it should."""
    if pod.metadata.HasField("deletion_timestamp"):
        return False
    if pod.status.phase == "Succeeded":
        return True
    return pod.status.phase == "Running" and condition_is(pod.status.conditions, "Ready")


def _ending(facts: Facts) -> Findings:
    metadata = facts.pod.metadata
    if not metadata.HasField("deletion_timestamp"):
        return
    asked = unix(metadata.deletion_timestamp)
    late = facts.now - asked
    when = f"should be gone since {human_duration(late)}" if late > 0 else f"has {human_duration(-late)} left to end in"
    yield Finding("Pod", f"is being deleted, and {when}")
    if metadata.finalizers:
        yield Finding("Pod", f"is kept by the finalizers {', '.join(metadata.finalizers)}")


def _unscheduled(facts: Facts) -> Findings:
    pod = facts.pod
    if facts.is_scheduled or pod.status.phase == "Failed":
        return
    if gates := [gate.name for gate in pod.spec.scheduling_gates]:
        yield Finding("scheduling", f"waits until these gates are taken away: {', '.join(gates)}")
        return
    condition = find_condition(pod.status.conditions, "PodScheduled")
    if condition is not None and condition.status == "False":
        yield Finding("scheduling", condition.message or condition.reason)
    else:
        yield Finding("scheduling", f"the scheduler {pod.spec.scheduler_name} has said nothing of it yet")


def _node(facts: Facts) -> Findings:
    if not facts.is_scheduled:
        return
    about = f"node {facts.pod.spec.node_name}"
    if facts.node is None:
        yield Finding(about, "does not exist")
        return
    ready = find_condition(facts.node.status.conditions, "Ready")
    if ready is None or ready.status != "True":
        yield Finding(about, f"is not Ready: {ready.message if ready is not None else 'it has not said so yet'}")
    for condition in facts.node.status.conditions:
        if condition.type in PRESSURES and condition.status == "True":
            yield Finding(about, f"is under {condition.type}: {condition.message}")
    if facts.unanswered:
        yield Finding(about, f"its kubelet does not answer: {facts.unanswered}")


def _verdict(facts: Facts) -> Findings:
    status = facts.pod.status
    if status.reason and status.phase == "Failed":
        yield Finding("Pod", f"{status.reason}: {status.message.strip()}")


def _references(facts: Facts) -> Findings:
    if facts.pod.status.phase in ("Failed", "Succeeded"):
        return
    for one in references(facts.pod):
        known = facts.objects.get((one.kind, one.name), one)
        if known is None:
            yield Finding(f"{one.kind} {one.name}", f"does not exist ({one.where})")
        elif isinstance(known, corev1.PersistentVolumeClaim):
            yield from _claim(facts, known)
        elif isinstance(known, corev1.ConfigMap | corev1.Secret):
            yield from (
                Finding(f"{one.kind} {one.name}", f"has no key {key} ({one.where})")
                for key in one.keys
                if key not in _keys(known)
            )


def _keys(known: corev1.ConfigMap | corev1.Secret) -> set[str]:
    return {*known.data, *(known.binary_data if isinstance(known, corev1.ConfigMap) else ())}


def _claim(facts: Facts, claim: corev1.PersistentVolumeClaim) -> Findings:
    if claim.status.phase != "Bound":
        class_ = f", storage class {claim.spec.storage_class_name}" if claim.spec.storage_class_name else ""
        yield Finding(f"{CLAIM} {claim.metadata.name}", f"is {claim.status.phase or 'Pending'}{class_}")


def _orders(facts: Facts) -> Findings:
    """What the kubelet has tried in vain for the Pod as a whole."""
    if facts.inspected is None:
        return
    newest = {order.order: order for order in facts.inspected.orders if not order.subject}
    for name, about in (("PrepareVolumes", "volumes"), ("RunSandbox", "sandbox")):
        order = newest.get(name)
        if order is not None and order.reason:
            yield Finding(about, _one_line(order.message) + _next_try(facts, unix(order.retried)))


def _containers(facts: Facts) -> Findings:
    pod = facts.pod
    inspected = {one.name: one for one in facts.inspected.containers} if facts.inspected is not None else {}
    specs = {one.name: one for one in [*pod.spec.init_containers, *pod.spec.containers]}
    inits = {one.name for one in pod.spec.init_containers}
    for status in [*pod.status.init_container_statuses, *pod.status.container_statuses]:
        about = f"{'init container' if status.name in inits else 'container'} {status.name}"
        spec = specs.get(status.name, corev1.Container(name=status.name))
        for text in _container(facts, spec, status, inspected.get(status.name), status.name in inits):
            yield Finding(about, text)


def _container(
    facts: Facts,
    spec: corev1.Container,
    status: corev1.ContainerStatus,
    inspected: node_pb2.InspectedContainer | None,
    init: bool,
) -> Iterator[str]:
    state = status.state
    held = unix(inspected.held_until) if inspected is not None else 0.0
    if state.HasField("terminated"):
        if state.terminated.exit_code or (not init and facts.pod.status.phase == "Running"):
            yield _ended(state.terminated)
    elif state.HasField("running"):
        yield from _unready(facts, spec, status, inspected, init)
    elif state.waiting.reason == CRASHING:
        yield f"{_ended(status.last_state.terminated)}; {status.restart_count} restarts{_next_try(facts, held)}"
        yield from _told(facts, spec.name, "Unhealthy", "Liveness", "Startup")
    elif state.waiting.reason in OF_IMAGES:
        why = _one_line(state.waiting.message) or _one_line(_newest(facts, spec.name, "Failed"))
        yield f"{state.waiting.reason}: image {spec.image}: {why}{_next_try(facts, held)}"
    elif state.waiting.reason not in ON_THE_WAY:
        yield f"{state.waiting.reason}: {_one_line(state.waiting.message)}{_next_try(facts, held)}"


def _unready(
    facts: Facts,
    spec: corev1.Container,
    status: corev1.ContainerStatus,
    inspected: node_pb2.InspectedContainer | None,
    init: bool,
) -> Iterator[str]:
    if init and spec.restart_policy != "Always":
        since = human_duration(facts.now - unix(status.state.running.started_at))
        yield f"runs since {since}; the other containers wait for its end"
    elif not status.started and spec.HasField("startup_probe"):
        yield f"its startup probe has not succeeded yet{_because(facts, spec.name, 'Startup')}"
    elif not status.ready and spec.HasField("readiness_probe"):
        failed = inspected is not None and not inspected.probes.get("readiness", True)
        word = "fails" if failed else "has not succeeded yet"
        yield f"its readiness probe {word}{_because(facts, spec.name, 'Readiness')}"
    if status.restart_count and status.last_state.HasField("terminated"):
        yield f"was restarted {status.restart_count} times; before, it {_ended(status.last_state.terminated)}"
        yield from _told(facts, spec.name, "Unhealthy", "Liveness")


def _readiness_gates(facts: Facts) -> Findings:
    if facts.pod.status.phase != "Running":
        return
    for gate in facts.pod.spec.readiness_gates:
        if not condition_is(facts.pod.status.conditions, gate.condition_type):
            yield Finding("Pod", f"its readiness gate {gate.condition_type} is not True")


def _owner(facts: Facts) -> Findings:
    refusals = {event.message: event for event in facts.owner_events if event.reason == "FailedCreate"}
    for event in list(refusals.values())[-1:]:
        about = event.involved_object
        yield Finding(f"{about.kind} {about.name}", f"cannot make Pods: {_one_line(event.message)}")


def _last_resort(facts: Facts) -> Findings:
    """Where no check knows why: what was said last that sounds bad, else where it stands."""
    if warning := next((event for event in reversed(facts.events) if event.type == "Warning"), None):
        yield Finding("Pod", f"{warning.reason}: {_one_line(warning.message)}")
    elif facts.inspected is not None:
        pending = [order.order for order in facts.inspected.orders if not order.HasField("answered")]
        doing = f", at work on {', '.join(pending)}" if pending else ""
        yield Finding("Pod", f"is on its way: {facts.inspected.stage}{doing}")


CHECKS: tuple[Callable[[Facts], Findings], ...] = (
    _ending,
    _unscheduled,
    _node,
    _verdict,
    _references,
    _orders,
    _containers,
    _readiness_gates,
    _owner,
)


def _ended(state: corev1.ContainerStateTerminated) -> str:
    signal = state.signal or (state.exit_code - SIGNALS if state.exit_code > SIGNALS else 0)
    by = f" by signal {signal}" if signal else ""
    reason = f" ({state.reason})" if state.reason not in ("", "Error", "Completed") else ""
    message = f": {_one_line(state.message)}" if state.message.strip() else ""
    return f"ended with exit code {state.exit_code}{by}{reason}{message}"


def _next_try(facts: Facts, at: float) -> str:
    return f"; next try in {human_duration(at - facts.now)}" if at > facts.now else ""


def _newest(facts: Facts, container: str, reason: str, word: str = "") -> str:
    """What was last said of a container."""
    for event in reversed(facts.events):
        about = event.involved_object.field_path
        if event.reason == reason and f"{{{container}}}" in about and event.message.startswith(word):
            return event.message
    return ""


def _because(facts: Facts, container: str, probe: str) -> str:
    message = _newest(facts, container, "Unhealthy", probe)
    return f": {_one_line(message)}" if message else ""


def _told(facts: Facts, container: str, reason: str, *words: str) -> Iterator[str]:
    yield from filter(None, (_one_line(_newest(facts, container, reason, word)) for word in words))


def _one_line(text: str) -> str:
    return " ".join(text.split())
