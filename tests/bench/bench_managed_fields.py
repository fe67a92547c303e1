"""What tracking the owners of fields adds to one write of a Pod with two containers.

python tests/bench/bench_managed_fields.py
"""

import time
from collections.abc import Callable
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.kinds import KINDS
from navarch.services.api.managed_fields import managers, messages
from navarch.services.api.managed_fields.walk import Changes
from navarch.services.api.strategy import strategy_for

ROUNDS, CALLS = 5, 400
POD = KINDS.of(corev1.Pod)


def a_pod(image: str = "registry.example/app:v1") -> corev1.Pod:
    """About 2.4 KB as JSON, before anything is filled in."""
    pod = corev1.Pod()
    pod.metadata.name, pod.metadata.namespace = "web", "default"
    pod.metadata.labels.update({"app": "web", "pod-template-hash": "abc"})
    for name in ("web", "sidecar"):
        container = pod.spec.containers.add(name=name, image=image, command=["/bin/app", "--flag"])
        for number in range(6):
            container.env.add(name=f"VAR_{number}", value="value")
        container.ports.add(name="http", container_port=8080)
        container.resources.limits["cpu"].string = "1"
        container.volume_mounts.add(name="data", mount_path="/data")
    pod.spec.volumes.add(name="data").volume_source.empty_dir.SetInParent()
    strategy_for(POD).default(pod)
    return pod


def micros(work: Callable[[], object]) -> float:
    """CPU time of one call: the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time()
        for _ in range(CALLS):
            work()
        best = min(best, (time.process_time() - begun) / CALLS)
    return best * 1e6


def main() -> None:
    """Print the table."""
    pod, manager = a_pod(), managers.updater("bench", "v1")
    images = iter(range(10**9))

    def create(made: Any) -> managers.Managed:
        return managers.update({}, Changes(messages.contents(made), {}, {}), manager, 1, "v1")

    managed = create(pod)
    entries = managers.encode(managed)
    running, other_image = corev1.Pod(), a_pod("registry.example/app:v2")
    running.CopyFrom(pod)
    running.status.phase = "Running"
    running.status.conditions.add(type="Ready", status="True")

    def update(new: Any) -> object:
        changes = messages.compare(pod, new)
        return managers.encode(managers.update(managers.decode(entries), changes, manager, 2, "v1"))

    rows: dict[str, Callable[[], object]] = {
        "create, a template seen before": lambda: managers.encode(create(pod)),
        "create, a new template": lambda: managers.encode(create(a_pod(f"app:{next(images)}"))),
        "  of that, making the Pod": a_pod,
        "update of the status": lambda: update(running),
        "update of the images": lambda: update(other_image),
    }
    for name, work in rows.items():
        print(f"{name:32} {micros(work):7.1f} us")


if __name__ == "__main__":
    main()
