"""What a node says it is and has: options that need more reading than a number, with the words of their refusals."""

import argparse
import ipaddress

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.cpu_lists import read_cpus

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def taints(text: str) -> list[corev1.Taint]:
    """Read "key=value:Effect,key:Effect". Raises ArgumentTypeError."""
    found: list[corev1.Taint] = []
    for entry in filter(None, text.split(",")):
        head, _, effect = entry.rpartition(":")
        key, _, value = head.partition("=")
        if not key or effect not in EFFECTS:
            raise argparse.ArgumentTypeError(
                f'invalid taint "{entry}", expected KEY=VALUE:EFFECT or KEY:EFFECT with one of {", ".join(EFFECTS)}'
            )
        if any((one.key, one.effect) == (key, effect) for one in found):
            raise argparse.ArgumentTypeError(f'duplicated taints with the same key and effect: "{entry}"')
        found.append(corev1.Taint(key=key, value=value, effect=effect))
    return found


def node_ips(text: str) -> str:
    """Check "192.0.2.1" or, for both families, "192.0.2.1,2001:db8::1". Raises ArgumentTypeError."""
    families = []
    for entry in filter(None, text.split(",")):
        try:
            address = ipaddress.ip_address(entry)
        except ValueError:
            raise argparse.ArgumentTypeError(f'"{entry}" is no IP address') from None
        if address.is_multicast:
            raise argparse.ArgumentTypeError(f'"{entry}" is a multicast address')
        families.append(address.version)
    if len(families) != len(set(families)):
        raise argparse.ArgumentTypeError(f'"{text}": expected one address, or one of each family')
    return text


def host_name(text: str) -> str:
    """The name of a node, in lower case. Raises ArgumentTypeError."""
    if not (name := text.strip().lower()):
        raise argparse.ArgumentTypeError("the name of a node may not be empty")
    return name


def cpu_set(text: str) -> frozenset[int]:
    """Read "0-3,5", in the manner of cpuset(7). Raises ArgumentTypeError."""
    try:
        return read_cpus(text)
    except ValueError as failure:
        raise argparse.ArgumentTypeError(str(failure)) from None


def no_such_cpus(wanted: frozenset[int], host_cpus: int) -> str:
    """Why CPUs cannot be reserved on a host with so many; "" where they can."""
    if not (missing := sorted(cpu for cpu in wanted if cpu >= host_cpus)):
        return ""
    return f"the host has no CPUs {','.join(map(str, missing))}, it has 0-{host_cpus - 1}"
