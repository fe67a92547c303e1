"""Pods, nodes, Deployments and Services in words, as people know them from kubectl."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from navarch.protos.k8s import intstr_pb2
from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.labels import Selector
from navarch.services.api.meta import controller_of

Line = tuple[int, str, str]
WIDTH = 18


def _text(lines: Iterable[Line]) -> str:
    """Lines of (depth, label, value); a label without value heads a block."""
    out = []
    for depth, label, value in lines:
        indent = "  " * depth
        out.append(f"{indent}{label + ':':<{WIDTH}} {value}".rstrip() if label else f"{indent}{'':<{WIDTH}} {value}")
    return "\n".join(out) + "\n"


def pod(found: corev1.Pod) -> str:
    """A Pod with its containers, their states and why they are in them."""
    spec, status = found.spec, found.status

    def lines() -> Iterator[Line]:
        yield from _head(found.metadata)
        yield 0, "Service Account", spec.service_account_name
        yield 0, "Node", f"{spec.node_name}/{status.host_ip}" if spec.node_name else "<none>"
        yield 0, "Start Time", _time(status.start_time)
        yield from _mapping("Labels", found.metadata.labels)
        yield from _mapping("Annotations", found.metadata.annotations)
        yield 0, "Status", _phase(found)
        if status.reason:
            yield 0, "Reason", status.reason
        if status.message:
            yield 0, "Message", status.message
        yield 0, "IP", status.pod_ip or "<none>"
        if owner := controller_of(found):
            yield 0, "Controlled By", f"{owner.kind}/{owner.name}"
        states = {one.name: one for one in [*status.init_container_statuses, *status.container_statuses]}
        for title, containers in (("Init Containers", spec.init_containers), ("Containers", spec.containers)):
            if containers:
                yield 0, title, ""
            for container in containers:
                yield from _container(container, states.get(container.name))
        yield from _conditions(status.conditions)
        yield from _volumes(spec.volumes)
        yield 0, "QoS Class", status.qos_class
        yield from _mapping("Node-Selectors", spec.node_selector)
        yield from _list("Tolerations", [_toleration(one) for one in spec.tolerations])

    return _text(lines())


def _phase(found: corev1.Pod) -> str:
    if found.metadata.HasField("deletion_timestamp"):
        return f"Terminating (since {_time(found.metadata.deletion_timestamp)})"
    return found.status.phase


def _container(container: corev1.Container, status: corev1.ContainerStatus | None) -> Iterator[Line]:
    yield 1, container.name, ""
    yield 2, "Image", container.image
    if status is not None and status.image_id:
        yield 2, "Container ID", status.container_id
        yield 2, "Image ID", status.image_id
    if container.ports:
        yield 2, "Ports", ", ".join(f"{port.container_port}/{port.protocol or 'TCP'}" for port in container.ports)
    for label, words in (("Command", container.command), ("Args", container.args)):
        if words:
            yield 2, label, ""
            yield from ((3, "", line) for word in words for line in word.splitlines())
    if status is not None:
        yield from _state("State", status.state)
        if status.last_state.ByteSize():
            yield from _state("Last State", status.last_state)
        yield 2, "Ready", str(status.ready)
        yield 2, "Restart Count", str(status.restart_count)
    for label, quantities in (("Limits", container.resources.limits), ("Requests", container.resources.requests)):
        if quantities:
            yield 2, label, ""
            yield from ((3, name, quantities[name].string) for name in sorted(quantities))
    for label, probe in (
        ("Liveness", container.liveness_probe),
        ("Readiness", container.readiness_probe),
        ("Startup", container.startup_probe),
    ):
        if probe.ByteSize():
            yield 2, label, _probe(probe)
    if container.env:
        yield 2, "Environment", ""
        yield from ((3, one.name, _env_value(one)) for one in container.env)
    if container.volume_mounts:
        yield 2, "Mounts", ""
        yield from (
            (3, mount.mount_path, f"from {mount.name} ({'ro' if mount.read_only else 'rw'})")
            for mount in container.volume_mounts
        )


def _state(label: str, state: corev1.ContainerState) -> Iterator[Line]:
    if state.HasField("running"):
        yield 2, label, "Running"
        yield 3, "Started", _time(state.running.started_at)
    elif state.HasField("terminated"):
        ended = state.terminated
        yield 2, label, "Terminated"
        yield 3, "Reason", ended.reason
        if ended.message:
            yield 3, "Message", ended.message
        yield 3, "Exit Code", str(ended.exit_code)
        yield 3, "Started", _time(ended.started_at)
        yield 3, "Finished", _time(ended.finished_at)
    else:
        yield 2, label, "Waiting"
        yield 3, "Reason", state.waiting.reason
        if state.waiting.message:
            yield 3, "Message", state.waiting.message


def _probe(probe: corev1.Probe) -> str:
    handler = probe.handler
    if handler.HasField("http_get"):
        port = handler.http_get.port
        what = f"http-get :{port.str_val or port.int_val}{handler.http_get.path}"
    elif handler.HasField("tcp_socket"):
        what = f"tcp-socket :{handler.tcp_socket.port.str_val or handler.tcp_socket.port.int_val}"
    elif handler.HasField("grpc"):
        what = f"grpc :{handler.grpc.port}"
    else:
        what = f"exec [{' '.join(handler.exec.command)}]"
    return (
        f"{what} delay={probe.initial_delay_seconds}s timeout={probe.timeout_seconds}s period={probe.period_seconds}s "
        f"#success={probe.success_threshold} #failure={probe.failure_threshold}"
    )


def _env_value(one: corev1.EnvVar) -> str:
    source = one.value_from
    if source.HasField("field_ref"):
        return f"({source.field_ref.api_version}:{source.field_ref.field_path})"
    if source.HasField("secret_key_ref"):
        reference = source.secret_key_ref
        return f"<set to the key '{reference.key}' in secret '{reference.local_object_reference.name}'>"
    if source.HasField("config_map_key_ref"):
        reference_ = source.config_map_key_ref
        return f"<set to the key '{reference_.key}' of config map '{reference_.local_object_reference.name}'>"
    if source.HasField("resource_field_ref"):
        return f"({source.resource_field_ref.resource})"
    return one.value


def _volumes(volumes: Iterable[corev1.Volume]) -> Iterator[Line]:
    listed = list(volumes)
    yield 0, "Volumes", "" if listed else "<none>"
    for volume in listed:
        yield 1, volume.name, ""
        for field, value in volume.volume_source.ListFields():
            name = getattr(value, "name", "") or getattr(value, "secret_name", "") or getattr(value, "path", "")
            reference = getattr(value, "local_object_reference", None)
            yield 2, field.json_name, name or (reference.name if reference is not None else "")


def _toleration(one: corev1.Toleration) -> str:
    text = one.key + (f"={one.value}" if one.value else "") + (f":{one.effect}" if one.effect else "")
    text += f" op={one.operator}" if one.operator == "Exists" else ""
    return text + (f" for {one.toleration_seconds}s" if one.HasField("toleration_seconds") else "")


def node(found: corev1.Node) -> str:
    """A node with its conditions and resources."""
    status = found.status

    def lines() -> Iterator[Line]:
        yield from _head(found.metadata)
        yield from _mapping("Labels", found.metadata.labels)
        yield from _mapping("Annotations", found.metadata.annotations)
        yield from _list("Taints", [f"{taint.key}={taint.value}:{taint.effect}" for taint in found.spec.taints])
        yield 0, "Unschedulable", str(found.spec.unschedulable).lower()
        yield from _conditions(status.conditions)
        yield from _list("Addresses", [f"{one.type} {one.address}" for one in status.addresses])
        for label, quantities in (("Capacity", status.capacity), ("Allocatable", status.allocatable)):
            yield 0, label, ""
            yield from ((1, name, quantities[name].string) for name in sorted(quantities))
        yield 0, "System Info", ""
        yield from (
            (1, field.json_name, str(value))
            for field, value in status.node_info.ListFields()
            if field.cpp_type != field.CPPTYPE_MESSAGE
        )
        yield 0, "PodCIDR", found.spec.pod_cidr or "<none>"

    return _text(lines())


def deployment(found: appsv1.Deployment) -> str:
    """A Deployment with its counts, conditions and template."""
    spec, status = found.spec, found.status

    def lines() -> Iterator[Line]:
        yield from _head(found.metadata)
        yield 0, "CreationTimestamp", _time(found.metadata.creation_timestamp)
        yield from _mapping("Labels", found.metadata.labels)
        yield from _mapping("Annotations", found.metadata.annotations)
        yield 0, "Selector", str(Selector.of(spec.selector))
        yield (
            0,
            "Replicas",
            (
                f"{spec.replicas} desired | {status.updated_replicas} updated | {status.replicas} total | "
                f"{status.available_replicas} available | {status.unavailable_replicas} unavailable"
            ),
        )
        yield 0, "StrategyType", spec.strategy.type
        if spec.strategy.HasField("rolling_update"):
            rolling = spec.strategy.rolling_update
            limits = f"{_number(rolling.max_unavailable)} max unavailable, {_number(rolling.max_surge)} max surge"
            yield 0, "RollingUpdate", limits
        yield 0, "Pod Template", ""
        yield from _mapping("  Labels", spec.template.metadata.labels)
        yield 1, "Containers", ""
        for container in spec.template.spec.containers:
            yield from ((depth + 1, label, value) for depth, label, value in _container(container, None))
        yield from _conditions(status.conditions)

    return _text(lines())


def _number(found: intstr_pb2.IntOrString) -> str:
    return found.str_val or str(found.int_val)


def service(found: corev1.Service) -> str:
    """A Service with its addresses and ports."""
    spec = found.spec

    def lines() -> Iterator[Line]:
        yield from _head(found.metadata)
        yield from _mapping("Labels", found.metadata.labels)
        yield from _mapping("Annotations", found.metadata.annotations)
        yield from _mapping("Selector", spec.selector)
        yield 0, "Type", spec.type
        yield 0, "IPs", ", ".join(spec.cluster_ips) or "<none>"
        for port in spec.ports:
            yield 0, "Port", f"{port.name or '<unset>'}  {port.port}/{port.protocol}"
            yield 0, "TargetPort", f"{port.target_port.str_val or port.target_port.int_val}/{port.protocol}"
            if port.node_port:
                yield 0, "NodePort", f"{port.name or '<unset>'}  {port.node_port}/{port.protocol}"
        yield 0, "Session Affinity", spec.session_affinity

    return _text(lines())


def _head(meta: metav1.ObjectMeta) -> Iterator[Line]:
    yield 0, "Name", meta.name
    if meta.namespace:
        yield 0, "Namespace", meta.namespace


def _mapping(label: str, found: Mapping[str, str]) -> Iterator[Line]:
    yield from _list(label, [f"{key}={found[key]}" for key in sorted(found)])


def _list(label: str, values: list[str]) -> Iterator[Line]:
    yield 0, label, values[0] if values else "<none>"
    yield from ((0, "", value) for value in values[1:])


def _conditions(conditions: Iterable[Any]) -> Iterator[Line]:
    yield 0, "Conditions", ""
    for one in conditions:
        reason = f"  {one.reason}" if one.reason else ""
        message = f": {one.message}" if one.message else ""
        yield 1, one.type, f"{one.status}{reason}{message}"


def _time(time: metav1.Time) -> str:
    if not time.seconds:
        return ""
    return datetime.fromtimestamp(time.seconds, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")


DESCRIBERS: dict[str, Callable[[Any], str]] = {
    "Pod": pod,
    "Node": node,
    "Deployment": deployment,
    "Service": service,
}
