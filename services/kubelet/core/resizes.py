"""Plans for a Pod whose resources are changed while it runs (KEP-1287).

Growing goes from the Pod's cgroup inwards, shrinking from the containers outwards, so that at no time the parts
have more than the whole.
"""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.observed import RUNNING, Container, Sandbox
from navarch.services.kubelet.core.orders import Order, ResizeContainer, ResizeSandbox
from navarch.services.kubelet.core.restart import is_sidecar
from navarch.services.kubelet.core.sizes import Sizes, container_sizes, must_restart, pod_sizes
from navarch.services.kubelet.core.view import View


def remember_sizes(view: View) -> None:
    """Before other resources are granted: what all that runs has now."""
    for container, run in _running(view):
        if run.sizes is None:
            view.sizes.setdefault(run.id, container_sizes(view.pod, container))
    if (box := view.runtime.ready_sandbox()) is not None:
        view.sizes.setdefault(box.id, pod_sizes(view.pod))


def outstanding(view: View) -> bool:
    """Whether something runs with other resources than were granted."""
    if view.pod.metadata.generation <= 1:
        return False
    return any(_outstanding(view, container, run) is not None for container, run in _running(view))


def restarts_for_resize(view: View, container: corev1.Container, run: Container) -> bool:
    """Whether a run has to end so that its container gets its resources."""
    wanted, actual = _outstanding(view, container, run), view.actual_sizes(run)
    return wanted is not None and actual is not None and must_restart(container, actual.changed(wanted))


def resize_orders(view: View, box: Sandbox) -> list[Order]:
    """The next step of a resize: the Pod's cgroup if it has to grow, the containers, then what it can spare."""
    if view.pod.metadata.generation <= 1:
        return []
    now, wanted = view.sizes.get(box.id), pod_sizes(view.pod)
    if now is not None and (room := now.or_more(wanted)) != now:
        return [ResizeSandbox(box.id, room)]
    orders: list[Order] = []
    for container, run in _running(view):
        sizes = _outstanding(view, container, run)
        if sizes is not None and not restarts_for_resize(view, container, run):
            orders.append(ResizeContainer(run.id, container.name, sizes))
    if not orders and now is not None and now != wanted and not outstanding(view):
        return [ResizeSandbox(box.id, wanted)]
    return orders


def _running(view: View) -> list[tuple[corev1.Container, Container]]:
    spec = view.pod.spec
    found = []
    for container in [*spec.containers, *filter(is_sidecar, spec.init_containers)]:
        run = view.runtime.latest(container.name)
        if run is not None and run.state == RUNNING:
            found.append((container, run))
    return found


def _outstanding(view: View, container: corev1.Container, run: Container) -> Sizes | None:
    """What a run should have, if it has something else."""
    actual = view.actual_sizes(run)
    if actual is None:
        return None
    wanted = container_sizes(view.pod, container)
    return wanted if wanted != actual else None
