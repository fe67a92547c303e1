"""The messages of Events and waiting containers, worded as people and scripts know them from Kubernetes."""

import json

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.granted import Pending
from navarch.services.kubelet.core.view import Waiting

SANDBOX_CHANGED = "Pod sandbox changed, it will be killed and re-created."
REJECTED = "Pod was rejected: "
RESTART_ALL = "All containers of the Pod are ended, to be started anew"
CREATED = "Container created"
STARTED = "Container started"


def _identity(pod: corev1.Pod) -> str:
    """Pod name, namespace and uid in one word."""
    return f"{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"


def _duration(seconds: float) -> str:
    """Whole seconds as Go prints durations: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def stopping(container: str) -> str:
    """The Pod ends."""
    return f"Stopping container {container}"


def probe_failed(container: str, kind: str, *, restarts: bool) -> str:
    """A liveness or startup probe failed too often."""
    return f"Container {container} failed {kind} probe" + (", will be restarted" if restarts else "")


def definition_changed(container: str) -> str:
    """The image in the Pod's spec is another."""
    return f"Container {container} definition changed, will be restarted"


def resize_restart(container: str) -> str:
    """A container gets other resources by a restart only."""
    return f"Container {container} resize requires restart"


def resize(step: str, pod: corev1.Pod, error: str = "") -> str:
    """How far a resize is, with the resources it is about. step: started, completed, error ..."""
    containers = [
        {"name": container.name, "resources": _listed(container.resources)}
        for container in [*pod.spec.init_containers, *pod.spec.containers]
        if container in pod.spec.containers or container.restart_policy == "Always"
    ]
    told = {"containers": containers, "generation": pod.metadata.generation, **({"error": error} if error else {})}
    return f"Pod resize {step}: {json.dumps(told, separators=(',', ':'))}"


def resize_pending(pod: corev1.Pod, pending: Pending) -> str:
    """A resize that is not granted."""
    return resize(pending.reason, pod, pending.message)


def _listed(resources: corev1.ResourceRequirements) -> dict[str, dict[str, str]]:
    parts = {"limits": resources.limits, "requests": resources.requests}
    return {
        part: {name: quantity.string for name, quantity in sorted(amounts.items())}
        for part, amounts in parts.items()
        if amounts
    }


def crash_waiting(delay_s: float, container: str, pod: corev1.Pod) -> str:
    """Why a crashed container waits."""
    return f"back-off {_duration(delay_s)} restarting failed container={container} pod={_identity(pod)}"


def crash_event(container: str, pod: corev1.Pod) -> str:
    """The BackOff Event of a crashed container."""
    return f"Back-off restarting failed container {container} in pod {_identity(pod)}"


def sandbox_failed(error: str) -> str:
    """The runtime could not make a sandbox."""
    return f"Failed to create pod sandbox: {error}"


def pull_backoff(image: str) -> str:
    """The BackOff Event of a failed pull."""
    return f'Back-off pulling image "{image}"'


def pull_waiting(image: str, error: Waiting) -> str:
    """Why a container whose image could not be pulled waits."""
    return f"{pull_backoff(image)}: {error.reason}: {error.message}"


def pulling(image: str) -> str:
    """A pull begins."""
    return f'Pulling image "{image}"'


def pulled(image: str, took_s: float, size_bytes: int) -> str:
    """A pull has succeeded."""
    took = f"{took_s:.3f}s"
    return f'Successfully pulled image "{image}" in {took} ({took} including waiting). Image size: {size_bytes} bytes.'


def present(image: str) -> str:
    """No pull is needed."""
    return f'Container image "{image}" already present on machine and can be accessed by the pod'


def absent(image: str) -> str:
    """The policy forbids the pull that is needed."""
    return f'Container image "{image}" is not present with pull policy of Never'


def pull_failed(image: str, error: str) -> str:
    """A pull has failed."""
    return f'Failed to pull image "{image}": {error}'


def mount_failed(volume: str, error: str, step: str = "MountVolume.SetUp failed") -> str:
    """A volume cannot be made. step: what failed."""
    return f'{step} for volume "{volume}" : {error}'
