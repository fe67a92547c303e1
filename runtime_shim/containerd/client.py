"""containerd's gRPC services on one channel, within one containerd namespace.

containerd picks the namespace from a request header, so an interceptor adds it to every call, together with a
deadline where the caller set none. Failures come out as `ShimError`s, with containerd's words.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import grpc

from navarch.protos.containerd.services.containers import v1_pb2_grpc as containers_grpc
from navarch.protos.containerd.services.content import v1_pb2_grpc as content_grpc
from navarch.protos.containerd.services.diff import v1_pb2_grpc as diff_grpc
from navarch.protos.containerd.services.events import v1_pb2_grpc as events_grpc
from navarch.protos.containerd.services.images import v1_pb2_grpc as images_grpc
from navarch.protos.containerd.services.introspection import v1_pb2_grpc as introspection_grpc
from navarch.protos.containerd.services.leases import v1_pb2_grpc as leases_grpc
from navarch.protos.containerd.services.snapshots import v1_pb2_grpc as snapshots_grpc
from navarch.protos.containerd.services.tasks import v1_pb2_grpc as tasks_grpc
from navarch.protos.containerd.services.version import v1_pb2_grpc as version_grpc
from navarch.runtime_shim import errors

NAMESPACE_HEADER = "containerd-namespace"
LEASE_HEADER = "containerd-lease"
# Long enough for a slow disk, short enough that a hung daemon shows up as an error.
CALL_TIMEOUT_S = 60.0

_ERRORS: dict[grpc.StatusCode, type[errors.ShimError]] = {
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidArgument,
    grpc.StatusCode.FAILED_PRECONDITION: errors.FailedPrecondition,
    grpc.StatusCode.UNIMPLEMENTED: errors.Unsupported,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ResourceExhausted,
}
_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_send_message_length", 16 << 20),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.enable_http_proxy", 0),
    # Two channels to the same socket must not share a connection: see `ContainerdClient`.
    ("grpc.use_local_subchannel_pool", 1),
]


def shim_error(failure: grpc.aio.AioRpcError) -> errors.ShimError:
    """What a failed call to containerd means to the shim's own callers."""
    kind = _ERRORS.get(failure.code(), errors.RuntimeFailure)
    return kind(failure.details() or failure.code().name)


async def call(awaitable: Any) -> Any:
    """Await a containerd call; a failure is raised as a `ShimError`."""
    try:
        return await awaitable
    except grpc.aio.AioRpcError as failure:
        raise shim_error(failure) from None


class _Stub:
    """Wraps a generated stub: unary calls get a deadline and raise `ShimError`s; streams stay raw calls."""

    def __init__(self, stub: object, namespace: str) -> None:
        self._stub = stub
        self._metadata = ((NAMESPACE_HEADER, namespace),)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._stub, name)
        unary = isinstance(method, grpc.aio.UnaryUnaryMultiCallable)

        def invoke(request: Any, *, timeout: float | None = CALL_TIMEOUT_S, lease: str = "") -> Any:
            metadata = (*self._metadata, (LEASE_HEADER, lease)) if lease else self._metadata
            if not unary:
                return method(request, metadata=metadata)
            # Without wait_for_ready, calls during a restart of containerd fail at once and say so.
            return call(method(request, timeout=timeout, metadata=metadata))

        # Next time the attribute is found without passing here.
        setattr(self, name, invoke)
        return invoke


class ContainerdClient:
    """Stubs of the services that the shim calls. One per process; usable from one event loop."""

    def __init__(self, socket: Path, namespace: str) -> None:
        self.socket = socket
        self.namespace = namespace
        self._channel = grpc.aio.insecure_channel(f"unix:{socket}", options=_CHANNEL_OPTIONS)
        # The stubs' async signatures, which `_Stub` keeps but for metadata, are known only to the type checker.
        self.containers = self._stub(containers_grpc.ContainersStub)
        self.content = self._stub(content_grpc.ContentStub)
        self.diff = self._stub(diff_grpc.DiffStub)
        self.events = self._stub(events_grpc.EventsStub)
        self.images = self._stub(images_grpc.ImagesStub)
        self.introspection = self._stub(introspection_grpc.IntrospectionStub)
        self.leases = self._stub(leases_grpc.LeasesStub)
        self.snapshots = self._stub(snapshots_grpc.SnapshotsStub)
        self.tasks = self._stub(tasks_grpc.TasksStub)
        self.version = self._stub(version_grpc.VersionStub)

    def _stub(self, stub: Callable[[grpc.aio.Channel], object]) -> Any:
        return cast(Any, _Stub(stub(self._channel), self.namespace))

    async def connected(self) -> None:
        """Return when containerd can be reached; waits for as long as that takes."""
        state = self._channel.get_state(try_to_connect=True)
        while state != grpc.ChannelConnectivity.READY:
            await self._channel.wait_for_state_change(state)
            state = self._channel.get_state(try_to_connect=True)

    async def close(self) -> None:
        """End the channel and every call on it."""
        await asyncio.shield(self._channel.close())
