"""`--config FILE` and `--config-dir`: a KubeletConfiguration (kubelet.config.k8s.io/v1beta1), read as options.

Each field that can be configured is an option of the command line by another name; the table says which, and how its
value is written there. So the two are checked alike, and an option that is given wins over the file. A field that
/configz shows, but nobody can configure, may say what holds in any case. All others are refused by name. Drop-ins
(`*.conf`, in the order of their names) change the file: maps field by field, lists and values as a whole.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

API_VERSION, KIND = "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration"
TYPE_META = {"apiVersion": API_VERSION, "kind": KIND}
DROP_IN = ".conf"


class ConfigurationError(ValueError):
    """A configuration that cannot be taken: names the file, the field, what was found and what is accepted."""


Write = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Field:
    """A field that can be configured. write: its value as the option has it; raises ValueError: what is expected."""

    option: str
    write: Write


def text(value: Any) -> str:
    """A string as it is."""
    if not isinstance(value, str):
        raise ValueError("a string")
    return value


def number(value: Any) -> str:
    """A whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("a whole number")
    return str(value)


def truth(value: Any) -> str:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return "true" if value else "false"


def texts(value: Any) -> str:
    """A list of strings."""
    if not isinstance(value, list):
        raise ValueError("a list of strings")
    return ",".join(map(text, value))


def pairs(sign: str) -> Write:
    """A map of strings; sign: between a name and its value."""

    def write(value: Any) -> str:
        if not isinstance(value, dict):
            raise ValueError("a map of strings")
        return ",".join(f"{text(name)}{sign}{text(amount)}" for name, amount in value.items())

    return write


def headers(value: Any) -> str:
    """A map of names to lists of strings."""
    if not isinstance(value, dict) or not all(isinstance(several, list) for several in value.values()):
        raise ValueError("a map of lists of strings")
    return ",".join(f"{name}:{text(one)}" for name, several in value.items() for one in several)


def taints(value: Any) -> str:
    """A list of taints."""
    if not isinstance(value, list) or not all(isinstance(one, dict) and "key" in one for one in value):
        raise ValueError("a list of taints: key, value, effect")
    return ",".join(f"{one['key']}={one.get('value') or ''}:{one.get('effect', '')}" for one in value)


def periods(value: Any) -> str:
    """A list of seconds by priority."""
    names = {"priority", "shutdownGracePeriodSeconds"}
    if not isinstance(value, list) or not all(isinstance(one, dict) and set(one) == names for one in value):
        raise ValueError("a list of priority and shutdownGracePeriodSeconds")
    return ",".join(f"{number(one['priority'])}={number(one['shutdownGracePeriodSeconds'])}" for one in value)


FIELDS = {
    "address": Field("--address", text),
    "port": Field("--port", number),
    "authentication.anonymous.enabled": Field("--anonymous-auth", truth),
    "cgroupDriver": Field("--cgroup-driver", text),
    "authentication.x509.clientCAFile": Field("--client-ca-file", text),
    "cgroupRoot": Field("--cgroup-root", text),
    "cgroupsPerQOS": Field("--cgroups-per-qos", truth),
    "clusterDNS": Field("--cluster-dns", texts),
    "clusterDomain": Field("--cluster-domain", text),
    "containerLogMaxFiles": Field("--container-log-max-files", number),
    "containerLogMaxSize": Field("--container-log-max-size", text),
    "containerLogMaxWorkers": Field("--container-log-max-workers", number),
    "containerLogMonitorInterval": Field("--container-log-monitor-interval", text),
    "containerRuntimeEndpoint": Field("--runtime-endpoint", text),
    "cpuManagerPolicy": Field("--cpu-manager-policy", text),
    "cpuManagerPolicyOptions": Field("--cpu-manager-policy-options", pairs("=")),
    "cpuManagerReconcilePeriod": Field("--cpu-manager-reconcile-period", text),
    "crashLoopBackOff.maxContainerRestartPeriod": Field("--crash-loop-max-restart-period", text),
    "enforceNodeAllocatable": Field("--enforce-node-allocatable", texts),
    "evictionHard": Field("--eviction-hard", pairs("<")),
    "evictionMaxPodGracePeriod": Field("--eviction-max-pod-grace-period", number),
    "evictionMinimumReclaim": Field("--eviction-minimum-reclaim", pairs("=")),
    "evictionPressureTransitionPeriod": Field("--eviction-pressure-transition-period", text),
    "evictionSoft": Field("--eviction-soft", pairs("<")),
    "evictionSoftGracePeriod": Field("--eviction-soft-grace-period", pairs("=")),
    "fileCheckFrequency": Field("--file-check-frequency", text),
    "httpCheckFrequency": Field("--http-check-frequency", text),
    "imageGCHighThresholdPercent": Field("--image-gc-high-threshold", number),
    "imageGCLowThresholdPercent": Field("--image-gc-low-threshold", number),
    "imageMaximumGCAge": Field("--image-maximum-gc-age", text),
    "imageMinimumGCAge": Field("--minimum-image-ttl-duration", text),
    "kubeReserved": Field("--kube-reserved", pairs("=")),
    "kubeReservedCgroup": Field("--kube-reserved-cgroup", text),
    "maxPods": Field("--max-pods", number),
    "nodeStatusUpdateFrequency": Field("--node-status-update-frequency", text),
    "podCIDR": Field("--pod-cidr", text),
    "podPidsLimit": Field("--pod-max-pids", number),
    "podsPerCore": Field("--pods-per-core", number),
    "providerID": Field("--provider-id", text),
    "registerNode": Field("--register-node", truth),
    "registerWithTaints": Field("--register-with-taints", taints),
    "reservedSystemCPUs": Field("--reserved-cpus", text),
    "rotateCertificates": Field("--rotate-certificates", truth),
    "serverTLSBootstrap": Field("--rotate-server-certificates", truth),
    "shutdownGracePeriod": Field("--shutdown-grace-period", text),
    "shutdownGracePeriodByPodPriority": Field("--shutdown-grace-period-by-pod-priority", periods),
    "shutdownGracePeriodCriticalPods": Field("--shutdown-grace-period-critical-pods", text),
    "staticPodPath": Field("--pod-manifest-path", text),
    "staticPodURL": Field("--manifest-url", text),
    "staticPodURLHeader": Field("--manifest-url-header", headers),
    "tlsCertFile": Field("--tls-cert-file", text),
    "tlsPrivateKeyFile": Field("--tls-private-key-file", text),
    "systemReserved": Field("--system-reserved", pairs("=")),
    "systemReservedCgroup": Field("--system-reserved-cgroup", text),
}
# What every kubelet is configured with that is made by kubeadm, and what stands there for "as by default".
DEFAULT = ("0s", "", 0, None)


def read(path: Path | None, drop_ins: Path | None) -> dict[str, Any]:
    """The configuration of a file and of those that change it. Raises ConfigurationError."""
    files = [path] if path is not None else []
    if drop_ins is not None:
        if not drop_ins.is_dir():
            raise ConfigurationError(f"--config-dir {drop_ins}: no such directory")
        files += sorted(one for one in drop_ins.rglob(f"*{DROP_IN}") if one.is_file())
    document: dict[str, Any] = {}
    for file in files:
        document = merged(document, _load(file))
    return document


def _load(path: Path) -> dict[str, Any]:
    # It takes memory that a kubelet without such a file need not spend.
    import yaml

    try:
        document = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as failure:
        raise ConfigurationError(f"{path}: {failure}") from failure
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path}: expected a {KIND}")
    for name, expected in TYPE_META.items():
        if document.get(name) != expected:
            raise ConfigurationError(f"{path}: {name}: found {document.get(name)!r}, expected {expected!r}")
    return document


def merged(document: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A document with what another says."""
    result = dict(document)
    for name, value in change.items():
        known = result.get(name)
        both = isinstance(known, dict) and isinstance(value, dict)
        result[name] = merged(known, value) if both else value  # type: ignore[arg-type]
    return result


def arguments(document: Mapping[str, Any], options: argparse.ArgumentParser) -> tuple[list[str], dict[str, Any]]:
    """The options that a document stands for, and its other fields by their path. Raises ConfigurationError.

    options: knows all options, of which it requires none, and raises ArgumentError.
    """
    found: list[str] = []
    others: dict[str, Any] = {}
    for path, value in _leaves(document):
        if (known := FIELDS.get(path)) is None:
            others[path] = value
        elif value not in DEFAULT or value is False:
            found.append(_argument(path, known, value, options))
    return found, others


def _argument(path: str, known: Field, value: Any, options: argparse.ArgumentParser) -> str:
    try:
        argument = f"{known.option}={known.write(value)}"
    except ValueError as expected:
        raise ConfigurationError(f"{path}: found {value!r}, expected {expected}") from None
    try:
        options.parse_args([argument])
    except argparse.ArgumentError as failure:
        raise ConfigurationError(f"{path}: {failure.message}") from failure
    return argument


def _leaves(document: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The fields by their paths. A map that is a value of its own is not gone into."""
    found: list[tuple[str, Any]] = []
    for name, value in document.items():
        path = f"{prefix}{name}"
        if not prefix and name in TYPE_META:
            continue
        if isinstance(value, dict) and path not in FIELDS:
            found += _leaves(value, f"{path}.")
        else:
            found.append((path, value))
    return found


def check_others(others: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
    """Refuse fields that say anything but what holds in any case. shown: as /configz has it. Raises Error."""
    holds = dict(_leaves(shown))
    for path, value in others.items():
        if path not in holds:
            raise ConfigurationError(f"{path}: unknown field, or one that cannot be configured here")
        if value != holds[path] and (value not in DEFAULT or value is False):
            raise ConfigurationError(f"{path}: found {value!r}, which cannot be had here; accepted is {holds[path]!r}")
