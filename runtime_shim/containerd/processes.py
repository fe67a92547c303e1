"""Further processes in running containers: ExecSync, and exec, attach and port-forward as streams.

An exec is a process of containerd's task, with pipes of its own. Its end is awaited with Tasks.Wait rather than
through events, so that none can be missed; whatever ends the call also ends the process.
"""

import asyncio
import contextlib
import secrets
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
from google.protobuf import any_pb2

from navarch.protos.containerd.services.containers import v1_pb2 as containersv1
from navarch.protos.containerd.services.tasks import v1_pb2 as tasksv1
from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd import spec
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.containers import DRAIN_TIMEOUT_S
from navarch.runtime_shim.containerd.pipes import Pipes
from navarch.runtime_shim.containerd.world import Container, World
from navarch.services.base.log import get_logger

LOG = get_logger("shim.exec")
# What ExecSync returns of both streams together; the rest is read and dropped, as the contract says. Clients take
# messages of 16 MiB, the fields' own bytes included.
OUTPUT_BYTES = (16 << 20) - 64


class Process:
    """One exec while it runs."""

    def __init__(self, client: ContainerdClient, container_id: str, exec_id: str, pipes: Pipes) -> None:
        self.pipes = pipes
        self._tasks = client.tasks
        self._ids = {"container_id": container_id, "exec_id": exec_id}
        self._end: asyncio.Future[tasksv1.WaitResponse] | None = None

    def expect_end(self) -> None:
        """Ask for its end before it is started: one that ends its container is unknown a moment later."""
        self._end = asyncio.ensure_future(self._tasks.Wait(tasksv1.WaitRequest(**self._ids), timeout=None))

    async def wait(self) -> int:
        """The exit code."""
        assert self._end is not None
        code: int = (await asyncio.shield(self._end)).exit_status
        return code

    async def forget(self) -> None:
        """Nobody asks for its end any more."""
        if self._end is not None:
            self._end.cancel()
            await asyncio.gather(self._end, return_exceptions=True)

    async def drained(self) -> None:
        """All output has been read, or what holds it outlived the process for too long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.pipes.drained.wait(), DRAIN_TIMEOUT_S)

    async def close_stdin(self) -> None:
        """Standard input ends."""
        self.pipes.close_stdin()
        with contextlib.suppress(errors.ShimError):
            await self._tasks.CloseIO(tasksv1.CloseIORequest(stdin=True, **self._ids))

    async def resize(self, width: int, height: int) -> None:
        """The terminal's new size."""
        with contextlib.suppress(errors.ShimError):
            await self._tasks.ResizePty(tasksv1.ResizePtyRequest(width=width, height=height, **self._ids))


class Processes:
    """Runs processes in containers."""

    def __init__(self, client: ContainerdClient, world: World) -> None:
        self._client = client
        self._world = world

    async def exec_sync(self, request: criv1.ExecSyncRequest) -> criv1.ExecSyncResponse:
        """Run to the end. Raises DeadlineExceeded after `timeout` seconds, if above 0; the process is killed then."""
        output: dict[str, bytearray] = {}

        def collect(stream: str, data: bytes) -> None:
            buffer = output.setdefault(stream, bytearray())
            buffer += data[: OUTPUT_BYTES - len(buffer)]

        async with self.run(request.container_id, request.cmd, collect) as process:
            try:
                code = await asyncio.wait_for(process.wait(), request.timeout if request.timeout > 0 else None)
            except TimeoutError:
                limit = f"timed out after {request.timeout} s"
                raise errors.DeadlineExceeded(f"command {list(request.cmd)} {limit}") from None
            await process.drained()
        stdout, stderr = (bytes(output.get(stream, b"")) for stream in ("stdout", "stderr"))
        # Neither stream crowds the other out of its half.
        stderr = stderr[: max(OUTPUT_BYTES // 2, OUTPUT_BYTES - len(stdout))]
        return criv1.ExecSyncResponse(stdout=stdout[: OUTPUT_BYTES - len(stderr)], stderr=stderr, exit_code=code)

    @asynccontextmanager
    async def run(
        self,
        container_id: str,
        command: Sequence[str],
        on_data: Callable[[str, bytes], None],
        *,
        stdin: bool = False,
        tty: bool = False,
    ) -> AsyncIterator[Process]:
        """A running process; leaving the block ends it and removes it. Raises NotFound, InvalidArgument ..."""
        if not command:
            raise errors.InvalidArgument("no command specified")
        container = self._world.running(container_id)
        real_id, exec_id = container.record.id, secrets.token_hex(16)
        folder = self._world.state.container(real_id) / f"exec-{exec_id}"
        pipes = Pipes(folder, stdin=stdin, tty=tty, on_data=on_data)
        process = Process(self._client, real_id, exec_id, pipes)
        try:
            await self._start(container, exec_id, command, process, folder, tty=tty)
            yield process
        finally:
            # The containerd-shim must find a reader until its process is gone.
            pipes.forget()
            await asyncio.shield(asyncio.ensure_future(self._clean_up(real_id, exec_id, process, folder)))

    async def _start(
        self, container: Container, exec_id: str, command: Sequence[str], running: Process, folder: Path, *, tty: bool
    ) -> None:
        container_id, pipes = container.record.id, running.pipes
        if not container.process:
            found = await self._client.containers.Get(containersv1.GetContainerRequest(id=container_id))
            container.process = orjson.dumps(orjson.loads(found.container.spec.value)["process"])
        process = spec.exec_process(orjson.loads(container.process), command, tty)
        folder.mkdir()
        pipes.open()
        await self._client.tasks.Exec(
            tasksv1.ExecProcessRequest(
                container_id=container_id,
                exec_id=exec_id,
                stdin=pipes.stdin,
                stdout=pipes.stdout,
                stderr=pipes.stderr,
                terminal=tty,
                spec=any_pb2.Any(type_url=spec.PROCESS_TYPE, value=orjson.dumps(process)),
            )
        )
        running.expect_end()
        try:
            await self._client.tasks.Start(tasksv1.StartRequest(container_id=container_id, exec_id=exec_id))
        except errors.ShimError as failure:
            raise errors.RuntimeFailure(f"failed to exec in container {container_id}: {failure}") from None

    async def _clean_up(self, container_id: str, exec_id: str, process: Process, folder: Path) -> None:
        await process.forget()
        tasks, ids = self._client.tasks, {"container_id": container_id, "exec_id": exec_id}
        delete = tasksv1.DeleteProcessRequest(**ids)
        kill = tasksv1.KillRequest(container_id=container_id, exec_id=exec_id, signal=signal.SIGKILL)
        try:
            with contextlib.suppress(errors.NotFound):
                try:
                    await tasks.DeleteProcess(delete)
                except (errors.FailedPrecondition, errors.RuntimeFailure):
                    # Still running.
                    await tasks.Kill(kill)
                    await tasks.Wait(tasksv1.WaitRequest(**ids))
                    await tasks.DeleteProcess(delete)
        except errors.ShimError as failure:
            LOG.warning("exec.left", container=container_id, exec=exec_id, error=failure)
        process.pipes.close()
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
