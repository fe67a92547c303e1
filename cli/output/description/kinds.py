"""Nodes, workloads, Services, configuration; and, as their fields, all other kinds."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from navarch.cli.output.description.lines import (
    NONE,
    Line,
    Lines,
    Plain,
    conditions,
    head,
    mapping,
    moment,
    quantities,
    several,
    table,
    text,
)
from navarch.cli.output.description.pods import number, pod, template
from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.api import codec, pod_resources
from navarch.services.api.labels import Selector
from navarch.services.api.meta import controller_of, is_controlled_by, metadata_of

Related = Sequence[Any]


def node(found: corev1.Node, pods: Related) -> Lines:
    """A node with its conditions, resources and Pods."""
    status = found.status
    yield from head(found.metadata)
    yield Line(0, "CreationTimestamp", moment(found.metadata.creation_timestamp))
    yield from several("Taints", [_taint(one) for one in found.spec.taints])
    yield Line(0, "Unschedulable", str(found.spec.unschedulable).lower())
    yield from conditions(status.conditions)
    yield Line(0, "Addresses")
    yield from (Line(1, one.type, one.address) for one in status.addresses)
    yield from quantities(0, "Capacity", status.capacity)
    yield from quantities(0, "Allocatable", status.allocatable)
    yield Line(0, "System Info")
    for field, value in status.node_info.ListFields():
        if field.cpp_type != field.CPPTYPE_MESSAGE and value:
            yield Line(1, field.json_name, str(value))
    yield Line(0, "PodCIDR", found.spec.pod_cidr or NONE)
    yield from _pods_on(found, [one for one in pods if one.status.phase not in ("Succeeded", "Failed")])


def _pods_on(found: corev1.Node, pods: Sequence[corev1.Pod]) -> Lines:
    total: dict[str, int] = {}
    rows = []
    for one in pods:
        requests = pod_resources.requests(one)
        for name, amount in requests.items():
            total[name] = total.get(name, 0) + amount
        shown = [_amount("cpu", requests.get("cpu", 0)), _amount("memory", requests.get("memory", 0))]
        rows.append([one.metadata.namespace, one.metadata.name, *shown])
    yield from table(
        f"Non-terminated Pods ({len(pods)})", ["Namespace", "Name", "CPU Requests", "Memory Requests"], rows
    )
    room = pod_resources.amounts(found.status.allocatable)
    names = ["cpu", "memory", *sorted({*total} - {"cpu", "memory"})]
    shares = [
        [name, f"{_amount(name, total.get(name, 0))} ({100 * total.get(name, 0) // max(room.get(name, 0), 1)}%)"]
        for name in names
    ]
    yield from table("Allocated resources", ["Resource", "Requests"], shares)


def _amount(resource: str, amount: int) -> str:
    if resource == "cpu":
        return f"{amount}m" if amount else "0"
    return f"{amount >> 20}Mi" if amount and amount % (1 << 20) == 0 else str(amount)


def _taint(one: corev1.Taint) -> str:
    return f"{one.key}={one.value}:{one.effect}" if one.value else f"{one.key}:{one.effect}"


def deployment(found: appsv1.Deployment, replica_sets: Related) -> Lines:
    """A Deployment with its counts, conditions, template and ReplicaSets."""
    spec, status = found.spec, found.status
    yield from head(found.metadata)
    yield Line(0, "CreationTimestamp", moment(found.metadata.creation_timestamp))
    yield Line(0, "Selector", str(Selector.of(spec.selector)))
    counts = f"{spec.replicas} desired | {status.updated_replicas} updated | {status.replicas} total | "
    counts += f"{status.available_replicas} available | {status.unavailable_replicas} unavailable"
    yield Line(0, "Replicas", counts)
    yield Line(0, "StrategyType", spec.strategy.type)
    yield Line(0, "MinReadySeconds", str(spec.min_ready_seconds))
    if spec.strategy.HasField("rolling_update"):
        rolling = spec.strategy.rolling_update
        limits = f"{number(rolling.max_unavailable)} max unavailable, {number(rolling.max_surge)} max surge"
        yield Line(0, "RollingUpdate", limits)
    yield from template(spec.template)
    yield from conditions(status.conditions)
    owned = [one for one in replica_sets if is_controlled_by(one, found) and one.spec.replicas]
    newest = max((one for one in replica_sets if is_controlled_by(one, found)), key=_revision, default=None)
    yield from several("OldReplicaSets", [_replica_set_line(one) for one in owned if one is not newest])
    yield Line(0, "NewReplicaSet", _replica_set_line(newest) if newest is not None else NONE)


def _revision(found: appsv1.ReplicaSet) -> int:
    number = found.metadata.annotations.get("deployment.kubernetes.io/revision", "")
    return int(number) if number.isdecimal() else 0


def _replica_set_line(found: appsv1.ReplicaSet) -> str:
    return f"{found.metadata.name} ({found.status.replicas}/{found.spec.replicas} replicas created)"


def replica_set(found: appsv1.ReplicaSet, _: Related) -> Lines:
    """A ReplicaSet with its counts and template."""
    yield from head(found.metadata)
    yield Line(0, "Selector", str(Selector.of(found.spec.selector)))
    if owner := controller_of(found):
        yield Line(0, "Controlled By", f"{owner.kind}/{owner.name}")
    status = found.status
    yield Line(0, "Replicas", f"{status.replicas} current / {found.spec.replicas} desired")
    yield Line(0, "Ready", f"{status.ready_replicas} ready, {status.available_replicas} available")
    yield from template(found.spec.template)
    if status.conditions:
        yield from conditions(status.conditions)


def service(found: corev1.Service, slices: Related) -> Lines:
    """A Service with its addresses, ports and endpoints."""
    spec = found.spec
    yield from head(found.metadata)
    yield from mapping("Selector", spec.selector)
    yield Line(0, "Type", spec.type)
    yield Line(0, "IPs", ", ".join(spec.cluster_ips) or NONE)
    for port in spec.ports:
        yield Line(0, "Port", f"{port.name or '<unset>'}  {port.port}/{port.protocol}")
        yield Line(0, "TargetPort", f"{number(port.target_port)}/{port.protocol}")
        if port.node_port:
            yield Line(0, "NodePort", f"{port.name or '<unset>'}  {port.node_port}/{port.protocol}")
        yield Line(0, "Endpoints", ", ".join(_endpoints(slices, port.name)) or NONE)
    yield Line(0, "Session Affinity", spec.session_affinity)


def _endpoints(slices: Iterable[discoveryv1.EndpointSlice], port_name: str) -> list[str]:
    return sorted(
        f"{address}:{port.port}"
        for one in slices
        for port in one.ports
        if port.name == port_name
        for endpoint in one.endpoints
        if not endpoint.conditions.HasField("ready") or endpoint.conditions.ready
        for address in endpoint.addresses
    )


def config_map(found: corev1.ConfigMap, _: Related) -> Lines:
    """A ConfigMap with its text, and the sizes of what is not text."""
    yield from head(found.metadata)
    yield Line(0, "Data", "" if found.data else NONE)
    for key in sorted(found.data):
        yield Line(1, key)
        yield from (Plain(2, line) for line in found.data[key].splitlines())
    yield from _sizes("BinaryData", found.binary_data)


def secret(found: corev1.Secret, _: Related) -> Lines:
    """A Secret with the sizes of its values, never the values."""
    yield from head(found.metadata)
    yield Line(0, "Type", found.type)
    yield from _sizes("Data", found.data)


def _sizes(label: str, found: Mapping[str, bytes]) -> Lines:
    yield Line(0, label, "" if found else NONE)
    yield from (Line(1, key, f"{len(found[key])} bytes") for key in sorted(found))


def fields(found: Message, _: Related) -> Lines:
    """Any object by its fields."""
    document = codec.to_json(found)
    metadata = metadata_of(found)
    yield from head(metadata)
    yield Line(0, "API Version", document.pop("apiVersion"))
    yield Line(0, "Kind", document.pop("kind"))
    yield Line(0, "Created", moment(metadata.creation_timestamp))
    document.pop("metadata", None)
    yield from _tree(document, 0)


def _tree(value: Any, depth: int) -> Lines:
    for key, child in value.items():
        label = key[0].upper() + key[1:]
        match child:
            case dict():
                yield Line(depth, label, "" if child else NONE)
                yield from _tree(child, depth + 1)
            case list() if child and isinstance(child[0], dict):
                yield Line(depth, label)
                for number, one in enumerate(child):
                    yield from [Plain(depth + 1, "-")] if number else []
                    yield from _tree(one, depth + 1)
            case list():
                yield from several(label, [str(one) for one in child], depth)
            case _:
                yield Line(depth, label, str(child))


DESCRIBERS: dict[tuple[str, str], Callable[[Any, Related], Lines]] = {
    ("", "Pod"): lambda found, _: pod(found),
    ("", "Node"): node,
    ("", "Service"): service,
    ("", "ConfigMap"): config_map,
    ("", "Secret"): secret,
    ("apps", "Deployment"): deployment,
    ("apps", "ReplicaSet"): replica_set,
}


def describe(group: str, kind: str, found: Message, related: Related) -> str:
    """One object in words. ``related``: the objects that belong to its description."""
    return text(DESCRIBERS.get((group, kind), fields)(found, related))
