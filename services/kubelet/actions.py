"""What probes and hooks do inside a Pod: run a command, open a connection, ask for health by gRPC.

An action returns None when it succeeded, else why not, in Kubernetes' words where scripts may look for them. One that
could not be carried out, so that nothing is known, raises ActionError. HTTP is in `http_actions`.
"""

import asyncio
import os

import grpc

from navarch.protos.k8s import intstr_pb2
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure

OUTPUT_BYTES = 10 * 1024
INT = 0


class ActionError(Exception):
    """The action was not carried out, through no fault of the container."""


def port_number(container: corev1.Container, port: intstr_pb2.IntOrString) -> int:
    """A port by number or by the name it has in the container. Raises ActionError when there is no such name."""
    if port.type == INT:
        return port.int_val
    named = (one.container_port for one in container.ports if one.name == port.str_val)
    number = next(named, int(port.str_val) if port.str_val.isdigit() else 0)
    if not 0 < number < 65536:
        raise ActionError(f"couldn't find port: {port.str_val!r} in container {container.name}")
    return number


async def run_exec(runtime: Runtime, container_id: str, command: list[str], timeout_s: int) -> str | None:
    """Run a command in the container; anything but exit code 0 is a failure, and so is taking too long.

    Raises ActionError where the runtime could not run it.
    """
    try:
        result = await runtime.exec_sync(container_id, command, timeout_s)
    except RuntimeFailure as failure:
        if failure.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return f'command timed out: "{" ".join(command)}" timed out after {timeout_s}s'
        raise ActionError(str(failure)) from failure
    if result.exit_code == 0:
        return None
    output = (result.stdout + result.stderr)[-OUTPUT_BYTES:].decode(errors="replace").strip()
    return output or f"command {command!r} exited with {result.exit_code}"


async def run_tcp(host: str, port: int, timeout_s: float) -> str | None:
    """A connection that opens is a success."""
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"dial tcp {bracketed(host)}:{port}: i/o timeout"
    except OSError as failure:
        cause = os.strerror(failure.errno).lower() if failure.errno and failure.errno > 0 else str(failure)
        return f"dial tcp {bracketed(host)}:{port}: connect: {cause}"
    writer.close()
    return None


async def run_grpc(host: str, port: int, service: str, timeout_s: float) -> str | None:
    """The gRPC health protocol; SERVING is a success."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    target = f"{bracketed(host)}:{port}"
    # Each probe connects anew.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        try:
            async with asyncio.timeout(timeout_s):
                await channel.channel_ready()
                stub = health_pb2_grpc.HealthStub(channel)
                answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        except TimeoutError:
            if channel.get_state() is grpc.ChannelConnectivity.READY:
                return f"timeout: health rpc did not complete within {timeout_s:g}s"
            return f'timeout: failed to connect service "{target}" within {timeout_s:g}s: context deadline exceeded'
        except grpc.aio.AioRpcError as failure:
            if failure.code() is grpc.StatusCode.UNIMPLEMENTED:
                what = "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
                return f"error: {what}: {failure.details()}"
            return f"error: health rpc probe failed: {failure.details()}"
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return None
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return f'service unhealthy (responded with "{name}")'


def bracketed(host: str) -> str:
    """A host as it stands before a colon and a port."""
    return f"[{host}]" if ":" in host else host
