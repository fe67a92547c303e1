"""What a kubelet is told about its node: when Pods are evicted, what is collected, how the node goes down."""

import argparse
from dataclasses import dataclass, field

from navarch.services.api.quantity import Quantity, QuantityError, cpu_millicores, memory_bytes
from navarch.services.kubelet.core.backoff import LONGEST_S
from navarch.services.kubelet.core.eviction_thresholds import (
    DEFAULT_HARD,
    Threshold,
    ThresholdError,
    duration_s,
    thresholds,
)
from navarch.services.kubelet.core.image_policy import ImagePolicy
from navarch.services.kubelet.core.pressure import TRANSITION_S
from navarch.services.kubelet.core.shutdown_plan import ShutdownPolicy, by_grace_periods, by_priorities
from navarch.services.kubelet.core.sysctls import SysctlError, SysctlPolicy
from navarch.services.kubelet.log_rotation import LogPolicy
from navarch.services.kubelet.node.status import Reservations

RESERVABLE = ("cpu", "memory", "ephemeral-storage", "pid")
# Of the labels below kubernetes.io and k8s.io a node may give itself those with these prefixes, and these.
LABEL_PREFIXES = ("kubelet.kubernetes.io", "node.kubernetes.io")
LABELS = frozenset(
    {
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "kubernetes.io/arch",
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """The defaults are Kubernetes'. Times are seconds."""

    thresholds: tuple[Threshold, ...] = field(default_factory=thresholds)
    transition_s: float = TRANSITION_S
    max_pod_grace_s: float = 0.0
    look_s: float = 10.0
    images: ImagePolicy = field(default_factory=ImagePolicy)
    shutdown: ShutdownPolicy = field(default_factory=ShutdownPolicy)
    logs: LogPolicy = field(default_factory=LogPolicy)
    provider_id: str = ""
    register: bool = True
    sysctls: SysctlPolicy = field(default_factory=SysctlPolicy)
    longest_crash_wait_s: float = LONGEST_S


def node_labels(text: str) -> dict[str, str]:
    """Read "key=value,key=value" and check that a node may have these labels. Raises ArgumentTypeError."""
    labels = _pairs(text)
    unknown = sorted(key for key in labels if not _label_allowed(key))
    if unknown:
        raise argparse.ArgumentTypeError(
            f"unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: [{' '.join(unknown)}]\n"
            "--node-labels in the 'kubernetes.io' namespace must begin with an allowed prefix "
            f"({', '.join(LABEL_PREFIXES)}) or be in the specifically allowed set ({', '.join(sorted(LABELS))})"
        )
    return labels


def _label_allowed(key: str) -> bool:
    namespace = key.rpartition("/")[0]
    if not any(namespace == domain or namespace.endswith(f".{domain}") for domain in ("kubernetes.io", "k8s.io")):
        return True
    if key in LABELS:
        return True
    return any(namespace == prefix or namespace.endswith(f".{prefix}") for prefix in LABEL_PREFIXES)


def reservations(text: str) -> Reservations:
    """Read "cpu=100m,memory=256Mi,ephemeral-storage=1Gi,pid=1000". Raises ArgumentTypeError."""
    amounts = _pairs(text)
    if "" in amounts.values():
        raise argparse.ArgumentTypeError(f'"{text}": expected RESOURCE=QUANTITY,...')
    for name, amount in amounts.items():
        if name not in RESERVABLE:
            raise argparse.ArgumentTypeError(f'cannot reserve "{name}" resource')
        try:
            negative = Quantity.parse(amount).nanos < 0
        except QuantityError as failure:
            raise argparse.ArgumentTypeError(f'failed to parse quantity "{amount}" for "{name}": {failure}') from None
        if negative:
            raise argparse.ArgumentTypeError(f'resource quantity for "{name}" cannot be negative: {amount}')
    return Reservations(
        cpu_millicores(amounts.get("cpu", "0")),
        memory_bytes(amounts.get("memory", "0")),
        memory_bytes(amounts.get("ephemeral-storage", "0")),
        memory_bytes(amounts.get("pid", "0")),
    )


def sysctls(text: str) -> SysctlPolicy:
    """Read "kernel.msg*,net.core.somaxconn": what Pods may set beside the safe ones. Raises ArgumentTypeError."""
    try:
        return SysctlPolicy.of(filter(None, text.split(",")))
    except SysctlError as failure:
        raise argparse.ArgumentTypeError(str(failure)) from None


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options, as kubelet calls them."""
    add = parser.add_argument
    add("--eviction-hard", default=DEFAULT_HARD, metavar="SIGNAL<AMOUNT,...")
    add("--eviction-soft", default="", metavar="SIGNAL<AMOUNT,...")
    add("--eviction-soft-grace-period", default="", metavar="SIGNAL=DURATION,...")
    add("--eviction-max-pod-grace-period", type=int, default=0, metavar="SECONDS")
    add("--eviction-minimum-reclaim", default="", metavar="SIGNAL=AMOUNT,...")
    add("--eviction-pressure-transition-period", type=duration_option_s, default=TRANSITION_S, metavar="DURATION")
    add("--housekeeping-interval", type=duration_option_s, default=10.0, metavar="DURATION")
    add("--image-gc-high-threshold", type=int, default=85, metavar="PERCENT")
    add("--image-gc-low-threshold", type=int, default=80, metavar="PERCENT")
    add("--minimum-image-ttl-duration", type=duration_option_s, default=120.0, metavar="DURATION")
    add("--image-maximum-gc-age", type=duration_option_s, default=0.0, metavar="DURATION")
    add("--shutdown-grace-period", type=duration_option_s, default=0.0, metavar="DURATION")
    add("--shutdown-grace-period-critical-pods", type=duration_option_s, default=0.0, metavar="DURATION")
    add("--shutdown-grace-period-by-pod-priority", type=by_priorities, default=None, metavar="PRIORITY=SECONDS,...")
    add("--container-log-max-size", type=memory_bytes, default=10 << 20, metavar="SIZE")
    add("--container-log-max-files", type=int, default=5, metavar="COUNT")
    add("--container-log-max-workers", type=int, default=1, metavar="COUNT")
    add("--container-log-monitor-interval", type=duration_option_s, default=10.0, metavar="DURATION")
    add("--kube-reserved", type=reservations, default=Reservations(), metavar="cpu=100m,memory=256Mi,...")
    add("--system-reserved", type=reservations, default=Reservations(), metavar="cpu=100m,memory=256Mi,...")
    add("--node-labels", type=node_labels, default={}, metavar="KEY=VALUE,...")
    add("--provider-id", default="")
    add("--allowed-unsafe-sysctls", type=sysctls, default=SysctlPolicy(), metavar="NAME,PATTERN*,...")
    add("--crash-loop-max-restart-period", type=_crash_wait, default=LONGEST_S, metavar="DURATION")
    # Memory is shared by all containers: there is nothing yet that would set some of it apart.
    add("--memory-manager-policy", choices=["None"], default="None")
    add("--topology-manager-policy", choices=["none"], default="none")
    add("--topology-manager-scope", choices=["container"], default="container")
    add("--register-node", type=truth, default=True, metavar="true|false")


def node_options(options: argparse.Namespace) -> NodeOptions:
    """What the command line says, checked as a whole. Raises ThresholdError."""
    return NodeOptions(
        thresholds=thresholds(
            options.eviction_hard,
            options.eviction_soft,
            options.eviction_soft_grace_period,
            options.eviction_minimum_reclaim,
            allocatable="pods" in options.enforce_node_allocatable,
        ),
        transition_s=options.eviction_pressure_transition_period,
        max_pod_grace_s=float(options.eviction_max_pod_grace_period),
        look_s=options.housekeeping_interval,
        images=ImagePolicy(
            options.image_gc_high_threshold,
            options.image_gc_low_threshold,
            options.minimum_image_ttl_duration,
            options.image_maximum_gc_age,
        ),
        shutdown=options.shutdown_grace_period_by_pod_priority
        or by_grace_periods(options.shutdown_grace_period, options.shutdown_grace_period_critical_pods),
        logs=LogPolicy(
            options.container_log_max_size,
            options.container_log_max_files,
            options.container_log_max_workers,
            options.container_log_monitor_interval,
        ),
        provider_id=options.provider_id,
        register=options.register_node,
        sysctls=options.allowed_unsafe_sysctls,
        longest_crash_wait_s=options.crash_loop_max_restart_period,
    )


def _pairs(text: str) -> dict[str, str]:
    entries = [entry.partition("=") for entry in text.split(",") if entry]
    return {key: value for key, _, value in entries}


def duration_option_s(text: str) -> float:
    """Read a duration, in seconds. Raises ArgumentTypeError."""
    try:
        return duration_s(text)
    except ThresholdError as failure:
        raise argparse.ArgumentTypeError(str(failure)) from None


def _crash_wait(text: str) -> float:
    """The longest rest of a crashing container: KubeletConfiguration's crashLoopBackOff (KEP-4603)."""
    wait_s = duration_option_s(text)
    if not 1.0 <= wait_s <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text} is not between 1s and {LONGEST_S:.0f}s")
    return wait_s


def truth(text: str) -> bool:
    """Read true or false. Raises ArgumentTypeError."""
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f'"{text}" is neither true nor false')
    return text == "true"
