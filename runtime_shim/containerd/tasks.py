"""Containers as containerd's tasks: made, and removed wherever their making or removing stopped.

One containerd-shim serves all tasks of a sandbox, and ends with the last of them. While it is ending it may still be
handed a new task, and takes the socket of its successor with it. So no task of a sandbox is made while another one is
being removed, nor before a containerd-shim that was left without any has ended.
"""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from navarch.protos.containerd.services.tasks import v1_pb2 as tasksv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd import leftovers
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.world import Container, World

# How long after SIGKILL a process may take: it may be in the middle of a write to a slow disk.
KILL_TIMEOUT_S = 60.0
# How long a containerd-shim without tasks may take.
SHIM_END_S = 5.0


class Tasks:
    """The tasks of all containers."""

    def __init__(self, client: ContainerdClient, world: World) -> None:
        self._client = client
        self._world = world

    async def run(self, container: Container, request: tasksv1.CreateTaskRequest) -> int:
        """Make and start a task; its process id. Raises ShimError."""
        sandbox = container.sandbox
        async with sandbox.tasks:
            await self._ended(sandbox.ending_shim)
            sandbox.ending_shim = 0
            created = await self._client.tasks.Create(request)
            container.shim_pid = parent_of(created.pid)
        answer = await self._client.tasks.Start(tasksv1.StartRequest(container_id=container.record.id))
        pid: int = answer.pid
        return pid

    async def delete(self, container_id: str) -> None:
        """Remove a task, killing it if need be. Absent is removed. Raises ShimError."""
        container = self._world.containers.get(container_id)
        if container is None:
            await self._delete(container_id)
            return
        sandbox = container.sandbox
        async with sandbox.tasks:
            await self._delete(container_id)
            pid, container.shim_pid = container.shim_pid, 0
            others = (other.shim_pid for other in sandbox.containers.values())
            # The init of a sandbox is a task, too, and outlives all others.
            if pid and not sandbox.record.pid and pid not in others:
                sandbox.ending_shim = pid

    async def _delete(self, container_id: str) -> None:
        delete = tasksv1.DeleteTaskRequest(container_id=container_id)
        kill = tasksv1.KillRequest(container_id=container_id, signal=signal.SIGKILL, all=True)
        with contextlib.suppress(errors.NotFound):
            try:
                await self._client.tasks.Delete(delete)
            except (errors.FailedPrecondition, errors.RuntimeFailure):
                # It runs, or its containerd-shim died, which is noticed and cleaned up with the first call.
                await self._client.tasks.Kill(kill)
                await self._client.tasks.Wait(tasksv1.WaitRequest(container_id=container_id), timeout=KILL_TIMEOUT_S)
                await self._client.tasks.Delete(delete)

    async def clear(self, container_id: str) -> None:
        """End a task that containerd does not list but that an interrupted start may have left."""
        await leftovers.clear(self._client.socket, container_id, self._world.clock)

    async def _ended(self, pid: int) -> None:
        """Return when a containerd-shim has ended, or does not for too long."""
        if not leftovers.is_shim(pid):
            return
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(handle, ended.set)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), SHIM_END_S)
        finally:
            loop.remove_reader(handle)
            os.close(handle)


def parent_of(pid: int) -> int:
    """The parent of a process, of a container's: its containerd-shim; 0 for a process that has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(status.rpartition(")")[2].split()[1])
