"""Deployments, ReplicaSets, StatefulSets, DaemonSets, ReplicationControllers, Jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from navarch.services.api.labels import format_labels
from navarch.services.api.meta import condition_is, human_duration, unix
from navarch.services.api.printers.table import (
    Cell,
    Table,
    age_of,
    columns,
    container_cells,
    selector_cell,
)

if TYPE_CHECKING:
    from navarch.protos.k8s.apps import v1_pb2 as appsv1
    from navarch.protos.k8s.batch import v1_pb2 as batchv1

_WIDE = ("Containers", "Images", "Selector")


def _deployment(deployment: appsv1.Deployment, now: float) -> tuple[Cell, ...]:
    status = deployment.status
    return (
        deployment.metadata.name,
        f"{status.ready_replicas}/{deployment.spec.replicas}",
        status.updated_replicas,
        status.available_replicas,
        age_of(deployment, now),
        *container_cells(deployment.spec.template.spec),
        selector_cell(deployment.spec.selector),
    )


def _replica_set(workload: Any, now: float) -> tuple[Cell, ...]:
    return (
        workload.metadata.name,
        workload.spec.replicas,
        workload.status.replicas,
        workload.status.ready_replicas,
        age_of(workload, now),
        *container_cells(workload.spec.template.spec),
        selector_cell(workload.spec.selector),
    )


def _stateful_set(stateful_set: appsv1.StatefulSet, now: float) -> tuple[Cell, ...]:
    return (
        stateful_set.metadata.name,
        f"{stateful_set.status.ready_replicas}/{stateful_set.spec.replicas}",
        age_of(stateful_set, now),
        *container_cells(stateful_set.spec.template.spec),
    )


def _daemon_set(daemon_set: appsv1.DaemonSet, now: float) -> tuple[Cell, ...]:
    status = daemon_set.status
    return (
        daemon_set.metadata.name,
        status.desired_number_scheduled,
        status.current_number_scheduled,
        status.number_ready,
        status.updated_number_scheduled,
        status.number_available,
        format_labels(daemon_set.spec.template.spec.node_selector),
        age_of(daemon_set, now),
        *container_cells(daemon_set.spec.template.spec),
        selector_cell(daemon_set.spec.selector),
    )


def _job(job: batchv1.Job, now: float) -> tuple[Cell, ...]:
    spec, status = job.spec, job.status
    if spec.HasField("completions"):
        completions = f"{status.succeeded}/{spec.completions}"
    else:
        completions = f"{status.succeeded}/1" + (f" of {spec.parallelism}" if spec.parallelism > 1 else "")
    duration = ""
    if status.HasField("start_time"):
        end = unix(status.completion_time) if status.HasField("completion_time") else now
        duration = human_duration(end - unix(status.start_time))
    return (
        job.metadata.name,
        _job_status(job),
        completions,
        duration,
        age_of(job, now),
        *container_cells(spec.template.spec),
        selector_cell(spec.selector),
    )


def _job_status(job: batchv1.Job) -> str:
    conditions = job.status.conditions
    for condition, word in (("Complete", "Complete"), ("Failed", "Failed")):
        if condition_is(conditions, condition):
            return word
    if job.metadata.HasField("deletion_timestamp"):
        return "Terminating"
    if condition_is(conditions, "Suspended"):
        return "Suspended"
    return "FailureTarget" if condition_is(conditions, "FailureTarget") else "Running"


DEPLOYMENT = Table(columns("Ready", "Up-to-date", "Available", "Age", *_WIDE, wide=_WIDE), _deployment)
_COUNTS = ("Desired", "Current", "Ready")
REPLICA_SET = Table(columns(*_COUNTS, "Age", *_WIDE, wide=_WIDE, integers=_COUNTS), _replica_set)
STATEFUL_SET = Table(columns("Ready", "Age", *_WIDE[:2], wide=_WIDE), _stateful_set)
_DAEMON_COUNTS = (*_COUNTS, "Up-to-date", "Available")
DAEMON_SET = Table(
    columns(*_DAEMON_COUNTS, "Node Selector", "Age", *_WIDE, wide=_WIDE, integers=_DAEMON_COUNTS), _daemon_set
)
JOB = Table(columns("Status", "Completions", "Duration", "Age", *_WIDE, wide=_WIDE), _job)
