"""Removes every container and sandbox of a private containerd from the host, and all that belongs to them.

For `navarch down`: containerd may be running, stopped, or have been killed at any step, so this asks nobody. It
reads the records and bundles on disk, kills what is in their control groups and the containerd-shims, undoes
networks, and unmounts and removes what lies below the state folders. Images stay. Repeating it does no harm.

    python -m navarch.runtime_shim.containerd.purge --data-dir DIR
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd import cni, linux
from navarch.runtime_shim.containerd.cgroup_driver import group_of
from navarch.runtime_shim.containerd.cgroups import Cgroups
from navarch.runtime_shim.containerd.daemon import Layout
from navarch.runtime_shim.containerd.leftovers import keeper_processes, shim_processes
from navarch.runtime_shim.records import SandboxPhase, SandboxRecord, StateDir
from navarch.services.base.log import configure, get_logger
from navarch.services.base.mounting import mount_points, unmount

LOG = get_logger("shim.purge")
# What SIGKILL needs to take effect, disks allowing.
KILL_TIMEOUT_S = 10.0
POLL_S = 0.01


class Purge:
    """One purge of one data directory."""

    def __init__(self, layout: Layout, executor: cni.Executor, cgroups: Cgroups, cgroup_root: str = "") -> None:
        """``cgroup_root``: the group above all Pods, if it is this cluster's alone; removed with all below it."""
        self._layout = layout
        self._cgroup_root = cgroup_root
        self._state = StateDir(layout.shim_state)
        self._cni = executor
        self._cgroups = cgroups

    async def run(self) -> None:
        """Remove everything. Raises OSError for what can't be removed."""
        sandboxes = [record for _, record in self._state.sandboxes() if record is not None]
        groups = {record.cgroup_path for _, record in self._state.containers() if record is not None}
        groups |= set(self._bundle_groups())
        self._kill(groups)
        for record in sandboxes:
            await self._detach(record)
        sockets = list(self._shim_sockets())
        # In all of the data directory: memory volumes of Pods are mounted there too.
        for point in mount_points(f"{self._layout.data_dir}/"):
            unmount(point)
        for folder in (self._layout.shim_state, self._layout.state):
            shutil.rmtree(folder, ignore_errors=True)
        for path in sockets:
            path.unlink(missing_ok=True)
        for group in groups | {record.config.linux.cgroup_parent for record in sandboxes}:
            remove_upwards(self._cgroups, group)
        self._cgroups.remove(self._cgroup_root)

    def _kill(self, groups: set[str]) -> None:
        """Shims first: they would report and clean up what we are about to kill and remove."""
        deadline = time.monotonic() + KILL_TIMEOUT_S
        while time.monotonic() < deadline:
            victims = set(shim_processes(self._layout.socket)).union(*map(self._cgroups.pids, groups))
            victims |= set(keeper_processes(self._layout.shim_state))
            victims -= {os.getpid()}
            if not victims:
                return
            for pid in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(POLL_S)
        LOG.warning("purge.survivors", pids=sorted(victims))

    async def _detach(self, record: SandboxRecord) -> None:
        if not record.network or record.phase == SandboxPhase.STOPPED:
            return
        netns = self._state.sandbox(record.id) / "net"
        metadata = record.config.metadata
        path = str(netns) if linux.is_pinned(netns) else ""
        attachment = cni.Attachment(record.id, path, metadata.namespace, metadata.name, metadata.uid)
        config = cni.NetworkConfig.read(record.network["config"])
        try:
            await self._cni.delete(config, attachment, record.network["capabilities"], record.network["result"])
        except errors.ShimError as failure:
            LOG.warning("purge.network_left", sandbox=record.id, error=failure)

    def _bundles(self) -> Iterator[Path]:
        """The folders of containerd's tasks, of all its namespaces."""
        yield from sorted(self._layout.state.glob("io.containerd.runtime.v2.task/*/*"))

    def _bundle_groups(self) -> Iterator[str]:
        for bundle in self._bundles():
            try:
                document: dict[str, Any] = orjson.loads((bundle / "config.json").read_bytes())
                yield group_of(document["linux"]["cgroupsPath"])
            except (OSError, ValueError, KeyError):
                continue  # Half made: no process was ever in it.

    def _shim_sockets(self) -> Iterator[Path]:
        for bundle in self._bundles():
            with contextlib.suppress(OSError):
                yield Path((bundle / "address").read_text().removeprefix("unix://"))


def remove_upwards(cgroups: Cgroups, group: str) -> None:
    """Remove a group, and its ancestors as far as they are empty."""
    path = Path("/") / group.strip("/")
    if path != Path("/"):
        cgroups.remove(str(path))
    for ancestor in path.parents:
        if ancestor == Path("/"):
            return
        for folder in list(cgroups.folders(str(ancestor))):
            with contextlib.suppress(OSError):
                folder.rmdir()


def main(argv: list[str]) -> None:
    """Purge one data directory."""
    parser = argparse.ArgumentParser(prog="navarch-purge", description="remove all containers of a data directory")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--cgroup-root", default="", metavar="GROUP", help="remove this group with all below it")
    parser.add_argument("--cni-bin-dir", default="/usr/lib/cni:/opt/cni/bin", metavar="DIR:DIR")
    options = parser.parse_args(argv)
    configure("info", "purge")
    executor = cni.Executor([Path(entry) for entry in options.cni_bin_dir.split(":") if entry])
    layout = Layout(options.data_dir.resolve())
    asyncio.run(Purge(layout, executor, Cgroups(), options.cgroup_root).run())


if __name__ == "__main__":
    main(sys.argv[1:])
