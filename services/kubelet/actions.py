"""What probes and hooks do: run a command, ask over HTTP, TCP or gRPC.

An action returns None when it succeeded, else why not, in Kubernetes' words where scripts may look for them.
"""

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc

from navarch.protos.k8s import intstr_pb2
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure

if TYPE_CHECKING:
    import aiohttp

OUTPUT_BYTES = 10 * 1024
INT = 0
REDIRECTS = 10
REDIRECTING = (301, 302, 303, 307, 308)


def port_number(container: corev1.Container, port: intstr_pb2.IntOrString) -> int:
    """A port by number or by the name it has in the container; 0 when there is no such name."""
    if port.type == INT:
        return port.int_val
    named = (one.container_port for one in container.ports if one.name == port.str_val)
    return next(named, int(port.str_val) if port.str_val.isdigit() else 0)


async def run_exec(runtime: Runtime, container_id: str, command: list[str], timeout_s: int) -> str | None:
    """Run a command in the container; anything but exit code 0 is a failure."""
    try:
        result = await runtime.exec_sync(container_id, command, timeout_s)
    except RuntimeFailure as failure:
        if failure.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"command timed out: {' '.join(command)!r} timed out after {timeout_s}s"
        return str(failure)
    if result.exit_code == 0:
        return None
    output = (result.stdout + result.stderr)[-OUTPUT_BYTES:].decode(errors="replace").strip()
    return output or f"command {command!r} exited with {result.exit_code}"


async def run_http(
    action: corev1.HTTPGetAction, host: str, port: int, timeout_s: float, warn: Callable[[str], None]
) -> str | None:
    """GET; any answer from 200 to 399 is a success. HTTPS certificates are not checked, as documented.

    Redirects are followed within the host; one that leads elsewhere is a success with a warning.
    """
    # A client for HTTP costs memory that a node without HTTP probes need not spend.
    import aiohttp
    from yarl import URL

    scheme = (action.scheme or "HTTP").lower()
    url = f"{scheme}://{_bracketed(action.host or host)}:{port}/{action.path.lstrip('/')}"
    headers = {"User-Agent": "kube-probe/1.36", "Accept": "*/*"}
    headers.update({header.name: header.value for header in action.http_headers})
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
            for _ in range(REDIRECTS + 1):
                async with session.get(url, headers=headers, ssl=False, allow_redirects=False) as response:
                    if response.status not in REDIRECTING or "Location" not in response.headers:
                        break
                    target = response.url.join(URL(response.headers["Location"]))
                    if target.host != response.url.host:
                        warn(f"Probe terminated redirects, Response body: {await _body(response)}")
                        return None
                    url = str(target)
            else:
                return f'Get "{url}": stopped after {REDIRECTS} redirects'
            return None if 200 <= response.status < 400 else f"HTTP probe failed with statuscode: {response.status}"
    except TimeoutError:
        return f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    except (aiohttp.ClientError, OSError) as failure:
        return f'Get "{url}": {failure}'


async def _body(response: "aiohttp.ClientResponse") -> str:
    return (await response.content.read(OUTPUT_BYTES)).decode(errors="replace")


async def run_tcp(host: str, port: int, timeout_s: float) -> str | None:
    """A connection that opens is a success."""
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"dial tcp {_bracketed(host)}:{port}: i/o timeout"
    except OSError as failure:
        cause = os.strerror(failure.errno).lower() if failure.errno and failure.errno > 0 else str(failure)
        return f"dial tcp {_bracketed(host)}:{port}: connect: {cause}"
    writer.close()
    return None


async def run_grpc(host: str, port: int, service: str, timeout_s: float) -> str | None:
    """The gRPC health protocol; SERVING is a success."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    # Each probe connects anew.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"{_bracketed(host)}:{port}", options=options) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_s)
        except grpc.aio.AioRpcError as failure:
            return f"error: health rpc probe failed: {failure.details()}"
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return None
    return f"service unhealthy (responded with {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)!r})"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
