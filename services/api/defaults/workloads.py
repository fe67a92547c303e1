"""Defaults of Deployments, ReplicaSets and their relatives: replicas, update strategy, history."""

from navarch.protos.k8s import intstr_pb2
from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.defaults.fill import fill
from navarch.services.api.defaults.pods import default_pod_spec

_HISTORY = 10
_PROGRESS_DEADLINE_S = 600


def default_deployment(deployment: appsv1.Deployment) -> None:
    """Complete a Deployment."""
    spec = deployment.spec
    default_pod_spec(spec.template.spec)
    fill(spec, replicas=1, revision_history_limit=_HISTORY, progress_deadline_seconds=_PROGRESS_DEADLINE_S)
    fill(spec.strategy, type="RollingUpdate")
    if spec.strategy.type == "RollingUpdate":
        rolling = spec.strategy.rolling_update
        rolling.SetInParent()
        for name in ("max_unavailable", "max_surge"):
            if not rolling.HasField(name):
                getattr(rolling, name).CopyFrom(intstr_pb2.IntOrString(type=1, int_val=0, str_val="25%"))


def default_replica_set(replica_set: appsv1.ReplicaSet) -> None:
    """Complete a ReplicaSet."""
    default_pod_spec(replica_set.spec.template.spec)
    fill(replica_set.spec, replicas=1)


def default_stateful_set(stateful_set: appsv1.StatefulSet) -> None:
    """Complete a StatefulSet."""
    spec = stateful_set.spec
    default_pod_spec(spec.template.spec)
    fill(spec, replicas=1, revision_history_limit=_HISTORY, pod_management_policy="OrderedReady")
    fill(spec.persistent_volume_claim_retention_policy, when_deleted="Retain", when_scaled="Retain")
    if not spec.update_strategy.type:
        spec.update_strategy.type = "RollingUpdate"
        spec.update_strategy.rolling_update.SetInParent()
    if spec.update_strategy.type == "RollingUpdate" and spec.update_strategy.HasField("rolling_update"):
        fill(spec.update_strategy.rolling_update, partition=0)
    for claim in spec.volume_claim_templates:
        default_claim(claim)


def default_daemon_set(daemon_set: appsv1.DaemonSet) -> None:
    """Complete a DaemonSet."""
    spec = daemon_set.spec
    default_pod_spec(spec.template.spec)
    fill(spec, revision_history_limit=_HISTORY)
    fill(spec.update_strategy, type="RollingUpdate")
    if spec.update_strategy.type == "RollingUpdate":
        rolling = spec.update_strategy.rolling_update
        for name, value in (("max_unavailable", 1), ("max_surge", 0)):
            if not rolling.HasField(name):
                getattr(rolling, name).CopyFrom(intstr_pb2.IntOrString(type=0, int_val=value, str_val=""))


def default_replication_controller(controller: corev1.ReplicationController) -> None:
    """Complete a ReplicationController; labels and selector follow the template's labels."""
    labels = controller.spec.template.metadata.labels
    if labels and not controller.spec.selector:
        controller.spec.selector.update(labels)
    if labels and not controller.metadata.labels:
        controller.metadata.labels.update(labels)
    fill(controller.spec, replicas=1)
    if controller.spec.HasField("template"):
        default_pod_spec(controller.spec.template.spec)


def default_claim(claim: corev1.PersistentVolumeClaim) -> None:
    """Complete a PersistentVolumeClaim."""
    fill(claim.spec, volume_mode="Filesystem")
    fill(claim.status, phase="Pending")
