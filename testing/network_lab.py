"""Several hosts and a control plane beside them, for tests of the Pod network, Services and names. Needs root.

Each host has namespaces of its own and in them a containerd, a runtime shim, a kubelet, a network agent and whatever
further services a test asks for; the control plane (store, API server, controller manager, scheduler) has a network of
its own. All are the real processes. Hosts hang on one link, or on two with a router between (`Topology`).

The only thing outside of the namespaces is one link from here to the API server. Everything goes at the end. When this
process just ends, its namespaces go with it (see `namespaced_host`), and the next lab removes what else there was.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.runtime_shim.containerd.cgroups import Cgroups
from navarch.runtime_shim.containerd.purge import remove_upwards
from navarch.services.api.errors import ApiError
from navarch.services.api.meta import condition_is
from navarch.services.base.tls import CertificateAuthority, Credentials, new_key, write_private
from navarch.services.client.client import Client
from navarch.testing.claim import Claim
from navarch.testing.namespaced_host import NamespacedHost, NamespacedProcess, module
from navarch.testing.network_lab_host import MASTERS, HostService, LabHost, Topology
from navarch.testing.private_containerd import IMAGE, busybox_builder

ROUTER, CONTROL_PLANE, FIRST_HOST = 254, 100, 11
START_TIMEOUT_S = 180.0
POLL_S = 0.05
SERVICES = {
    "shim": "navarch.runtime_shim.main",
    "kubelet": "navarch.services.kubelet.main",
    "network": "navarch.services.network.main",
    "store": "navarch.services.store.main",
    "apiserver": "navarch.services.apiserver.main",
    "controller-manager": "navarch.services.controller_manager.main",
    "scheduler": "navarch.services.scheduler.main",
    "cloud-controller": "navarch.services.cloud_controller.main",
}


class NetworkLab:
    """See the module. `hosts` by name: "host-1" and so on."""

    def __init__(self, topology: Topology, extra: Sequence[HostService] = ()) -> None:
        self.topology = topology
        self.extra = {service.name: service for service in extra}
        self.token = secrets.token_hex(3)
        _remove_dead_labs()
        self.directory = Path(tempfile.mkdtemp(prefix=f"nvl-{os.getpid()}-{self.token}-", dir="/tmp"))
        # Containers in user namespaces must reach their files.
        self.directory.chmod(0o711)
        self.authority = CertificateAuthority.create("navarch-lab", time.time())
        self.hosts: dict[str, LabHost] = {}
        self.control_processes: dict[str, NamespacedProcess] = {}
        self._stack = ExitStack()
        # Apart from the networks of clusters on this host.
        self._subnet = str(self._stack.enter_context(contextlib.closing(Claim("10.125", range(256)))))
        self._fabric: NamespacedHost
        self.control: NamespacedHost

    @property
    def cgroup_root(self) -> str:
        """The control group above all Pods of the lab."""
        return f"/nvlab{self.token}"

    @property
    def api_server(self) -> str:
        """As it is reached from here."""
        return f"{self._subnet}.2:7443"

    @property
    def control_address(self) -> str:
        """Of the control plane, as hosts reach it."""
        return f"{self.topology.subnet(1)}.{CONTROL_PLANE}"

    def client(self) -> Client:
        """The administrator's, on the running loop. The caller closes it."""
        return Client.connect(self.api_server, self.credentials("admin", MASTERS), "network-lab")

    def credentials(self, user: str, *groups: str) -> Credentials:
        """A certificate for any user, which may also serve at any address of the lab."""
        addresses = ["127.0.0.1", f"{self._subnet}.2", self.control_address]
        for host in self.hosts.values():
            addresses += host.addresses
        return self.authority.issue(user, groups, ["localhost"], addresses, now=time.time(), server=True)

    def identity(self, name: str, user: str, *groups: str) -> list[str]:
        """The options that say where the API server is and who a service is."""
        address = f"{self.control_address}:7443"
        return [f"--api-server={address}", *self._certificate(name, user, *groups)]

    def program(self, service: str) -> list[str]:
        """What a command line begins with."""
        if service == "containerd":
            return [sys.executable, "-m", "navarch.runtime_shim.containerd.daemon"]
        return module(SERVICES[service] if service in SERVICES else self.extra[service].main)

    def start(self) -> None:
        """Start everything; returns when all nodes are Ready."""
        self._stack.callback(self._remove_files)
        self._connect()
        for host in self.hosts.values():
            host.start("containerd")
        for service in ("store", "apiserver"):
            self.start_control(service)
        for host in self.hosts.values():
            for service in ("shim", "kubelet", "network", *self.extra):
                host.start(service)
        for service in ("controller-manager", "scheduler"):
            self.start_control(service)
        self._load_image()
        asyncio.run(self._nodes_ready())

    def remove(self) -> None:
        """End everything."""
        # All at once, then one after the other.
        for host in self.hosts.values():
            host.namespaces.end()
        self._stack.close()

    def start_control(self, service: str, *options: str) -> None:
        """Start a service of the control plane, with its usual command line and these further options."""
        command = [*self.program(service), *self._control_arguments(service), *options]
        self.control_processes[service] = self.control.start(command, self.directory / f"{service}.log")

    def kill_control(self, service: str) -> None:
        """End a service of the control plane by SIGKILL."""
        self.control_processes.pop(service).kill()

    def stranger(self, name: str, number: int, link: int = 1) -> NamespacedHost:
        """A host on a link that is no node."""
        made = self._new(whole=False)
        self.attach(made, name, link, number)
        return made

    def logs(self, lines: int = 20) -> str:
        """The last words of everybody, for a test that failed."""
        written = []
        for path in sorted(self.directory.rglob("*.log")):
            with contextlib.suppress(OSError):
                last = path.read_text(errors="replace").splitlines()[-lines:]
                written += [f"--- {path.relative_to(self.directory)}", *last]
        return "\n".join(written)

    # The network between hosts

    def _new(self, *, whole: bool) -> NamespacedHost:
        made = NamespacedHost(whole=whole)
        self._stack.callback(made.remove)
        return made

    def _connect(self) -> None:
        """The fabric is a switch for each link, and the router between them."""
        topology = self.topology
        self._fabric, self.control = self._new(whole=False), self._new(whole=True)
        links = sorted({1, *topology.links})
        for link in links:
            self._fabric.ip(f"link add link{link} type bridge", f"link set link{link} up")
            self._fabric.ip(
                *(f"addr add {one} dev link{link}{_nodad(one)}" for one in topology.addresses(link, ROUTER))
            )
        self._fabric.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for number, link in enumerate(topology.links, 1):
            namespaces = self._new(whole=True)
            directory = self.directory / f"h{number}"
            directory.mkdir()
            host = LabHost(f"host-{number}", link, FIRST_HOST - 1 + number, directory, self, namespaces)
            self.hosts[host.name] = host
            self.attach(namespaces, host.port, link, host.number)
        self.attach(self.control, "control", 1, CONTROL_PLANE)
        outside = f"nvl{self.token}"
        subprocess.run(
            ["ip", "link", "add", outside, "type", "veth", "peer", "name", "tests", "netns", str(self.control.pid)],
            check=True,
        )
        subprocess.run(["ip", "address", "add", f"{self._subnet}.1/30", "dev", outside], check=True)
        subprocess.run(["ip", "link", "set", outside, "up"], check=True)
        # Namespaces are taken down by and by; this link is to be gone when we are.
        self._stack.callback(subprocess.run, ["ip", "link", "delete", outside], check=True)
        self.control.ip(f"addr add {self._subnet}.2/30 dev tests", "link set tests up")

    def attach(self, namespaces: NamespacedHost, name: str, link: int, number: int) -> None:
        """Give a host its eth0 on a link; the router's side is called as told."""
        router = self.topology.addresses(link, ROUTER)
        addresses = self.topology.addresses(link, number)
        self._fabric.ip(
            f"link add {name} type veth peer name eth0 netns {namespaces.pid}",
            f"link set {name} master link{link} up",
        )
        namespaces.ip(
            "link set lo up",
            # As a host keeps its card, so that neighbours find it again.
            f"link set eth0 address 02:00:00:00:{link:02x}:{number:02x}",
            "link set eth0 up",
            *(f"addr add {address} dev eth0{_nodad(address)}" for address in addresses),
            *(f"route add default via {address.partition('/')[0]}" for address in router),
        )

    def reboot(self, host: LabHost) -> None:
        """Take a host's power, and give it back: nothing that ran or was mounted is there any more, its disk is."""
        host.namespaces.remove()
        host.processes.clear()
        host.namespaces = self._new(whole=True)
        # Its old link goes with its namespace, by and by: it may be gone before we say so.
        try:
            self._fabric.run("ip", "link", "delete", host.port)
        except AssertionError as failure:
            if "Cannot find device" not in str(failure):
                raise
        self.attach(host.namespaces, host.port, host.link, host.number)
        for service in ("containerd", "shim", "kubelet", "network", *self.extra):
            host.start(service)

    def cut(self, host: LabHost, *, off: bool) -> None:
        """Take a host's cable out, or put it in again, at the switch."""
        self._fabric.ip(f"link set {host.port} {'down' if off else 'up'}")

    # The control plane

    def _control_arguments(self, service: str) -> list[str]:
        api_server = "--api-server=127.0.0.1:7443"
        match service:
            case "store":
                data = f"--data-dir={self.directory / 'store'}"
                return [data, "--listen-client=127.0.0.1:2379", *self._certificate("store", "navarch-store")]
            case "apiserver":
                key = self.directory / "sa.key"
                if not key.exists():
                    write_private(key, new_key())
                return [
                    "--store-endpoints=127.0.0.1:2379",
                    "--listen=0.0.0.0:7443",
                    "--rest-listen=0.0.0.0:6443",
                    f"--service-cidr={self.topology.service_cidrs}",
                    f"--advertise-address={self.control_address}",
                    f"--service-account-key-file={key}",
                    *self._certificate("apiserver", "kube-apiserver", MASTERS),
                ]
            case "controller-manager":
                cidrs = f"--cluster-cidr={self.topology.pod_cidrs}"
                return [api_server, cidrs, *self._certificate(service, "system:kube-controller-manager")]
            case "cloud-controller":
                return [api_server, *self._certificate(service, "system:cloud-controller-manager")]
        return [api_server, *self._certificate(service, "system:kube-scheduler")]

    def _certificate(self, name: str, user: str, *groups: str) -> list[str]:
        files = {kind: self.directory / f"{name}-{kind}.pem" for kind in ("ca", "cert", "key")}
        if not files["key"].exists():
            self.credentials(user, *groups).save(*files.values())
        return [f"--{kind}={path}" for kind, path in files.items()]

    def _load_image(self) -> None:
        """Busybox, on every host."""
        archive = self.directory / "image.tar"
        busybox_builder().build(archive, IMAGE)
        loading = []
        for host in self.hosts.values():
            socket = host.directory / "containerd" / "containerd.sock"
            _until(socket.exists, f"containerd of {host.name}", self.logs)
            command = ["ctr", "--address", str(socket), "--namespace", "k8s.io", "images", "import", str(archive)]
            loading.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        if failed := [process.args for process in loading if process.wait() != 0]:
            raise AssertionError(f"cannot load images: {failed}")

    async def _nodes_ready(self) -> None:
        client = self.client()
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                ready: set[str] = set()
                while not ready >= self.hosts.keys():
                    # On a busy machine the API server needs its time to begin.
                    with contextlib.suppress(ApiError):
                        nodes = (await client.list(corev1.Node)).items
                        ready = {node.metadata.name for node in nodes if condition_is(node.status.conditions, "Ready")}
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise AssertionError(f"not all nodes are Ready:\n{self.logs()}") from None
        finally:
            await client.close()

    def _remove_files(self) -> None:
        remove_upwards(Cgroups(), self.cgroup_root)
        shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.contextmanager
def network_lab(topology: Topology, extra: Sequence[HostService] = ()) -> Iterator[NetworkLab]:
    """A lab that runs; afterwards nothing. extra: further services on each host, started after the others."""
    lab = NetworkLab(topology, extra)
    try:
        lab.start()
        yield lab
    finally:
        lab.remove()


def _remove_dead_labs() -> None:
    """What a crash leaves of labs whose process is no more."""
    for folder in Path("/tmp").glob("nvl-*-*-*"):
        _, pid, token, _ = folder.name.split("-", 3)
        if not Path(f"/proc/{pid}").exists():
            subprocess.run(["ip", "link", "delete", f"nvl{token}"], check=False, capture_output=True)
            remove_upwards(Cgroups(), f"/nvlab{token}")
            shutil.rmtree(folder, ignore_errors=True)


def _nodad(address: str) -> str:
    return " nodad" if ":" in address else ""


def _until(holds: Callable[[], bool], what: str, explain: Callable[[], str]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {START_TIMEOUT_S:.0f} s\n{explain()}")
        time.sleep(POLL_S)


if __name__ == "__main__":
    began = time.monotonic()
    with network_lab(Topology(dual_stack="dual" in sys.argv)) as running:
        sys.stdout.write(f"ready in {time.monotonic() - began:.1f} s: {running.api_server} {os.getpid()}\n")
        sys.stdin.read()
