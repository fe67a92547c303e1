"""The CRI configuration of a container."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.container_hash import container_hash
from navarch.services.kubelet.core.environment import ReadFile, environment, expand, no_files
from navarch.services.kubelet.core.linux_resources import container_resources
from navarch.services.kubelet.core.observed import (
    CONTAINER_LABEL,
    GRACE_ANNOTATION,
    HASH_ANNOTATION,
    MESSAGE_PATH_ANNOTATION,
    MESSAGE_POLICY_ANNOTATION,
    RESTART_COUNT_ANNOTATION,
)
from navarch.services.kubelet.core.paths import log_path
from navarch.services.kubelet.core.references import Lookup, NodeContext
from navarch.services.kubelet.core.sandbox_config import pod_labels
from navarch.services.kubelet.core.security import container_security

PROPAGATION = {
    "": criv1.PROPAGATION_PRIVATE,
    "None": criv1.PROPAGATION_PRIVATE,
    "HostToContainer": criv1.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": criv1.PROPAGATION_BIDIRECTIONAL,
}


@dataclass(frozen=True, slots=True)
class Image:
    """An image on the node. uid and user: whom it runs as, where it says so."""

    ref: str
    uid: int | None = None
    user: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a container needs beside its spec. mounts: prepared by the volumes.

    devices: its volumes that are block devices. read_file: reads files of its Pod's volumes. target_id: of the
    container whose processes it shares. users: the Pod's own user namespace.
    """

    attempt: int
    image: Image
    pod_ips: tuple[str, ...]
    mounts: Sequence[criv1.Mount]
    target_id: str = ""
    devices: Sequence[criv1.Device] = ()
    read_file: ReadFile = no_files
    users: criv1.UserNamespace | None = None


def container_config(
    pod: corev1.Pod, container: corev1.Container, run: Run, lookup: Lookup, node: NodeContext
) -> criv1.ContainerConfig:
    """The configuration of one run. Raises ConfigError when something it names is missing."""
    variables = environment(pod, container, lookup, node, run.pod_ips, run.read_file)
    security = container_security(pod, container, run.image.uid, run.image.user, run.users, node.seccomp_root)
    if run.users is not None:
        # The files of volumes keep their owners: the Pod's root is theirs.
        for mount in run.mounts:
            mount.uidMappings.extend(run.users.uids)
            mount.gidMappings.extend(run.users.gids)
    if run.target_id:
        security.namespace_options.pid = criv1.TARGET
        security.namespace_options.target_id = run.target_id
    return criv1.ContainerConfig(
        metadata=criv1.ContainerMetadata(name=container.name, attempt=run.attempt),
        image=criv1.ImageSpec(image=run.image.ref, user_specified_image=container.image),
        command=_expanded(container.command, variables),
        args=_expanded(container.args, variables),
        working_dir=container.working_dir,
        envs=[criv1.KeyValue(key=name, value=value.encode()) for name, value in variables.items()],
        mounts=run.mounts,
        devices=run.devices,
        labels={**pod_labels(pod), CONTAINER_LABEL: container.name},
        annotations={
            HASH_ANNOTATION: container_hash(container),
            RESTART_COUNT_ANNOTATION: str(run.attempt),
            MESSAGE_PATH_ANNOTATION: container.termination_message_path,
            MESSAGE_POLICY_ANNOTATION: container.termination_message_policy,
            GRACE_ANNOTATION: str(pod.spec.termination_grace_period_seconds),
        },
        log_path=log_path(container.name, run.attempt),
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
        linux=criv1.LinuxContainerConfig(
            resources=container_resources(pod, container, node.memory_bytes, node.page_sizes),
            security_context=security,
        ),
        stop_signal=container.lifecycle.stop_signal or criv1.RUNTIME_DEFAULT,
    )


def _expanded(words: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    return [expand(word, variables) for word in words]
