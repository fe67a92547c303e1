"""What a kubelet is told about giving CPUs to containers, checked as a whole."""

import argparse
from dataclasses import dataclass

from navarch.services.kubelet.node.options import duration_option_s

NONE, STATIC = "none", "static"
POLICIES = (NONE, STATIC)
WHOLE_CORES, STRICT = "full-pcpus-only", "strict-cpu-reservation"
OPTIONS = (WHOLE_CORES, STRICT)
RECONCILE_S = 10.0


class CpuOptionsError(Exception):
    """Options that do not go together; the message names them."""


@dataclass(frozen=True, slots=True)
class CpuOptions:
    """policy: "none" or "static". options: those of the policy that are on. reserved: named CPUs, none for a number.

    reconcile_s: how often containers are looked at that share.
    """

    policy: str = NONE
    options: frozenset[str] = frozenset()
    reserved: frozenset[int] = frozenset()
    reconcile_s: float = RECONCILE_S


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options, as kubelet calls them."""
    add = parser.add_argument
    add("--cpu-manager-policy", choices=POLICIES, default=NONE)
    add("--cpu-manager-policy-options", type=policy_options, default={}, metavar="OPTION=true|false,...")
    add("--cpu-manager-reconcile-period", type=duration_option_s, default=RECONCILE_S, metavar="DURATION")


def policy_options(text: str) -> dict[str, bool]:
    """Read "full-pcpus-only=true,...". Raises ArgumentTypeError."""
    found: dict[str, bool] = {}
    for entry in filter(None, text.split(",")):
        name, _, value = entry.partition("=")
        if name not in OPTIONS:
            raise argparse.ArgumentTypeError(f'"{name}": no such option here; accepted are {", ".join(OPTIONS)}')
        if value not in ("true", "false"):
            raise argparse.ArgumentTypeError(f'{name}: "{value}" is neither true nor false')
        found[name] = value == "true"
    return found


def cpu_options(options: argparse.Namespace, reserved_millicores: int) -> CpuOptions:
    """What the command line says. reserved_millicores: in all. Raises CpuOptionsError."""
    policy = options.cpu_manager_policy
    if options.cpu_manager_policy_options and policy != STATIC:
        raise CpuOptionsError(f"--cpu-manager-policy-options: only with --cpu-manager-policy {STATIC}, found {policy}")
    if policy == STATIC and not reserved_millicores:
        raise CpuOptionsError(
            f"--cpu-manager-policy {STATIC}: the host needs CPUs of its own, found none reserved; accepted are "
            "--reserved-cpus, or cpu of --kube-reserved or --system-reserved, of more than 0"
        )
    if not options.cpu_manager_reconcile_period > 0:
        raise CpuOptionsError("--cpu-manager-reconcile-period: found 0s, must be more than 0")
    on = frozenset(name for name, value in options.cpu_manager_policy_options.items() if value)
    return CpuOptions(policy, on, options.reserved_cpus, options.cpu_manager_reconcile_period)
