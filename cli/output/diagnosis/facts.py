"""What was found out about a Pod, and which objects it needs beside itself. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import Message

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2
from navarch.services.api.printers.pods import summarize

CONFIG_MAP, SECRET, CLAIM, ACCOUNT = "ConfigMap", "Secret", "PersistentVolumeClaim", "ServiceAccount"


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that the Pod cannot start without. keys: that have to be in it; where: it is named."""

    kind: str
    name: str
    where: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known. Times are Unix seconds.

    node: its own, None when there is none; nodes, pods: all, of a Pod that has no node yet; events, owner_events: the
    oldest first; objects: by kind and name, None for what is not there; unanswered: why the kubelet told nothing.
    """

    now: float
    pod: corev1.Pod
    node: corev1.Node | None = None
    nodes: Sequence[corev1.Node] = ()
    pods: Sequence[corev1.Pod] = ()
    inspected: node_pb2.InspectResponse | None = None
    unanswered: str = ""
    events: Sequence[corev1.Event] = ()
    owner_events: Sequence[corev1.Event] = ()
    objects: Mapping[tuple[str, str], Message | None] = field(default_factory=dict)
    last_words: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """In one word, as lists of Pods have it."""
        return summarize(self.pod).reason

    @property
    def is_scheduled(self) -> bool:
        """Whether it has a node."""
        return bool(self.pod.spec.node_name)


def failed_containers(pod: corev1.Pod) -> list[str]:
    """The containers whose last run ended in failure, and that do not run now."""
    status = pod.status
    return [
        one.name
        for one in [*status.init_container_statuses, *status.container_statuses]
        if not one.state.HasField("running") and (one.state.terminated.exit_code or one.last_state.terminated.exit_code)
    ]


def references(pod: corev1.Pod) -> list[Reference]:
    """What the Pod names, and may not be absent."""
    found = [*_of_volumes(pod), *_of_environments(pod)]
    if pod.spec.service_account_name:
        found.append(Reference(ACCOUNT, pod.spec.service_account_name, "serviceAccountName"))
    return found


def _of_volumes(pod: corev1.Pod) -> Iterator[Reference]:
    for volume in pod.spec.volumes:
        source, where = volume.volume_source, f"volume {volume.name}"
        if source.HasField("config_map") and not source.config_map.optional:
            keys = tuple(item.key for item in source.config_map.items)
            yield Reference(CONFIG_MAP, source.config_map.local_object_reference.name, where, keys)
        elif source.HasField("secret") and not source.secret.optional:
            yield Reference(SECRET, source.secret.secret_name, where, tuple(item.key for item in source.secret.items))
        elif source.HasField("persistent_volume_claim"):
            yield Reference(CLAIM, source.persistent_volume_claim.claim_name, where)
        elif source.HasField("ephemeral"):
            yield Reference(CLAIM, f"{pod.metadata.name}-{volume.name}", where)
        for part in source.projected.sources:
            if part.HasField("config_map") and not part.config_map.optional:
                keys = tuple(item.key for item in part.config_map.items)
                yield Reference(CONFIG_MAP, part.config_map.local_object_reference.name, where, keys)
            elif part.HasField("secret") and not part.secret.optional:
                keys = tuple(item.key for item in part.secret.items)
                yield Reference(SECRET, part.secret.local_object_reference.name, where, keys)


def _of_environments(pod: corev1.Pod) -> Iterator[Reference]:
    for container in [*pod.spec.init_containers, *pod.spec.containers]:
        for variable in container.env:
            source, where = variable.value_from, f"container {container.name}, variable {variable.name}"
            if source.HasField("config_map_key_ref") and not source.config_map_key_ref.optional:
                key = source.config_map_key_ref
                yield Reference(CONFIG_MAP, key.local_object_reference.name, where, (key.key,))
            elif source.HasField("secret_key_ref") and not source.secret_key_ref.optional:
                secret = source.secret_key_ref
                yield Reference(SECRET, secret.local_object_reference.name, where, (secret.key,))
        for group in container.env_from:
            where = f"container {container.name}, envFrom"
            if group.HasField("config_map_ref") and not group.config_map_ref.optional:
                yield Reference(CONFIG_MAP, group.config_map_ref.local_object_reference.name, where)
            elif group.HasField("secret_ref") and not group.secret_ref.optional:
                yield Reference(SECRET, group.secret_ref.local_object_reference.name, where)
