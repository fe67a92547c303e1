"""CRI's URLs of streams over the simulated backend: the same server, no containers."""

from collections.abc import AsyncIterator
from itertools import count

import orjson
import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.simulated.backend import SimulatedBackend
from navarch.runtime_shim.streaming.server import StreamServer
from navarch.services.base.clock import VirtualClock
from navarch.testing.spdy_client import SpdyRefused, spdy_client

V4 = "v4.channel.k8s.io"


class Simulated:
    """A shim's streams, and a container that runs."""

    def __init__(self) -> None:
        numbers = count(1)
        self.clock = VirtualClock()
        self.backend = SimulatedBackend("10.0.0.0/24", self.clock, lambda: f"{next(numbers):064}")
        tokens = count(1)
        self.server = StreamServer(
            self.backend.runtime, self.backend.streaming, self.clock.monotonic, lambda: f"token{next(tokens)}"
        )

    async def start(self) -> None:
        await self.server.start("127.0.0.1", 0)
        runtime = self.backend.runtime
        image = criv1.ImageSpec(image="app:1")
        await self.backend.images.pull_image(criv1.PullImageRequest(image=image))
        pod = criv1.PodSandboxConfig(metadata=criv1.PodSandboxMetadata(name="web", namespace="default", uid="1"))
        self.sandbox = (await runtime.run_pod_sandbox(criv1.RunPodSandboxRequest(config=pod))).pod_sandbox_id
        config = criv1.ContainerConfig(metadata=criv1.ContainerMetadata(name="main"), image=image)
        made = criv1.CreateContainerRequest(pod_sandbox_id=self.sandbox, config=config, sandbox_config=pod)
        self.container = (await runtime.create_container(made)).container_id
        await runtime.start_container(criv1.StartContainerRequest(container_id=self.container))

    async def exec_url(self, *command: str) -> str:
        request = criv1.ExecRequest(container_id=self.container, cmd=command, stdin=True, stdout=True)
        return (await self.server.exec(request)).url


@pytest.fixture
async def shim() -> AsyncIterator[Simulated]:
    simulated = Simulated()
    await simulated.start()
    yield simulated
    await simulated.server.stop()
    await simulated.backend.stop()


async def test_exec(shim: Simulated) -> None:
    async with spdy_client(await shim.exec_url("exit", "7"), [V4]) as client:
        streams = await client.streams("error", "stdin", "stdout")
        await client.send(streams["stdin"], b"hello", ends=True)
        assert await client.all(streams["stdout"]) == b"exit 7\nhello"
        assert orjson.loads(await client.all(streams["error"]))["details"]["causes"][0]["message"] == "7"


async def test_port_forward(shim: Simulated) -> None:
    request = criv1.PortForwardRequest(pod_sandbox_id=shim.sandbox, port=[80])
    async with spdy_client((await shim.server.port_forward(request)).url, ["portforward.k8s.io"]) as client:
        headers = {"port": "80", "requestID": "0"}
        await client.open({**headers, "streamType": "error"})
        data = await client.open({**headers, "streamType": "data"})
        await client.send(data, b"hello", ends=True)
        assert await client.all(data) == b"hello"


async def test_a_url_is_good_for_a_minute(shim: Simulated) -> None:
    url = await shim.exec_url("ls")
    shim.clock.advance(60)
    with pytest.raises(SpdyRefused, match="404"):
        async with spdy_client(url, [V4]):
            pass


async def test_refusals(shim: Simulated) -> None:
    with pytest.raises(errors.NotFound):
        await shim.server.attach(criv1.AttachRequest(container_id="nosuch", stdout=True))
    with pytest.raises(errors.InvalidArgument):
        await shim.server.exec(criv1.ExecRequest(container_id=shim.container, stdout=True))
    with pytest.raises(errors.InvalidArgument):
        await shim.server.port_forward(criv1.PortForwardRequest(pod_sandbox_id=shim.sandbox, port=[65536]))
    await shim.backend.runtime.stop_pod_sandbox(criv1.StopPodSandboxRequest(pod_sandbox_id=shim.sandbox))
    with pytest.raises(errors.FailedPrecondition):
        await shim.exec_url("ls")
    with pytest.raises(errors.FailedPrecondition):
        await shim.server.port_forward(criv1.PortForwardRequest(pod_sandbox_id=shim.sandbox, port=[80]))
