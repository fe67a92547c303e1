"""Pods and what is in them."""

from collections.abc import Iterable, Iterator

from navarch.cli.output.description.lines import (
    NONE,
    Line,
    Lines,
    Plain,
    conditions,
    deeper,
    head,
    mapping,
    moment,
    quantities,
    several,
)
from navarch.protos.k8s import intstr_pb2
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import controller_of


def pod(found: corev1.Pod) -> Lines:
    """A Pod with its containers, their states and why they are in them."""
    spec, status = found.spec, found.status
    yield from head(found.metadata)
    yield Line(0, "Service Account", spec.service_account_name)
    yield Line(0, "Node", f"{spec.node_name}/{status.host_ip}" if spec.node_name else NONE)
    yield Line(0, "Start Time", moment(status.start_time))
    yield Line(0, "Status", _phase(found))
    if status.reason:
        yield Line(0, "Reason", status.reason)
    if status.message:
        yield Line(0, "Message", status.message)
    yield Line(0, "IP", status.pod_ip)
    if owner := controller_of(found):
        yield Line(0, "Controlled By", f"{owner.kind}/{owner.name}")
    states = {one.name: one for one in [*status.init_container_statuses, *status.container_statuses]}
    yield from containers("Init Containers", spec.init_containers, states)
    yield from containers("Containers", spec.containers, states)
    yield from conditions(status.conditions)
    yield from volumes(spec.volumes)
    yield Line(0, "QoS Class", status.qos_class)
    yield from mapping("Node-Selectors", spec.node_selector)
    yield from several("Tolerations", [_toleration(one) for one in spec.tolerations])


def template(found: corev1.PodTemplateSpec) -> Lines:
    """The Pods that a workload makes."""
    yield Line(0, "Pod Template")
    yield from mapping("Labels", found.metadata.labels, 1)
    if found.metadata.annotations:
        yield from mapping("Annotations", found.metadata.annotations, 1)
    yield from deeper(containers("Init Containers", found.spec.init_containers, {}))
    yield from deeper(containers("Containers", found.spec.containers, {}))
    yield from deeper(volumes(found.spec.volumes))


def containers(title: str, found: Iterable[corev1.Container], states: dict[str, corev1.ContainerStatus]) -> Lines:
    """A block of containers; nothing where there are none."""
    listed = list(found)
    if listed:
        yield Line(0, title)
    for container in listed:
        yield from _container(container, states.get(container.name))


def _phase(found: corev1.Pod) -> str:
    if found.metadata.HasField("deletion_timestamp"):
        grace = found.metadata.deletion_grace_period_seconds
        return f"Terminating (since {moment(found.metadata.deletion_timestamp)}, grace period {grace}s)"
    return found.status.phase


def _container(container: corev1.Container, status: corev1.ContainerStatus | None) -> Lines:
    yield Line(1, container.name)
    if status is not None and status.container_id:
        yield Line(2, "Container ID", status.container_id)
    yield Line(2, "Image", container.image)
    if status is not None and status.image_id:
        yield Line(2, "Image ID", status.image_id)
    if container.ports:
        ports = [f"{port.container_port}/{port.protocol or 'TCP'}" for port in container.ports]
        yield Line(2, "Ports", ", ".join(ports))
    for label, words in (("Command", container.command), ("Args", container.args)):
        if words:
            yield Line(2, label)
            yield from (Plain(3, line) for word in words for line in word.splitlines())
    if status is not None:
        yield from _state("State", status.state)
        if status.last_state.ByteSize():
            yield from _state("Last State", status.last_state)
        yield Line(2, "Ready", str(status.ready))
        yield Line(2, "Restart Count", str(status.restart_count))
    yield from quantities(2, "Limits", container.resources.limits)
    yield from quantities(2, "Requests", container.resources.requests)
    for label, probe in (
        ("Liveness", container.liveness_probe),
        ("Readiness", container.readiness_probe),
        ("Startup", container.startup_probe),
    ):
        if probe.ByteSize():
            yield Line(2, label, _probe(probe))
    if container.env_from:
        yield from several("Environment Variables from", [_env_from(one) for one in container.env_from], 2)
    yield Line(2, "Environment", "" if container.env else NONE)
    yield from (Line(3, one.name, _env_value(one)) for one in container.env)
    yield Line(2, "Mounts", "" if container.volume_mounts else NONE)
    for mount in container.volume_mounts:
        yield Plain(3, f"{mount.mount_path} from {mount.name} ({'ro' if mount.read_only else 'rw'})")


def _state(label: str, state: corev1.ContainerState) -> Iterator[Line]:
    if state.HasField("running"):
        yield Line(2, label, "Running")
        yield Line(3, "Started", moment(state.running.started_at))
    elif state.HasField("terminated"):
        ended = state.terminated
        yield Line(2, label, "Terminated")
        yield Line(3, "Reason", ended.reason)
        if ended.message:
            yield Line(3, "Message", ended.message)
        yield Line(3, "Exit Code", str(ended.exit_code))
        yield Line(3, "Started", moment(ended.started_at))
        yield Line(3, "Finished", moment(ended.finished_at))
    else:
        yield Line(2, label, "Waiting")
        yield Line(3, "Reason", state.waiting.reason)
        if state.waiting.message:
            yield Line(3, "Message", state.waiting.message)


def _probe(probe: corev1.Probe) -> str:
    handler = probe.handler
    if handler.HasField("http_get"):
        get = handler.http_get
        what = f"http-get {get.scheme.lower() or 'http'}://{get.host}:{number(get.port)}{get.path}"
    elif handler.HasField("tcp_socket"):
        what = f"tcp-socket {handler.tcp_socket.host}:{number(handler.tcp_socket.port)}"
    elif handler.HasField("grpc"):
        what = f"grpc <pod>:{handler.grpc.port} {handler.grpc.service}".rstrip()
    else:
        what = f"exec [{' '.join(handler.exec.command)}]"
    return (
        f"{what} delay={probe.initial_delay_seconds}s timeout={probe.timeout_seconds}s period={probe.period_seconds}s "
        f"#success={probe.success_threshold} #failure={probe.failure_threshold}"
    )


def number(found: intstr_pb2.IntOrString) -> str:
    """A number, a percentage or the name of a port."""
    return found.str_val or str(found.int_val)


def _env_from(one: corev1.EnvFromSource) -> str:
    of_secret = one.HasField("secret_ref")
    name = (one.secret_ref if of_secret else one.config_map_ref).local_object_reference.name
    prefix = f" with prefix '{one.prefix}'" if one.prefix else ""
    return f"{name} {'Secret' if of_secret else 'ConfigMap'}{prefix}"


def _env_value(one: corev1.EnvVar) -> str:
    source = one.value_from
    if source.HasField("field_ref"):
        return f"({source.field_ref.api_version}:{source.field_ref.field_path})"
    if source.HasField("secret_key_ref"):
        secret = source.secret_key_ref
        return f"<set to the key '{secret.key}' in secret '{secret.local_object_reference.name}'>"
    if source.HasField("config_map_key_ref"):
        config = source.config_map_key_ref
        return f"<set to the key '{config.key}' of config map '{config.local_object_reference.name}'>"
    if source.HasField("resource_field_ref"):
        return f"({source.resource_field_ref.resource})"
    return one.value


def volumes(found: Iterable[corev1.Volume]) -> Lines:
    """Volumes with what they hold."""
    listed = list(found)
    yield Line(0, "Volumes", "" if listed else NONE)
    for volume in listed:
        source = volume.volume_source
        yield Line(1, volume.name)
        kind = next((field.json_name for field, _ in source.ListFields()), "emptyDir")
        yield Line(2, "Type", kind[0].upper() + kind[1:])
        if source.HasField("config_map"):
            yield Line(2, "Name", source.config_map.local_object_reference.name)
        elif source.HasField("secret"):
            yield Line(2, "SecretName", source.secret.secret_name)
        elif source.HasField("host_path"):
            yield Line(2, "Path", source.host_path.path)
        elif source.HasField("persistent_volume_claim"):
            yield Line(2, "ClaimName", source.persistent_volume_claim.claim_name)


def _toleration(one: corev1.Toleration) -> str:
    text = one.key + (f"={one.value}" if one.value else "") + (f":{one.effect}" if one.effect else "")
    text += " op=Exists" if one.operator == "Exists" else ""
    return text + (f" for {one.toleration_seconds}s" if one.HasField("toleration_seconds") else "")
