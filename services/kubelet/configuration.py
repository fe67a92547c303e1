"""The kubelet's configuration as /configz shows it: a KubeletConfiguration (kubelet.config.k8s.io/v1beta1). Pure.

What cannot be configured here is shown as the genuine kubelet would have to be configured to behave alike.
"""

from typing import Any

from navarch.services.api.codec.times import format_duration
from navarch.services.kubelet.authentication import TOKEN_S
from navarch.services.kubelet.authorization import ALLOWED_S, DENIED_S
from navarch.services.kubelet.config import Config
from navarch.services.kubelet.core.cpu_lists import write_cpus
from navarch.services.kubelet.core.eviction_signals import Signal
from navarch.services.kubelet.core.eviction_thresholds import Amount
from navarch.services.kubelet.images import PULLS_AT_ONCE
from navarch.services.kubelet.node.cpu_options import CpuOptions
from navarch.services.kubelet.node.group_options import NONE, GroupOptions
from navarch.services.kubelet.node.options import NodeOptions
from navarch.services.kubelet.node.status import Reservations
from navarch.services.kubelet.runtime import CALL_S
from navarch.services.kubelet.stats.disks import PERIOD_S


def configuration(config: Config) -> dict[str, Any]:
    """The document, without what is empty."""
    host, _, port = config.listen.rpartition(":")
    shown = {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "enableServer": True,
        "address": host.strip("[]"),
        "port": int(port),
        "authentication": {
            "x509": {"clientCAFile": str(config.client_ca_file)} if config.client_ca_file else {},
            "webhook": {"enabled": True, "cacheTTL": _span(TOKEN_S)},
            "anonymous": {"enabled": config.anonymous_auth},
        },
        "authorization": {
            "mode": "Webhook",
            "webhook": {"cacheAuthorizedTTL": _span(ALLOWED_S), "cacheUnauthorizedTTL": _span(DENIED_S)},
        },
        "staticPodPath": str(config.sources.path or ""),
        "staticPodURL": config.sources.url,
        # They may be secret.
        "staticPodURLHeader": {name: ["<masked>"] for name, _ in config.sources.headers},
        "fileCheckFrequency": _span(config.sources.path_check_s),
        "httpCheckFrequency": _span(config.sources.url_check_s),
        "clusterDomain": config.cluster_domain,
        "clusterDNS": list(config.cluster_dns),
        "nodeStatusUpdateFrequency": _span(config.heartbeat_s),
        "volumeStatsAggPeriod": _span(PERIOD_S),
        **_groups(config.groups),
        **_cpus(config.cpus),
        "memoryManagerPolicy": "None",
        "topologyManagerPolicy": "none",
        "topologyManagerScope": "container",
        "runtimeRequestTimeout": _span(CALL_S),
        "maxPods": config.max_pods,
        "podsPerCore": config.pods_per_core,
        "podCIDR": config.pod_cidr,
        "providerID": config.node.provider_id,
        "resolvConf": "/etc/resolv.conf",
        "cpuCFSQuota": True,
        "serializeImagePulls": False,
        "maxParallelImagePulls": PULLS_AT_ONCE,
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        "enableControllerAttachDetach": True,
        "enableDebuggingHandlers": True,
        "enableProfilingHandler": False,
        "enableSystemLogHandler": True,
        "enableSystemLogQuery": False,
        "registerNode": config.node.register,
        "registerWithTaints": [{"key": one.key, "value": one.value, "effect": one.effect} for one in config.taints],
        "containerRuntimeEndpoint": config.runtime_endpoint,
        "kubeReserved": _reserved(config.kube_reserved),
        "systemReserved": _reserved(config.system_reserved),
        **_certificates(config),
        **_node(config.node),
    }
    return {name: value for name, value in shown.items() if value not in ("", [], {}, None)}


def flags(config: Config) -> dict[str, object]:
    """By name of the option, for /flagz."""
    reserved = ",".join(f"{name}={amount}" for name, amount in _reserved(config.reserved).items())
    return {
        "node-name": config.node_name,
        "api-server": config.api_server,
        "runtime-endpoint": config.runtime_endpoint,
        "root-dir": config.root_dir,
        "listen": config.listen,
        "grpc-listen": config.grpc_listen,
        "node-ip": config.node_ip,
        "pod-cidr": config.pod_cidr,
        "cluster-dns": ",".join(config.cluster_dns),
        "cluster-domain": config.cluster_domain,
        "max-pods": config.max_pods,
        "labels": ",".join(f"{key}={value}" for key, value in config.labels.items()),
        "taints": ",".join(f"{one.key}={one.value}:{one.effect}" for one in config.taints),
        "reserved": reserved,
        "cgroup-root": config.groups.names.root,
        "anonymous-auth": str(config.anonymous_auth).lower(),
        "pod-manifest-path": config.sources.path or "",
        "register-node": str(config.node.register).lower(),
        "provider-id": config.node.provider_id,
    }


def _groups(groups: GroupOptions) -> dict[str, Any]:
    return {
        "cgroupRoot": groups.names.root,
        "cgroupsPerQOS": groups.names.per_qos,
        "cgroupDriver": groups.names.driver.value,
        "enforceNodeAllocatable": sorted(groups.enforced) or [NONE],
        "podPidsLimit": groups.pod_max_pids,
    }


def _cpus(cpus: CpuOptions) -> dict[str, Any]:
    return {
        "cpuManagerPolicy": cpus.policy,
        "cpuManagerPolicyOptions": dict.fromkeys(sorted(cpus.options), "true"),
        "cpuManagerReconcilePeriod": _span(cpus.reconcile_s),
        "reservedSystemCPUs": write_cpus(cpus.reserved),
    }


def _certificates(config: Config) -> dict[str, Any]:
    cert, key = config.serving_files or ("", "")
    options = config.certificates
    return {
        "tlsCertFile": str(cert),
        "tlsPrivateKeyFile": str(key),
        "rotateCertificates": options is not None and options.rotate_client,
        "serverTLSBootstrap": options is not None and options.rotate_server,
    }


def _node(node: NodeOptions) -> dict[str, Any]:
    thresholds = [one for one in node.thresholds if one.signal is not Signal.ALLOCATABLE_MEMORY]
    reclaims = {one.signal.value: one.minimum_reclaim for one in thresholds if one.minimum_reclaim is not None}
    shutdown = [
        {"priority": priority, "shutdownGracePeriodSeconds": int(seconds)}
        for priority, seconds in node.shutdown.periods
    ]
    return {
        "evictionHard": {one.signal.value: _amount(one.amount) for one in thresholds if one.hard},
        "evictionSoft": {one.signal.value: _amount(one.amount) for one in thresholds if not one.hard},
        "evictionSoftGracePeriod": {one.signal.value: _span(one.grace_s) for one in thresholds if not one.hard},
        "evictionMinimumReclaim": {name: _amount(amount) for name, amount in reclaims.items()},
        "evictionPressureTransitionPeriod": _span(node.transition_s),
        "evictionMaxPodGracePeriod": int(node.max_pod_grace_s),
        "crashLoopBackOff": {"maxContainerRestartPeriod": _span(node.longest_crash_wait_s)},
        "imageMinimumGCAge": _span(node.images.minimum_age_s),
        "imageMaximumGCAge": _span(node.images.maximum_age_s),
        "imageGCHighThresholdPercent": node.images.high_percent,
        "imageGCLowThresholdPercent": node.images.low_percent,
        "shutdownGracePeriodByPodPriority": shutdown,
        "containerLogMaxSize": str(node.logs.max_bytes),
        "containerLogMaxFiles": node.logs.max_files,
        "containerLogMaxWorkers": node.logs.workers,
        "containerLogMonitorInterval": _span(node.logs.check_s),
    }


def _reserved(reserved: Reservations) -> dict[str, str]:
    amounts = {
        "cpu": f"{reserved.cpu_millicores}m" if reserved.cpu_millicores else "",
        "memory": str(reserved.memory_bytes or ""),
        "ephemeral-storage": str(reserved.storage_bytes or ""),
        "pid": str(reserved.processes or ""),
    }
    return {name: amount for name, amount in amounts.items() if amount}


def _amount(amount: Amount) -> str:
    return str(amount.units) if amount.share is None else f"{amount.share * 100:g}%"


def _span(seconds: float) -> str:
    return format_duration(round(seconds * 1e9))
