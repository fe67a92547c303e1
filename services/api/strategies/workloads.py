"""Deployments, ReplicaSets and their relatives."""

from collections.abc import Sequence
from typing import Any

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.services.api.defaults import workloads as defaults
from navarch.services.api.strategies.hooks import Hooks, spec_changed
from navarch.services.api.strategies.pod_warnings import template_warnings
from navarch.services.api.validation import workloads as validation


def _deployment_changed(new: appsv1.Deployment, old: appsv1.Deployment) -> bool:
    # Annotations count too: the controller copies them to the ReplicaSets.
    return spec_changed(new, old) or new.metadata.annotations != old.metadata.annotations


def _keep_labels(new: appsv1.Deployment, old: appsv1.Deployment) -> None:
    new.metadata.ClearField("labels")
    new.metadata.labels.MergeFrom(old.metadata.labels)


def _warnings(workload: Any) -> Sequence[str]:
    return template_warnings(workload.spec.template, "spec.template")


DEPLOYMENT = Hooks(
    generation=_deployment_changed,
    default=defaults.default_deployment,
    prepare_status=_keep_labels,
    validate=validation.validate_deployment,
    validate_update=validation.validate_deployment_update,
    validate_status=validation.validate_deployment_status,
    warnings=_warnings,
)

REPLICA_SET = Hooks(
    generation=spec_changed,
    default=defaults.default_replica_set,
    validate=validation.validate_replica_set,
    validate_update=validation.validate_replica_set_update,
    validate_status=validation.validate_replica_set_status,
    warnings=_warnings,
)

STATEFUL_SET = Hooks(generation=spec_changed, default=defaults.default_stateful_set, warnings=_warnings)
DAEMON_SET = Hooks(generation=spec_changed, default=defaults.default_daemon_set, warnings=_warnings)
REPLICATION_CONTROLLER = Hooks(generation=spec_changed, default=defaults.default_replication_controller)
