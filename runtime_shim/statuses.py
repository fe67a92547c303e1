"""Records as the contract's messages, and the contract's filters. Pure."""

from collections.abc import Mapping

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import signals
from navarch.runtime_shim.records import ContainerPhase, ContainerRecord, SandboxPhase, SandboxRecord

_STATES = {
    ContainerPhase.CREATING: criv1.ContainerState.CONTAINER_UNKNOWN,
    ContainerPhase.CREATED: criv1.ContainerState.CONTAINER_CREATED,
    ContainerPhase.RUNNING: criv1.ContainerState.CONTAINER_RUNNING,
    ContainerPhase.EXITED: criv1.ContainerState.CONTAINER_EXITED,
}


def sandbox_state(record: SandboxRecord) -> criv1.PodSandboxState:
    """READY or not."""
    ready = record.phase == SandboxPhase.READY
    return criv1.PodSandboxState.SANDBOX_READY if ready else criv1.PodSandboxState.SANDBOX_NOTREADY


def sandbox_status(record: SandboxRecord) -> criv1.PodSandboxStatus:
    """A sandbox in full."""
    network = criv1.PodSandboxNetworkStatus()
    if record.ips:
        network.ip = record.ips[0]
        network.additional_ips.extend(criv1.PodIP(ip=ip) for ip in record.ips[1:])
    options = record.config.linux.security_context.namespace_options
    return criv1.PodSandboxStatus(
        id=record.id,
        metadata=record.config.metadata,
        state=sandbox_state(record),
        created_at=record.created_at_ns,
        network=network,
        linux=criv1.LinuxPodSandboxStatus(namespaces=criv1.Namespace(options=options)),
        labels=record.config.labels,
        annotations=record.config.annotations,
        runtime_handler=record.runtime_handler,
    )


def sandbox_item(record: SandboxRecord) -> criv1.PodSandbox:
    """A sandbox in a list."""
    return criv1.PodSandbox(
        id=record.id,
        metadata=record.config.metadata,
        state=sandbox_state(record),
        created_at=record.created_at_ns,
        labels=record.config.labels,
        annotations=record.config.annotations,
        runtime_handler=record.runtime_handler,
    )


def container_status(record: ContainerRecord) -> criv1.ContainerStatus:
    """A container in full."""
    user = criv1.LinuxContainerUser(uid=record.uid, gid=record.gid, supplemental_groups=record.groups)
    return criv1.ContainerStatus(
        id=record.id,
        metadata=record.config.metadata,
        state=_STATES[record.phase],
        created_at=record.created_at_ns,
        started_at=record.started_at_ns,
        finished_at=record.finished_at_ns,
        exit_code=record.exit_code,
        image=record.config.image,
        image_ref=record.image_ref,
        image_id=record.image_id,
        reason=record.reason,
        message=record.message,
        labels=record.config.labels,
        annotations=record.config.annotations,
        mounts=record.config.mounts,
        log_path=record.log_path,
        resources=criv1.ContainerResources(linux=record.config.linux.resources),
        user=criv1.ContainerUser(linux=user),
        stop_signal=signals.cri_signal(record.stop_signal),
    )


def container_item(record: ContainerRecord) -> criv1.Container:
    """A container in a list."""
    return criv1.Container(
        id=record.id,
        pod_sandbox_id=record.sandbox_id,
        metadata=record.config.metadata,
        image=record.config.image,
        image_ref=record.image_ref,
        image_id=record.image_id,
        state=_STATES[record.phase],
        created_at=record.created_at_ns,
        labels=record.config.labels,
        annotations=record.config.annotations,
    )


def container_attributes(record: ContainerRecord) -> criv1.ContainerAttributes:
    """Who a container's statistics are about."""
    config = record.config
    return criv1.ContainerAttributes(
        id=record.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
    )


def sandbox_matches(record: SandboxRecord, wanted: criv1.PodSandboxFilter) -> bool:
    """Whether a list with this filter has the sandbox."""
    return (
        record.id.startswith(wanted.id)
        and (not wanted.HasField("state") or wanted.state.state == sandbox_state(record))
        and labels_match(record.config.labels, wanted.label_selector)
    )


def container_matches(record: ContainerRecord, wanted: criv1.ContainerFilter) -> bool:
    """Whether a list with this filter has the container."""
    return (
        record.id.startswith(wanted.id)
        and record.sandbox_id.startswith(wanted.pod_sandbox_id)
        and (not wanted.HasField("state") or wanted.state.state == _STATES[record.phase])
        and labels_match(record.config.labels, wanted.label_selector)
    )


def labels_match(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Whether each label of the selector is there with its value."""
    return all(labels.get(key) == value for key, value in selector.items())
