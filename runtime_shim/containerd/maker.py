"""Makes containers: everything but the process.

A snapshot on top of the image for what the container writes, the runtime specification, and the record in
containerd that holds both together.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import orjson
from google.protobuf import any_pb2

from navarch.protos.containerd import types_pb2 as containerd_types
from navarch.protos.containerd.services.containers import v1_pb2 as containersv1
from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors, reference, signals
from navarch.runtime_shim.containerd import (
    apparmor,
    cdi,
    linux,
    lookups,
    ownership,
    sandbox_files,
    selinux,
    spec,
    users,
    volumes,
)
from navarch.runtime_shim.containerd.cgroups import Cgroups
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.features import RuntimeFeatures
from navarch.runtime_shim.containerd.handlers import Handlers
from navarch.runtime_shim.containerd.image_volumes import ImageVolumes
from navarch.runtime_shim.containerd.images.catalog import ImageContent
from navarch.runtime_shim.containerd.rootfs import OWNER, OWNER_LABEL, RootFilesystems, owned
from navarch.runtime_shim.containerd.seccomp import seccomp_of
from navarch.runtime_shim.containerd.user_namespaces import Mapping, check_ids, sandbox_mapping
from navarch.runtime_shim.containerd.world import Container, World
from navarch.runtime_shim.records import ContainerPhase

# Of so many images.
ACCOUNTS_KEPT = 64
# The labels of containerd's own CRI plugin, for tools that read them.
KIND_LABEL = "io.cri-containerd.kind"
POD_LABELS = ("io.kubernetes.pod.name", "io.kubernetes.pod.namespace", "io.kubernetes.pod.uid")


class Maker:
    """Makes containers of one containerd namespace and snapshotter."""

    def __init__(
        self,
        world: World,
        client: ContainerdClient,
        roots: RootFilesystems,
        cgroups: Cgroups,
        scratch: Path,
        handlers: Handlers,
        features: RuntimeFeatures,
        image_volumes: ImageVolumes,
        cdi_directories: Sequence[Path] = cdi.DIRECTORIES,
    ) -> None:
        self.roots = roots
        self.image_volumes = image_volumes
        self._cdi_directories = cdi_directories
        self._has_apparmor, self._has_selinux = apparmor.is_enabled(), selinux.is_enabled()
        self._world = world
        self._client = client
        self._cgroups = cgroups
        self._scratch = scratch
        self._handlers = handlers
        self._features = features
        self._accounts: dict[str, users.Accounts] = {}
        self._permitted = linux.permitted_capabilities()
        self._oom_score_floor = linux.oom_score_floor()
        wanted = ("hugetlb", "memory.swap")
        self.controllers = frozenset(name for name in wanted if cgroups.has_controller(name))

    async def make(self, container: Container, image: ImageContent) -> None:
        """From the record on disk to CREATED. Whatever stops it: `Containers.discard` removes what it made."""
        record, config, pod = container.record, container.record.config, container.sandbox.record
        record.image_id = image.image_id
        record.image_ref = _image_reference(config.image, image)
        record.stop_signal = signals.stop_signal(config.stop_signal, image.config.stop_signal)
        parent = pod.config.linux.cgroup_parent
        record.cgroup_path = self._cgroups.driver.container_group(parent, record.id)
        record.log_path = _log_path(pod.config.log_directory, config.log_path)
        self._world.state.container(record.id).mkdir(parents=True)
        self._world.state.save(record)
        mapping = sandbox_mapping(pod.config)
        container.rootfs = mounts = await self.roots.prepare(record.id, image.chain_id, mapping)
        user = users.resolve(config.linux.security_context, image.config.user, await self._accounts_of(image, mounts))
        check_ids(mapping, user.uid, (user.gid, *user.groups))
        record.uid, record.gid, record.groups = user.uid, user.gid, user.groups
        folder = self._world.state.container(record.id)
        # In threads: a volume whose server is gone holds up whoever looks at it.
        prepared = await asyncio.to_thread(volumes.prepare_mounts, config)
        config = await self.image_volumes.mount(record.id, folder, prepared, owned(), self._snapshots_for(mapping))
        for mine, mount in zip(record.config.mounts, prepared.mounts, strict=True):
            if mount.HasField("image"):
                mine.image.CopyFrom(mount.image)
        await self._add_volumes_of_image(config, image, folder, mounts, mapping)
        is_asked = any(mount.uidMappings or mount.gidMappings for mount in config.mounts)
        idmap = is_asked and (await self._features.of(pod.runtime_handler)).id_mapped_mounts
        inputs = await asyncio.to_thread(self._inputs, container, image, user, idmap)
        document = await self._specification(config, inputs)
        await self._client.containers.Create(
            containersv1.CreateContainerRequest(container=self._containerd_container(container, image, document))
        )
        container.process = orjson.dumps(document["process"])
        record.phase = ContainerPhase.CREATED
        self._world.state.save(record)

    async def _accounts_of(self, image: ImageContent, mounts: list[containerd_types.Mount]) -> users.Accounts:
        """Of the image, not of the container: the snapshot is fresh."""
        accounts = self._accounts.pop(image.chain_id, None)
        if accounts is None:
            accounts = await asyncio.to_thread(lookups.read_accounts, mounts, self._scratch)
        self._accounts[image.chain_id] = accounts
        if len(self._accounts) > ACCOUNTS_KEPT:
            del self._accounts[next(iter(self._accounts))]
        return accounts

    def _snapshots_for(self, mapping: Mapping | None) -> Callable[[str], Awaitable[str]]:
        """Which snapshot shows an image as its root's: of the host, or of a user namespace."""

        async def shown(chain_id: str) -> str:
            return chain_id if mapping is None else await self.roots.given_away(chain_id, mapping)

        return shown

    async def _add_volumes_of_image(
        self,
        config: criv1.ContainerConfig,
        image: ImageContent,
        folder: Path,
        mounts: list[containerd_types.Mount],
        mapping: Mapping | None,
    ) -> None:
        """What the image declares to be a volume and no mount covers may be written, and begins as the image has it."""
        missing = volumes.uncovered(config, image.config.volumes)
        if not missing:
            return
        sources = {path: folder / "volumes" / str(number) for number, path in enumerate(missing)}
        await asyncio.to_thread(lookups.copy_folders, mounts, self._scratch, sources)
        for path, source in sources.items():
            if mapping is not None and await self.roots.remaps():
                await asyncio.to_thread(ownership.shift, source, mapping)
            elif mapping is not None and source.stat().st_uid == 0:
                # The image has no such folder.
                os.chown(source, mapping.host_id, mapping.host_id)
            config.mounts.add(host_path=str(source), container_path=path, selinux_relabel=True)

    async def _specification(self, config: criv1.ContainerConfig, inputs: spec.Inputs) -> spec.Document:
        document = spec.build(config, inputs)
        if inputs.mapping is not None:
            await asyncio.to_thread(volumes.keep_flags, document["mounts"])
        if inputs.mount_label:
            await asyncio.to_thread(volumes.relabel, config, inputs.mount_label)
        if names := cdi.names_of(config):
            cdi.inject(document, names, await asyncio.to_thread(cdi.load, self._cdi_directories))
        return document

    def _inputs(self, container: Container, image: ImageContent, user: users.User, idmap: bool) -> spec.Inputs:
        record, pod = container.record, container.sandbox.record
        folder = self._world.state.sandbox(pod.id)
        security = record.config.linux.security_context
        namespaces = sandbox_files.container_namespaces(folder, pod.config)
        host = {"network", "ipc", "uts"} - namespaces.keys()
        options = security.namespace_options
        if options.pid != criv1.NamespaceMode.POD:
            namespaces.pop("pid", None)
        if options.pid == criv1.NamespaceMode.NODE:
            host.add("pid")
        elif options.pid == criv1.NamespaceMode.TARGET:
            if (path := self._target(container)) is None:
                host.add("pid")
            else:
                namespaces["pid"] = path
        process_label, mount_label = selinux.labels(security) if self._has_selinux else ("", "")
        return spec.Inputs(
            container_id=record.id,
            sandbox_id=pod.id,
            hostname=sandbox_files.hostname(pod.config),
            image=image.config,
            user=user,
            cgroup_path=self._cgroups.driver.runc_path(pod.config.linux.cgroup_parent, record.id),
            permitted_capabilities=self._permitted,
            namespaces=namespaces,
            host_namespaces=frozenset(host),
            files=sandbox_files.container_files(folder, pod.config),
            devices=lookups.devices(record.config),
            oom_score_floor=self._oom_score_floor,
            seccomp=seccomp_of(security, spec.capabilities(security, self._permitted)["bounding"]),
            apparmor_profile=apparmor.profile_of(security, enabled=self._has_apparmor),
            process_label=process_label,
            mount_label=mount_label,
            unified_cgroups=self._cgroups.unified,
            controllers=self.controllers,
            mapping=sandbox_mapping(pod.config),
            idmap=idmap,
        )

    def _target(self, container: Container) -> str | None:
        """The PID namespace of another container, pinned: its process may end, and another get the number."""
        target = self._world.running(container.record.config.linux.security_context.namespace_options.target_id)
        if target.sandbox is not container.sandbox:
            raise errors.InvalidArgument(f"target container {target.record.id} is of another sandbox")
        options = target.record.config.linux.security_context.namespace_options
        if options.pid == criv1.NamespaceMode.NODE:
            return None
        path = self._world.state.container(container.record.id) / "pid"
        linux.pin_pid_namespace(target.record.pid, path)
        return str(path)

    def _containerd_container(
        self, container: Container, image: ImageContent, document: spec.Document
    ) -> containersv1.Container:
        record, config, pod = container.record, container.record.config, container.sandbox.record
        mapping = sandbox_mapping(pod.config)
        labels = {key: value for key, value in config.labels.items() if key in POD_LABELS}
        return containersv1.Container(
            id=record.id,
            labels={**labels, OWNER_LABEL: OWNER, KIND_LABEL: "container"},
            image=config.image.user_specified_image or config.image.image or image.image_id,
            runtime=self._handlers.runtime(pod.runtime_handler, mapping.host_id if mapping else 0),
            spec=any_pb2.Any(type_url=spec.SPEC_TYPE, value=orjson.dumps(document)),
            snapshotter=self.roots.snapshotter,
            snapshot_key=record.id,
        )


def _log_path(folder: str, name: str) -> str:
    """Where the output goes; "" for nowhere, as where no folder is named. Raises InvalidArgument."""
    if not folder or not name:
        return ""
    if name.startswith("/") or ".." in name.split("/"):
        raise errors.InvalidArgument(f"log path {name!r} leads out of the log directory {folder}")
    return str(Path(folder) / name)


def _image_reference(asked: criv1.ImageSpec, image: ImageContent) -> str:
    """The image by repository and digest, which is what a Pod's status shows; by id where no name is known."""
    name = asked.user_specified_image or asked.image
    if reference.image_id(name):
        return image.image_id
    return f"{reference.parse(name).repository}@{image.target_digest}"
