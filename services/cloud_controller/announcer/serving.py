"""Which nodes have endpoints of a Service, kept up by EndpointSlice. Pure."""

from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1

SERVICE_NAME = "kubernetes.io/service-name"


class ServingNodes:
    """Costs what a slice has, whenever one changes, however many there are."""

    def __init__(self) -> None:
        self._by_service: dict[str, dict[str, tuple[frozenset[str], frozenset[str]]]] = {}

    def change(self, old: discoveryv1.EndpointSlice | None, new: discoveryv1.EndpointSlice | None) -> bool:
        """A slice comes, changes or goes. Whether that matters to anybody."""
        before = self._drop(old) if old is not None else None
        if new is None:
            return before is not None
        added = (_nodes(new, terminating=False), _nodes(new, terminating=True))
        self._by_service.setdefault(_service(new), {})[new.metadata.name] = added
        return added != before or (old is not None and _service(old) != _service(new))

    def get(self, service: str) -> frozenset[str]:
        """By "namespace/name": with ready endpoints; where there are none, with those that still serve while they end.

        As the service proxy chooses them (KEP-1669).
        """
        slices = self._by_service.get(service, {}).values()
        ready = frozenset[str]().union(*(each for each, _ in slices))
        return ready or frozenset[str]().union(*(ending for _, ending in slices))

    def _drop(self, slice_: discoveryv1.EndpointSlice) -> tuple[frozenset[str], frozenset[str]] | None:
        service = _service(slice_)
        slices = self._by_service.get(service, {})
        dropped = slices.pop(slice_.metadata.name, None)
        if not slices:
            self._by_service.pop(service, None)
        return dropped


def _service(slice_: discoveryv1.EndpointSlice) -> str:
    return f"{slice_.metadata.namespace}/{slice_.metadata.labels.get(SERVICE_NAME, '')}"


def _nodes(slice_: discoveryv1.EndpointSlice, *, terminating: bool) -> frozenset[str]:
    def counts(conditions: discoveryv1.EndpointConditions) -> bool:
        if terminating:
            return conditions.terminating and conditions.serving
        # What is not said is taken for ready.
        return conditions.ready or not conditions.HasField("ready")

    return frozenset(one.node_name for one in slice_.endpoints if one.node_name and counts(one.conditions))
