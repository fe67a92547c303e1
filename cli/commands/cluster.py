"""``navarch up``, ``down``, ``status``: the life of a cluster on this host."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from navarch.cli import durations, options
from navarch.cli.cluster import processes
from navarch.cli.cluster.certificates import ensure_certificates
from navarch.cli.cluster.host import default_data_dir, why_simulated
from navarch.cli.cluster.layout import Asked, Layout
from navarch.cli.cluster.readiness import wait_ready
from navarch.cli.cluster.sandboxes import remove_pods
from navarch.cli.errors import UsageError
from navarch.cli.output.table import print_rows
from navarch.cli.session import run
from navarch.services.base import supervisor

PortOffset = Annotated[
    int | None, typer.Option("--port-offset", min=0, max=50_000, help="Move every port by this much.")
]

# How often a cluster in the foreground looks whether it still is there.
LOOK_S = 2.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, down, status):
        app.command()(command)


def up(
    data_dir: options.DataDir = None,
    port_offset: PortOffset = None,
    bind_address: Annotated[str | None, typer.Option(help="Where the services listen. Default: 127.0.0.1.")] = None,
    runtime: Annotated[
        str | None, typer.Option(metavar="containerd|simulated|cri", help="Default: containerd where it works.")
    ] = None,
    runtime_endpoint: Annotated[
        str | None,
        typer.Option(metavar="unix:///PATH", help="A CRI runtime that is run elsewhere, with a network of its own."),
    ] = None,
    pod_cidr: Annotated[
        str | None,
        typer.Option(
            metavar="IPV4[,IPV6]", help="Addresses of Pods. Default: 10.244.0.0/16, or one that is free; no IPv6."
        ),
    ] = None,
    service_cidr: Annotated[
        str | None,
        typer.Option(
            metavar="IPV4[,IPV6]", help="Addresses of Services. Default: 10.96.0.0/16, or one that is free; no IPv6."
        ),
    ] = None,
    node_name: Annotated[str | None, typer.Option(help="Default: the name of this host.")] = None,
    store_endpoints: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT,...", help="A store or etcd that is run elsewhere."),
    ] = None,
    store_ca: Annotated[Path | None, typer.Option(help="The authority of that store.")] = None,
    store_cert: Annotated[Path | None, typer.Option(help="What to show to that store.")] = None,
    store_key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    history: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How long the past can be read. Default: 1h; 0: without end."),
    ] = None,
    load_balancer_pool: Annotated[
        str | None,
        typer.Option(
            metavar="CIDR|FIRST-LAST,...",
            help="Addresses for load balancers, which this host then announces. Default: its own address.",
        ),
    ] = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay until interrupted, then stop.")] = False,
    timeout: options.Timeout = "60s",
) -> None:
    """Start a cluster on this host; return when its node is Ready."""
    began = time.monotonic()
    timeout_s = durations.seconds(timeout)
    directory = (data_dir or default_data_dir()).resolve()
    ca, cert, key = (str(path.resolve()) if path else None for path in (store_ca, store_cert, store_key))
    store = (store_endpoints, ca, cert, key)
    network = (pod_cidr, service_cidr)
    asked = Asked(
        runtime, bind_address, port_offset, *network, node_name, *store, history, runtime_endpoint, load_balancer_pool
    )
    layout = Layout.load(directory)
    if layout is None:
        layout = Layout.decide(directory, asked)
    else:
        layout.require_same(asked)
    was_running = supervisor.status(directory).running
    if was_running and layout.changed(asked) != layout:
        raise UsageError(
            "--history and --load-balancer-pool of a running cluster cannot be changed: navarch down, then up"
        )
    layout = layout.changed(asked)
    if was_running:
        print(f"The cluster in {directory} is already running.")
    else:
        _start(layout)
    if layout.runtime == "simulated":
        print(f"Containers are simulated: {why_simulated()}.", flush=True)
    try:
        run(wait_ready(layout, timeout_s, lambda what: print(f"Waiting for {what}", flush=True)))
    except BaseException:
        if not was_running:
            _stop(layout)
        raise
    print(f"Node {layout.node_name} is Ready after {time.monotonic() - began:.1f} s. Credentials: {layout.kubeconfig}")
    if directory != default_data_dir():
        print(f"To use it: export KUBECONFIG={layout.kubeconfig}")
    sys.stdout.flush()
    if foreground:
        _stay(layout)


def _start(layout: Layout) -> None:
    layout.require_free_ports()
    layout.data_dir.mkdir(parents=True, exist_ok=True)
    layout.save()
    ensure_certificates(layout)
    if layout.has_links:
        _links().ensure_bridge(layout)
    try:
        supervisor.start_daemon(processes.specs(layout), layout.data_dir)
    except supervisor.SupervisorError as error:
        raise UsageError(str(error)) from error


def _stay(layout: Layout) -> None:
    """Until a signal, or until somebody else stops the cluster."""
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    print("Ctrl-C stops the cluster.", flush=True)
    while not interrupted.wait(LOOK_S):
        if not supervisor.status(layout.data_dir).running:
            raise UsageError(f"the cluster was stopped; its log: {layout.data_dir / 'logs' / 'supervisor.log'}")
    _stop(layout)


def down(
    data_dir: options.DataDir = None,
    delete_data: Annotated[bool, typer.Option("--delete-data", help="Forget the objects and images too.")] = False,
    port_offset: PortOffset = None,
) -> None:
    """Stop the cluster and every container of it. Its objects are kept for the next ``up``."""
    directory = (data_dir or default_data_dir()).resolve()
    layout = Layout.load(directory)
    if layout is None:
        print(f"No cluster in {directory}.")
        return
    layout.require_same(Asked(port_offset=port_offset))
    _stop(layout)
    if delete_data:
        layout.delete_files()
    print(f"Stopped.{' Its data is deleted.' if delete_data else f' Its objects are kept in {directory}.'}")


def _stop(layout: Layout) -> None:
    supervisor.stop_daemon(layout.data_dir)
    if layout.runtime_endpoint:
        remove_pods(layout.runtime_endpoint)
    if layout.runtime != "simulated":
        _run(processes.purge_command(layout))
    if layout.runtime == "containerd":
        _run(processes.network_removal_command(layout))
    if layout.load_balancer_pool:
        _run(processes.announcer_removal_command(layout))
    if layout.has_links:
        _run(processes.proxy_removal_command(layout))
        _links().remove_bridge(layout)


def _links() -> ModuleType:
    """Loaded where it is needed: netlink is large, and most commands touch no link."""
    from navarch.cli.cluster import links

    return links


def _run(command: list[str]) -> None:
    finished = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if finished.returncode:
        raise UsageError(f"{' '.join(command[1:3])} failed:\n{finished.stdout.strip()}")


def status(data_dir: options.DataDir = None) -> None:
    """Show the processes of the cluster on this host."""
    directory = (data_dir or default_data_dir()).resolve()
    layout = Layout.load(directory)
    if layout is None:
        raise UsageError(f"no cluster in {directory}. Start one with: navarch up")
    state = supervisor.status(directory)
    print(f"Cluster in {directory}: {'running' if state.running else 'stopped'}, {layout.runtime} containers")
    rows = [_row(child, layout, state.running) for child in state.children]
    print_rows(["SERVICE", "STATE", "PID", "RESTARTS", "MEMORY", "LOG"], rows)
    if not state.running or any(not child.pid for child in state.children):
        sys.exit(1)


def _row(child: supervisor.ChildStatus, layout: Layout, running: bool) -> list[str]:
    alive = running and bool(child.pid)
    state = "running" if alive else f"stopped ({child.last_exit})" if child.last_exit else "stopped"
    memory = f"{_pss_bytes(child.pid) / 1e6:.0f}MB" if alive else ""
    log = layout.data_dir / "logs" / f"{child.name}.log"
    return [child.name, state, str(child.pid) if alive else "", str(child.restarts), memory, str(log)]


def _pss_bytes(pid: int) -> int:
    """Proportional set size: shared pages count by their share. 0 where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
