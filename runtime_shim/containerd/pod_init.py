"""Process 1 of Pods whose containers share a PID namespace: made, pinned and ended with the sandbox.

It is a task of containerd under the sandbox's own id, so it outlives the shim, its end is told as a container's is,
and it has nothing: an empty root file system with the program in it, no privileges, a user that nobody else is.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import orjson
from google.protobuf import any_pb2

from navarch.protos.containerd.services.containers import v1_pb2 as containersv1
from navarch.protos.containerd.services.tasks import v1_pb2 as tasksv1
from navarch.runtime_shim.containerd import init_elf, linux, spec
from navarch.runtime_shim.containerd.cgroups import Cgroups
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.handlers import Handlers
from navarch.runtime_shim.containerd.maker import KIND_LABEL
from navarch.runtime_shim.containerd.rootfs import OWNER, OWNER_LABEL
from navarch.runtime_shim.containerd.sandbox_files import container_namespaces
from navarch.runtime_shim.containerd.user_namespaces import sandbox_mapping
from navarch.runtime_shim.errors import RuntimeFailure
from navarch.runtime_shim.records import SandboxRecord

# As the kubelet has it for what a Pod can't live without.
OOM_SCORE = -998
# "nobody", in no user table.
USER = 65535
# Between runc's word that it runs, and its own program.
EXECUTED_WITHIN_S = 10.0
LOOK_S = 0.001


class PodInit:
    """Makes them."""

    def __init__(self, client: ContainerdClient, cgroups: Cgroups, handlers: Handlers, state: Path) -> None:
        """state: the shim's folder; one root file system in there serves all."""
        self._client = client
        self._cgroups = cgroups
        self._handlers = handlers
        self._root = state / "init"

    async def make(self, record: SandboxRecord, folder: Path) -> None:
        """Run it in the sandbox's other namespaces and pin its PID namespace at `folder`/pid.

        Raises ShimError, OSError. Not to be cancelled: containerd leaves things behind when its caller goes away.
        """
        making = asyncio.ensure_future(self._make(record, folder))
        try:
            await asyncio.shield(making)
        except asyncio.CancelledError:
            # Whatever came of it: the caller removes it.
            await asyncio.gather(making, return_exceptions=True)
            raise

    @staticmethod
    def lives(record: SandboxRecord, folder: Path) -> bool:
        """Whether the process is there still."""
        try:
            return os.path.samefile(f"/proc/{record.pid}/ns/pid", folder / "pid")
        except OSError:
            return False

    async def _make(self, record: SandboxRecord, folder: Path) -> None:
        self._write_program()
        container = containersv1.Container(
            id=record.id,
            labels={OWNER_LABEL: OWNER, KIND_LABEL: "sandbox"},
            runtime=self._handlers.runtime(record.runtime_handler),
            spec=any_pb2.Any(type_url=spec.SPEC_TYPE, value=orjson.dumps(self._specification(record, folder))),
        )
        await self._client.containers.Create(containersv1.CreateContainerRequest(container=container))
        await self._client.tasks.Create(tasksv1.CreateTaskRequest(container_id=record.id))
        record.pid = (await self._client.tasks.Start(tasksv1.StartRequest(container_id=record.id))).pid
        try:
            await self._executed(record.pid)
            linux.pin_pid_namespace(record.pid, folder / "pid")
        except (RuntimeFailure, OSError) as failure:
            raise RuntimeFailure(f"the init of the sandbox does not run: {failure}") from None

    async def _executed(self, pid: int) -> None:
        """Return once the process is the init: runc says that it runs a moment before. Raises OSError when it ends."""
        program = (self._root / "init").stat()
        async with asyncio.timeout(EXECUTED_WITHIN_S):
            while not os.path.samestat(os.stat(f"/proc/{pid}/exe"), program):  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(LOOK_S)

    def _specification(self, record: SandboxRecord, folder: Path) -> dict[str, Any]:
        shared = {kind: path for kind, path in container_namespaces(folder, record.config).items() if kind != "pid"}
        own = [{"type": kind} for kind in ("mount", "pid")]
        mapping = sandbox_mapping(record.config)
        user = min(USER, mapping.length - 1) if mapping else USER
        return {
            "ociVersion": spec.OCI_VERSION,
            "process": {
                "user": {"uid": user, "gid": user},
                "args": ["/init"],
                "cwd": "/",
                "noNewPrivileges": True,
                "oomScoreAdj": max(linux.oom_score_floor(), OOM_SCORE),
            },
            "root": {"path": str(self._root), "readonly": True},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=64k"]},
            ],
            "annotations": {spec.ANNOTATION_KIND: "sandbox", spec.ANNOTATION_SANDBOX: record.id},
            "linux": {
                "cgroupsPath": self._cgroups.driver.runc_path(record.config.linux.cgroup_parent, record.id),
                "namespaces": [*own, *({"type": kind, "path": path} for kind, path in shared.items())],
                "resources": {"devices": [{"allow": False, "access": "rwm"}]},
                **spec.id_mappings(mapping),
            },
        }

    def _write_program(self) -> None:
        program, wanted = self._root / "init", init_elf.program(os.uname().machine)
        if program.exists() and program.read_bytes() == wanted:
            return
        for name in ("proc", "dev"):
            (self._root / name).mkdir(parents=True, exist_ok=True)
        temporary = self._root / "init.new"
        temporary.write_bytes(wanted)
        temporary.chmod(0o755)
        temporary.replace(program)
