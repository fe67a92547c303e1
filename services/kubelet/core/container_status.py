"""The status of one container as the API shows it, from its runs."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.observed import CREATED, EXITED, Container
from navarch.services.kubelet.core.sizes import container_sizes
from navarch.services.kubelet.core.view import View, Waiting


def terminated_state(run: Container, runtime_name: str) -> corev1.ContainerStateTerminated:
    """How a run ended."""
    state = corev1.ContainerStateTerminated(
        exit_code=run.exit_code,
        reason=run.reason or ("Completed" if run.exit_code == 0 else "Error"),
        message=run.message,
        container_id=f"{runtime_name}://{run.id}",
    )
    for moment, at in ((state.started_at, run.started_at), (state.finished_at, run.finished_at)):
        moment.SetInParent()
        if at:
            moment.seconds, moment.nanos = int(at), 0
    return state


def container_status(
    view: View, container: corev1.Container, default_waiting: str, *, init: bool, runtime_name: str
) -> corev1.ContainerStatus:
    """The status of a container. default_waiting: the reason while nothing else is known."""
    run = view.runtime.latest(container.name)
    status = corev1.ContainerStatus(
        name=container.name, image=container.image, ready=False, restart_count=0, started=False
    )
    status.state.SetInParent()
    status.last_state.SetInParent()
    waiting = view.waiting.get(container.name)
    if run is not None and run.id in view.resized | view.replaced:
        # It did not come to its end: an end that the policy calls final could not be taken back.
        waiting = waiting if waiting and run.id in view.replaced else Waiting(default_waiting)
    if run is not None:
        _describe_run(view, container, run, status, runtime_name)
    if run is None or run.state == CREATED:
        status.state.waiting.reason = waiting.reason if waiting else default_waiting
        if waiting and waiting.message:
            status.state.waiting.message = waiting.message
    elif run.state == EXITED:
        ended = terminated_state(run, runtime_name)
        if waiting is not None and not view.ending:
            status.last_state.terminated.CopyFrom(ended)
            status.state.waiting.reason = waiting.reason
            status.state.waiting.message = waiting.message
        else:
            status.state.terminated.CopyFrom(ended)
    else:
        status.state.running.started_at.seconds = int(run.started_at)
        status.state.running.started_at.nanos = 0
        status.started = view.started(container, run)
        status.ready = view.ready(container, run)
    if init and container.restart_policy != "Always":
        status.ready = status.state.HasField("terminated") and status.state.terminated.exit_code == 0
    return status


def _describe_run(
    view: View, container: corev1.Container, run: Container, status: corev1.ContainerStatus, runtime_name: str
) -> None:
    status.restart_count = run.attempt
    status.container_id = f"{runtime_name}://{run.id}"
    status.image = run.image or container.image
    status.image_id = run.image_id
    previous = view.runtime.previous(container.name)
    if previous is not None and previous.state == EXITED:
        status.last_state.terminated.CopyFrom(terminated_state(previous, runtime_name))
    actual = view.actual_sizes(run) if run.alive else None
    if actual is None or actual == container_sizes(view.pod, container):
        status.resources.CopyFrom(container.resources)
    else:
        status.resources.CopyFrom(actual.shown(container.resources))
    for name, quantity in container.resources.requests.items():
        status.allocated_resources[name].CopyFrom(quantity)
    if run.stop_signal:
        status.stop_signal = run.stop_signal
    for mount in container.volume_mounts:
        entry = status.volume_mounts.add(name=mount.name, mount_path=mount.mount_path)
        if mount.read_only:
            entry.read_only = True
            entry.recursive_read_only = "Enabled" if mount.mount_path in run.recursive_read_only else "Disabled"
        if (image := dict(run.mounted_images).get(mount.mount_path)) is not None:
            entry.volume_status.image.image_ref = image
    if run.user is not None:
        status.user.linux.uid, status.user.linux.gid = run.user.uid, run.user.gid
        status.user.linux.supplemental_groups.extend(run.user.supplemental_groups)
