"""One page about a Pod that does not run; the same as a document for programs."""

from collections.abc import Iterator, Sequence
from typing import Any

from navarch.cli.output.description.lines import Line, Lines, Plain, conditions, table, text
from navarch.cli.output.diagnosis.facts import Facts
from navarch.cli.output.diagnosis.findings import Finding
from navarch.cli.output.diagnosis.placement import against
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2
from navarch.services.api import codec
from navarch.services.api.meta import controller_of, human_duration, unix

EVENTS_SHOWN = 10


def page(facts: Facts, found: Sequence[Finding], events: Sequence[Sequence[str]]) -> str:
    """The text. events: a row for each of the Pod's: last seen, type, reason, object, message."""
    return text(_lines(facts, found, events))


def _lines(facts: Facts, found: Sequence[Finding], events: Sequence[Sequence[str]]) -> Lines:
    pod, inspected = facts.pod, facts.inspected
    yield Line(0, "Pod", f"{pod.metadata.namespace}/{pod.metadata.name}")
    yield Line(0, "Status", facts.status)
    yield Line(0, "Node", pod.spec.node_name or "<none>")
    if inspected is not None:
        yield Line(0, "Stage", " > ".join(inspected.history) or inspected.stage)
    if owner := controller_of(pod):
        yield Line(0, "Controlled By", f"{owner.kind}/{owner.name}")
    yield Line(0, "Age", human_duration(facts.now - unix(pod.metadata.creation_timestamp)))
    yield Plain(0, "")
    yield Line(0, "Why" if found else "Nothing is wrong with it")
    for number, one in enumerate(found, start=1):
        yield Plain(1, f"{number}. {one.about}: {one.text}")
    for name, words in facts.last_words.items():
        yield Plain(1, f"Last words of {name}:")
        yield from (Plain(2, line) for line in words.splitlines())
    yield Plain(0, "")
    if not facts.is_scheduled:
        rows = [[name, "; ".join(why) or "nothing that is seen here"] for name, why in _against(facts).items()]
        yield from table("Nodes", ["Name", "Against It"], rows)
    yield from _containers(facts)
    yield from conditions(pod.status.conditions)
    if inspected is not None:
        yield from _from_kubelet(facts, inspected)
    rows = [[row[0], row[1], row[2], row[-1]] for row in events[-EVENTS_SHOWN:]]
    yield from table("Events", ["Last Seen", "Type", "Reason", "Message"], rows)


def _containers(facts: Facts) -> Iterator[Line | Plain]:
    status = facts.pod.status
    states = {one.name: one for one in [*status.init_container_statuses, *status.container_statuses]}
    rows = []
    for kind, specs in (("init", facts.pod.spec.init_containers), ("main", facts.pod.spec.containers)):
        for spec in specs:
            known = states.get(spec.name, corev1.ContainerStatus())
            kind_ = "sidecar" if kind == "init" and spec.restart_policy == "Always" else kind
            ready = "yes" if known.ready else "no"
            rows.append([spec.name, kind_, spec.image, _state(known.state), ready, str(known.restart_count)])
    return table("Containers", ["Name", "Kind", "Image", "State", "Ready", "Restarts"], rows)


def _state(state: corev1.ContainerState) -> str:
    if state.HasField("running"):
        return "Running"
    if state.HasField("terminated"):
        return f"Terminated ({state.terminated.reason or state.terminated.exit_code})"
    return f"Waiting ({state.waiting.reason})" if state.waiting.reason else "Waiting"


def _from_kubelet(facts: Facts, inspected: node_pb2.InspectResponse) -> Iterator[Line | Plain]:
    rows = [[one.name, one.kind, "yes" if one.ready else "no"] for one in inspected.volumes]
    yield from table("Volumes", ["Name", "Kind", "Ready"], rows)
    rows = [
        [_ago(facts, one.given.seconds), one.order, one.subject, _outcome(one)]
        for one in inspected.orders
        if one.reason or not one.HasField("answered")
    ]
    yield from table("Kubelet's Orders", ["Given", "Order", "Of", "Outcome"], rows)


def _outcome(order: node_pb2.InspectedOrder) -> str:
    if not order.HasField("answered"):
        return "under way"
    return " ".join(f"{order.reason}: {order.message}".split())


def _ago(facts: Facts, seconds: int) -> str:
    return human_duration(facts.now - seconds)


def _against(facts: Facts) -> dict[str, list[str]]:
    return {} if facts.is_scheduled else against(facts.pod, facts.nodes, facts.pods)


def document(facts: Facts, found: Sequence[Finding]) -> dict[str, Any]:
    """The same for programs; the Pod as it is in the API."""
    inspected = facts.inspected
    return {
        "namespace": facts.pod.metadata.namespace,
        "name": facts.pod.metadata.name,
        "status": facts.status,
        "node": facts.pod.spec.node_name,
        "stage": inspected.stage if inspected is not None else "",
        "history": list(inspected.history) if inspected is not None else [],
        "reasons": [{"about": one.about, "text": one.text} for one in found],
        "lastWords": dict(facts.last_words),
        "nodes": _against(facts),
        "pod": codec.to_json(facts.pod),
        "events": [codec.to_json(event) for event in facts.events],
    }
