"""A containerd of one's own with containerd's CRI plugin in it, beside our shim on the same daemon.

For contract tests and benchmarks, which ask both the same. The shim keeps to a containerd namespace of its own, so
neither sees what the other has made. Everything lies below one short temporary folder (the paths of sockets are
limited), each side has a bridge and a subnet of its own, and all of it is gone afterwards. Needs root.

NAVARCH_CONTAINERD names another containerd than the one in PATH; its ctr and containerd-shim lie beside it.
"""

import asyncio
import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import grpc

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.cri import v1_pb2_grpc
from navarch.runtime_shim.containerd.cgroups import Cgroups
from navarch.runtime_shim.containerd.cni import Executor
from navarch.runtime_shim.containerd.daemon import UNUSED_PLUGINS, Layout, quoted
from navarch.runtime_shim.containerd.purge import Purge, remove_upwards
from navarch.testing.claim import Claim

IMAGE = "docker.io/library/busybox:navarch"
PAUSE_IMAGE = "docker.io/library/pause:navarch"
# The plugin knows no other; the shim's is its own.
PLUGIN_NAMESPACE, SHIM_NAMESPACE = "k8s.io", "shim"
SIDES = ("shim", "plugin")
CRI_PLUGIN = "io.containerd.grpc.v1.cri"
CNI_BIN_DIRS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
REPOSITORY = Path(__file__).resolve().parents[1]
SHIM = (sys.executable, "-c", "import sys; from navarch.runtime_shim.main import main; main(sys.argv[1:])")
# A second runtime handler of both sides.
OTHER_HANDLER = "other"
OTHER_CONTAINERD = "NAVARCH_CONTAINERD"
# The plugin's parts. In 2.x there are several, and it asks for NRI's, which is told to do nothing.
PLUGIN_PARTS = ("cri", "podsandbox", "nri")
START_TIMEOUT_S = 30.0
CALL_TIMEOUT_S = 60.0
POLL_S = 0.02


@dataclass
class PrivateContainerd:
    """The daemon, the shim, and the folders beside them."""

    data_dir: Path
    token: str
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    # Of tests that ask for it.
    simulated: "subprocess.Popen[bytes] | None" = None
    # Of Pods, by side.
    _networks: dict[str, Claim] = field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        """Where containerd and the shim keep their things."""
        return Layout(self.data_dir)

    @property
    def cgroup_root(self) -> str:
        """The control group above all Pods of both sides."""
        return f"/nvcri{self.token}"

    @property
    def plugin_socket(self) -> Path:
        """containerd's own CRI."""
        return self.layout.socket

    @property
    def shim_socket(self) -> Path:
        """Our CRI."""
        return self.data_dir / "cri.sock"

    @property
    def simulated_socket(self) -> Path:
        """The CRI of the simulated backend."""
        return self.data_dir / "simulated.sock"

    def cni_conf_dir(self, side: str) -> Path:
        """The network configuration of "shim" or "plugin"."""
        return self.data_dir / f"cni-{side}"

    @property
    def cni_bin_dir(self) -> Path:
        """The host's network plugins by links, and those that tests add."""
        return self.data_dir / "cni-bin"

    @property
    def other_runc(self) -> Path:
        """What the runtime handler `OTHER_HANDLER` runs: it notes its arguments beside it in "calls", and is runc."""
        return self.data_dir / "other" / "runc"

    @property
    def cdi_dir(self) -> Path:
        """Where the shim looks for specifications of devices; tests make it."""
        return self.data_dir / "cdi"

    def bridge(self, side: str) -> str:
        """The bridge of "shim" or "plugin"; its network has the same name."""
        return f"nvc{SIDES.index(side)}{self.token}"

    def ipam_dir(self, side: str) -> Path:
        """Where CNI's host-local keeps which addresses of "shim" or "plugin" are taken."""
        return self.data_dir / f"ipam-{side}"

    def start(self) -> None:
        """Start containerd and the shim; returns when both answer."""
        for number, side in enumerate(SIDES):
            network = self._networks[side] = Claim(f"10.{214 + number}", range(240))
            write_network(self.cni_conf_dir(side), self.bridge(side), f"{network}.0/24", self.ipam_dir(side))
        self._write_programs()
        self.layout.config.parent.mkdir(parents=True)
        self.layout.config.write_text(self._config())
        self.start_containerd()
        self.start_shim()

    def start_containerd(self) -> "subprocess.Popen[bytes]":
        """Start containerd, also again; returns when it answers."""
        command = ["containerd", "--config", str(self.layout.config), "--log-level", "warn"]
        process = self._spawn(command, "containerd.log")
        wait_for_cri(self.plugin_socket)
        return process

    def start_shim(self, *options: str, program: Sequence[str] = SHIM) -> "subprocess.Popen[bytes]":
        """Start the shim, also again; returns when it answers."""
        command = [
            *program,
            f"--listen={self.shim_socket}",
            f"--containerd-address={self.layout.socket}",
            f"--containerd-namespace={SHIM_NAMESPACE}",
            f"--state-dir={self.layout.shim_state}",
            f"--cni-conf-dir={self.cni_conf_dir('shim')}",
            f"--cni-bin-dir={self.cni_bin_dir}",
            f"--cdi-spec-dirs={self.cdi_dir}",
            f"--runtime-handler={OTHER_HANDLER}=io.containerd.runc.v2,BinaryName={self.other_runc}",
            *options,
        ]
        process = self._spawn(command, "shim.log")
        wait_for_cri(self.shim_socket)
        return process

    def start_simulated(self) -> None:
        """Start a shim whose containers are simulated, with the busybox image."""
        command = [*SHIM, "--backend=simulated", f"--listen={self.simulated_socket}", "--pod-cidr=10.214.0.0/16"]
        self.simulated = self._spawn(command, "simulated.log")
        self.processes.remove(self.simulated)
        wait_for_cri(self.simulated_socket)
        with grpc.insecure_channel(f"unix:{self.simulated_socket}") as channel:
            request = criv1.PullImageRequest(image=criv1.ImageSpec(image=IMAGE))
            v1_pb2_grpc.ImageServiceStub(channel).PullImage(request, timeout=CALL_TIMEOUT_S)

    def load(self, archive: Path) -> None:
        """Import an OCI archive for both sides, unpacked."""
        for namespace in (PLUGIN_NAMESPACE, SHIM_NAMESPACE):
            command = ["ctr", "--address", str(self.layout.socket), "--namespace", namespace]
            command += ["images", "import", str(archive)]
            subprocess.run(command, check=True, capture_output=True, env=environment())

    def remove(self) -> None:
        """Leave nothing of it on the host."""
        for socket in (self.shim_socket, self.plugin_socket):
            with contextlib.suppress(grpc.RpcError):
                remove_sandboxes(socket)
        for process in (*reversed(self.processes), *([self.simulated] if self.simulated else [])):
            process.kill()
            process.wait()
        asyncio.run(Purge(self.layout, Executor((self.cni_bin_dir,)), Cgroups(), self.cgroup_root).run())
        remove_upwards(Cgroups(), self.cgroup_root)
        for side in SIDES:
            subprocess.run(["ip", "link", "delete", self.bridge(side)], check=False, capture_output=True)
        shutil.rmtree(self.data_dir)
        for network in self._networks.values():
            network.close()

    def kill(self, process: "subprocess.Popen[bytes]") -> None:
        """End a process that was started here, by SIGKILL, if it has not ended yet."""
        process.kill()
        process.wait()
        self.processes.remove(process)

    def _spawn(self, command: Sequence[str], log_name: str) -> "subprocess.Popen[bytes]":
        with (self.data_dir / log_name).open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd="/", start_new_session=True, env=environment()
            )
        self.processes.append(process)
        return process

    def _write_programs(self) -> None:
        self.cni_bin_dir.mkdir()
        for program in next(folder for folder in CNI_BIN_DIRS if folder.is_dir()).iterdir():
            (self.cni_bin_dir / program.name).symlink_to(program)
        self.other_runc.parent.mkdir()
        self.other_runc.write_text(f"""#!/bin/sh\necho "$@" >> {self.other_runc.parent}/calls\nexec runc "$@"\n""")
        self.other_runc.chmod(0o755)

    def _config(self) -> str:
        """config.toml of containerd 1.6 and 1.7; version 2 of the format is read by 2.x too."""
        unused = [name for name in UNUSED_PLUGINS if not any(part in name for part in PLUGIN_PARTS)]
        plugin = f"plugins.{quoted(CRI_PLUGIN)}"
        return f"""\
version = 2
root = {quoted(self.layout.root)}
state = {quoted(self.layout.state)}
disabled_plugins = [{", ".join(map(quoted, unused))}]
[grpc]
  address = {quoted(self.layout.socket)}
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[{plugin}]
  sandbox_image = {quoted(PAUSE_IMAGE)}
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
[{plugin}.cni]
  bin_dir = {quoted(self.cni_bin_dir)}
  conf_dir = {quoted(self.cni_conf_dir("plugin"))}
[{plugin}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[{plugin}.containerd.runtimes.runc.options]
  Root = {quoted(self.data_dir / "runc")}
[{plugin}.containerd.runtimes.{OTHER_HANDLER}]
  runtime_type = "io.containerd.runc.v2"
[{plugin}.containerd.runtimes.{OTHER_HANDLER}.options]
  Root = {quoted(self.data_dir / "runc")}
  BinaryName = {quoted(self.other_runc)}
"""


def environment() -> dict[str, str]:
    """Ours, with the programs of the containerd that is asked for before all others."""
    other = os.environ.get(OTHER_CONTAINERD)
    path = os.environ.get("PATH", os.defpath)
    return {**os.environ, "PATH": f"{Path(other).parent}:{path}"} if other else dict(os.environ)


@contextlib.contextmanager
def private_containerd() -> Iterator[PrivateContainerd]:
    """Both sides, running, with the busybox image; afterwards nothing."""
    token = secrets.token_hex(3)
    containerd = PrivateContainerd(Path(tempfile.mkdtemp(prefix=f"nvc-{token}-", dir="/tmp")), token)
    # Containers in user namespaces must reach their files.
    containerd.data_dir.chmod(0o711)
    try:
        containerd.start()
        for name, cmd in ((IMAGE, ("sh",)), (PAUSE_IMAGE, ("sleep", "2147483647"))):
            archive = containerd.data_dir / "image.tar"
            busybox_builder().build(archive, name, cmd=cmd)
            containerd.load(archive)
        wait_for_image(containerd.plugin_socket, PAUSE_IMAGE)
        yield containerd
    finally:
        containerd.remove()


def write_network(folder: Path, bridge: str, subnet: str, ipam: Path) -> None:
    """A bridge with host-local addresses, as the network service writes it."""
    folder.mkdir()
    addresses = {
        "type": "host-local",
        "dataDir": str(ipam),
        "ranges": [[{"subnet": subnet}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugin = {"type": "bridge", "bridge": bridge, "isGateway": True, "hairpinMode": True, "ipam": addresses}
    document = {"cniVersion": "1.0.0", "name": bridge, "plugins": [plugin]}
    (folder / "10-test.conflist").write_text(json.dumps(document))


def busybox_builder() -> ModuleType:
    """The script that builds the busybox image; it is no part of the package."""
    path = REPOSITORY / "k8s-lab" / "images" / "busybox_image.py"
    spec = importlib.util.spec_from_file_location("busybox_image", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wait_for_cri(socket: Path) -> None:
    """Return when a CRI server answers there."""
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        runtime = v1_pb2_grpc.RuntimeServiceStub(channel)
        runtime.Version(criv1.VersionRequest(), timeout=START_TIMEOUT_S, wait_for_ready=True)


def wait_for_image(socket: Path, name: str) -> None:
    """Return when the plugin has heard of an image that was imported behind its back."""
    deadline = time.monotonic() + START_TIMEOUT_S
    request = criv1.ImageStatusRequest(image=criv1.ImageSpec(image=name))
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        images = v1_pb2_grpc.ImageServiceStub(channel)
        while not images.ImageStatus(request, timeout=START_TIMEOUT_S).HasField("image"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{socket} knows no image {name}")
            time.sleep(POLL_S)


def remove_sandboxes(socket: Path) -> None:
    """Stop and remove all sandboxes of a CRI server. What is being removed already is none of ours."""
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        runtime = v1_pb2_grpc.RuntimeServiceStub(channel)
        for item in runtime.ListPodSandbox(criv1.ListPodSandboxRequest(), timeout=CALL_TIMEOUT_S).items:
            try:
                runtime.StopPodSandbox(criv1.StopPodSandboxRequest(pod_sandbox_id=item.id), timeout=CALL_TIMEOUT_S)
                runtime.RemovePodSandbox(criv1.RemovePodSandboxRequest(pod_sandbox_id=item.id), timeout=CALL_TIMEOUT_S)
            except grpc.RpcError as failure:
                if failure.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
