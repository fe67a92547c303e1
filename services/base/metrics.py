"""Prometheus metrics of a service, in a registry of its own.

Several services may live in one process (tests, `navarch lab`), so nothing registers globally. A service
makes one `Metrics`, hands it to its servers and loops, and exposes `render()` where it wants to. The series of gRPC are
named and labelled as those of Go's servers, so that their dashboards work.
"""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

# From half a millisecond (a cached read) to ten seconds (something is wrong).
LATENCY_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """A registry, and the series that every gRPC server has."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        method = ("grpc_type", "grpc_service", "grpc_method")
        self.started = self.counter("grpc_server_started", "RPCs begun.", method)
        self.handled = self.counter("grpc_server_handled", "RPCs ended, by code.", (*method, "grpc_code"))
        self.handling = self.histogram("grpc_server_handling_seconds", "Time to answer unary RPCs.", method)

    def counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        """A new counter of this registry."""
        return Counter(name, text, labels, registry=self.registry)

    def gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        """A new gauge of this registry."""
        return Gauge(name, text, labels, registry=self.registry)

    def histogram(
        self, name: str, text: str, labels: tuple[str, ...] = (), buckets: Sequence[float] = LATENCY_BUCKETS_S
    ) -> Histogram:
        """A new histogram of seconds in this registry."""
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)

    def render(self) -> bytes:
        """All series in Prometheus' text format."""
        return generate_latest(self.registry)
