"""Makes containers: everything but the process.

A snapshot on top of the image for what the container writes, the runtime specification, and the record in
containerd that holds both together.
"""

from datetime import UTC, datetime
from pathlib import Path

import orjson
from google.protobuf import any_pb2

from navarch.protos.containerd import types_pb2 as containerd_types
from navarch.protos.containerd.runc import v1_pb2 as runcv1
from navarch.protos.containerd.services.containers import v1_pb2 as containersv1
from navarch.protos.containerd.services.snapshots import v1_pb2 as snapshotsv1
from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd import linux, lookups, sandbox_files, signals, spec, users
from navarch.runtime_shim.containerd.cgroups import Cgroups
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.images import reference
from navarch.runtime_shim.containerd.images.catalog import ImageContent
from navarch.runtime_shim.containerd.records import ContainerPhase, ContainerRecord
from navarch.runtime_shim.containerd.world import Container, World

RUNTIME = "io.containerd.runc.v2"
# Marks what is ours in containerd, and keeps snapshots from its collector until we remove them.
OWNER_LABEL, OWNER = "io.navarch.runtime-shim", "container"
GC_ROOT_LABEL = "containerd.io/gc.root"
# The labels of containerd's own CRI plugin, for tools that read them.
KIND_LABEL = "io.cri-containerd.kind"
POD_LABELS = ("io.kubernetes.pod.name", "io.kubernetes.pod.namespace", "io.kubernetes.pod.uid")
# Where containers of Pods without a group of their own are counted.
DEFAULT_CGROUP_PARENT = "navarch"


class Maker:
    """Makes containers of one containerd namespace and snapshotter."""

    def __init__(
        self, world: World, client: ContainerdClient, snapshotter: str, cgroups: Cgroups, scratch: Path
    ) -> None:
        self.snapshotter = snapshotter
        self._world = world
        self._client = client
        self._cgroups = cgroups
        self._scratch = scratch
        self._accounts: dict[str, users.Accounts] = {}
        self._permitted = linux.permitted_capabilities()
        self._oom_score_floor = linux.oom_score_floor()
        wanted = ("hugetlb", "memory.swap")
        self.controllers = frozenset(name for name in wanted if cgroups.has_controller(name))

    async def make(self, container: Container, image: ImageContent) -> None:
        """From the record on disk to CREATED. Whatever stops it: `Containers.discard` removes what it made."""
        record, config = container.record, container.record.config
        record.image_id = image.image_id
        record.image_ref = _image_reference(config.image, image)
        record.stop_signal = signals.stop_signal(config.stop_signal, image.config.stop_signal)
        parent = container.sandbox.record.config.linux.cgroup_parent.strip("/") or DEFAULT_CGROUP_PARENT
        record.cgroup_path = f"/{parent}/{record.id}"
        if config.log_path:
            record.log_path = str(Path(container.sandbox.record.config.log_directory) / config.log_path)
        self._world.state.container(record.id).mkdir(parents=True)
        self._world.state.save(record)
        mounts = await self._prepare_snapshot(record.id, image.chain_id)
        user = users.resolve(config.linux.security_context, image.config.user, self._accounts_of(image, mounts))
        record.uid, record.gid, record.groups = user.uid, user.gid, user.groups
        document = spec.build(config, self._inputs(container, image, user))
        await self._client.containers.Create(
            containersv1.CreateContainerRequest(container=self._containerd_container(record, config, image, document))
        )
        record.phase = ContainerPhase.CREATED
        self._world.state.save(record)

    async def _prepare_snapshot(self, container_id: str, chain_id: str) -> list[containerd_types.Mount]:
        labels = {GC_ROOT_LABEL: f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", OWNER_LABEL: OWNER}
        request = snapshotsv1.PrepareSnapshotRequest(
            snapshotter=self.snapshotter, key=container_id, parent=chain_id, labels=labels
        )
        return list((await self._client.snapshots.Prepare(request)).mounts)

    def _accounts_of(self, image: ImageContent, mounts: list[containerd_types.Mount]) -> users.Accounts:
        """Of the image, not of the container: the snapshot is fresh."""
        if image.chain_id not in self._accounts:
            self._accounts[image.chain_id] = lookups.read_accounts(mounts, self._scratch)
        return self._accounts[image.chain_id]

    def _inputs(self, container: Container, image: ImageContent, user: users.User) -> spec.Inputs:
        record, pod = container.record, container.sandbox.record
        folder = self._world.state.sandbox(pod.id)
        security = record.config.linux.security_context
        namespaces = sandbox_files.container_namespaces(folder, pod.config)
        host = {"network", "ipc", "uts"} - namespaces.keys()
        options = security.namespace_options
        if options.pid == criv1.NamespaceMode.NODE:
            host.add("pid")
        elif options.pid == criv1.NamespaceMode.TARGET:
            namespaces["pid"] = f"/proc/{self._world.running(options.target_id).record.pid}/ns/pid"
        return spec.Inputs(
            container_id=record.id,
            sandbox_id=pod.id,
            hostname=sandbox_files.hostname(pod.config),
            image=image.config,
            user=user,
            cgroup_path=record.cgroup_path,
            permitted_capabilities=self._permitted,
            namespaces=namespaces,
            host_namespaces=frozenset(host),
            files=sandbox_files.container_files(folder, pod.config),
            devices=lookups.devices(record.config),
            oom_score_floor=self._oom_score_floor,
            seccomp=lookups.seccomp(security),
            unified_cgroups=self._cgroups.unified,
            controllers=self.controllers,
        )

    def _containerd_container(
        self, record: ContainerRecord, config: criv1.ContainerConfig, image: ImageContent, document: spec.Document
    ) -> containersv1.Container:
        options = any_pb2.Any(
            type_url=runcv1.Options.DESCRIPTOR.full_name,
            value=runcv1.Options(root=str(self._world.state.root / "runc")).SerializeToString(),
        )
        labels = {key: value for key, value in config.labels.items() if key in POD_LABELS}
        return containersv1.Container(
            id=record.id,
            labels={**labels, OWNER_LABEL: OWNER, KIND_LABEL: "container"},
            image=config.image.user_specified_image or config.image.image or image.image_id,
            runtime=containersv1.Container.Runtime(name=RUNTIME, options=options),
            spec=any_pb2.Any(type_url=spec.SPEC_TYPE, value=orjson.dumps(document)),
            snapshotter=self.snapshotter,
            snapshot_key=record.id,
        )


def _image_reference(asked: criv1.ImageSpec, image: ImageContent) -> str:
    """The image by repository and digest, which is what a Pod's status shows; by id where no name is known."""
    name = asked.user_specified_image or asked.image
    if reference.image_id(name):
        return image.image_id
    return f"{reference.parse(name).repository}@{image.target_digest}"
