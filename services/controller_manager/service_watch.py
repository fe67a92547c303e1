"""Wakes a loop for the Services that a change concerns: their own, and those of their Pods.

Services and Pods find each other by indexes of labels, so the cost of a change follows the Pods behind a Service, not
the Pods or Services of a Namespace.
"""

from collections.abc import Callable

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import key_of
from navarch.services.client.context import Context
from navarch.services.client.informer import Informer
from navarch.services.controller_manager import backends, pods


class ServiceWatch:
    """Services and Pods by namespace. wake: called with the key of each Service to look at again."""

    def __init__(self, context: Context, wake: Callable[[str], None]) -> None:
        self._wake = wake
        self.services: Informer[corev1.Service] = context.informers.of(
            corev1.Service, {"selector": backends.by_selector}
        )
        self.pods: Informer[corev1.Pod] = context.informers.of(
            corev1.Pod, {"label": backends.by_label, "node": pods.by_node}
        )
        self.services.on_event(self._on_service)
        self.pods.on_event(self._on_pod)

    def behind(self, service: corev1.Service) -> list[corev1.Pod]:
        """The Pods that a Service selects."""
        # The rarest of the labels asked for leaves the fewest Pods to look at.
        found = (self.pods.by_index("label", each) for each in backends.selected(service))
        return [pod for pod in min(found, key=len, default=[]) if backends.matches(service, pod)]

    def wake_node(self, name: str) -> None:
        """Something about a Node changed that its Pods' Services care about."""
        for pod in self.pods.by_index("node", name):
            self._wake_for([pod])

    def _on_service(self, old: corev1.Service | None, new: corev1.Service | None) -> None:
        if (service := new or old) is not None:
            self._wake(key_of(service))

    def _on_pod(self, old: corev1.Pod | None, new: corev1.Pod | None) -> None:
        if old is not None and new is not None and backends.traits(old) == backends.traits(new):
            return
        self._wake_for([pod for pod in (old, new) if pod is not None])

    def _wake_for(self, present: list[corev1.Pod]) -> None:
        for label in sorted({label for pod in present for label in backends.by_label(pod)}):
            for service in self.services.by_index("selector", label):
                if any(backends.matches(service, pod) for pod in present):
                    self._wake(key_of(service))
