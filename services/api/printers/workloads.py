"""What makes Pods: Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from navarch.services.api.labels import format_labels
from navarch.services.api.meta import age, condition_is, controller_of, human_duration, unix
from navarch.services.api.printers.table import (
    NONE,
    UNSET,
    Cell,
    Column,
    Table,
    age_of,
    columns,
    container_cells,
    or_none,
    selector_cell,
)

if TYPE_CHECKING:
    from navarch.protos.k8s.apps import v1_pb2 as appsv1
    from navarch.protos.k8s.batch import v1_pb2 as batchv1
    from navarch.protos.k8s.core import v1_pb2 as corev1

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


def _cron_job(cron_job: batchv1.CronJob, now: float) -> tuple[Cell, ...]:
    spec, status, job = cron_job.spec, cron_job.status, cron_job.spec.job_template.spec
    return (
        cron_job.metadata.name,
        spec.schedule,
        or_none(spec.time_zone),
        str(spec.suspend) if spec.HasField("suspend") else UNSET,
        len(status.active),
        age(status.last_schedule_time, now) if status.HasField("last_schedule_time") else NONE,
        age_of(cron_job, now),
        *container_cells(job.template.spec),
        selector_cell(job.selector),
    )


def _controller_revision(revision: appsv1.ControllerRevision, now: float) -> tuple[Cell, ...]:
    owner, text = controller_of(revision), NONE
    if owner is not None:
        group = owner.api_version.rpartition("/")[0]
        text = f"{f'{owner.kind}.{group}' if group else owner.kind}".lower() + f"/{owner.name}"
    return (revision.metadata.name, text, revision.revision, age_of(revision, now))


def _pod_template(holder: corev1.PodTemplate, now: float) -> tuple[Cell, ...]:
    template = holder.template
    return (holder.metadata.name, *container_cells(template.spec), format_labels(template.metadata.labels))


def _scale(scale: Any, now: float) -> tuple[Cell, ...]:
    return (scale.metadata.name, scale.spec.replicas, scale.status.replicas, age_of(scale, now))


DEPLOYMENT = Table(columns("Ready", "Up-to-date", "Available", "Age", *_WIDE, wide=_WIDE), _deployment)
_COUNTS = ("Desired", "Current", "Ready")
REPLICA_SET = Table(columns(*_COUNTS, "Age", *_WIDE, wide=_WIDE, integers=_COUNTS), _replica_set)
STATEFUL_SET = Table(columns("Ready", "Age", *_WIDE[:2], wide=_WIDE), _stateful_set)
_DAEMON_COUNTS = (*_COUNTS, "Up-to-date", "Available")
DAEMON_SET = Table(
    columns(*_DAEMON_COUNTS, "Node Selector", "Age", *_WIDE, wide=_WIDE, integers=_DAEMON_COUNTS), _daemon_set
)
JOB = Table(columns("Status", "Completions", "Duration", "Age", *_WIDE, wide=_WIDE), _job)
CRON_JOB = Table(
    columns(
        "Schedule",
        "Timezone",
        "Suspend",
        "Active",
        "Last Schedule",
        "Age",
        *_WIDE,
        wide=_WIDE,
        integers=("Active",),
        booleans=("Suspend",),
    ),
    _cron_job,
)
CONTROLLER_REVISION = Table(columns("Controller", "Revision", "Age"), _controller_revision)
POD_TEMPLATE = Table(columns("Containers", "Images", "Pod Labels"), _pod_template)
SCALE = Table((Column("Name"), *columns("Desired", "Available", "Age", integers=("Desired", "Available"))[1:]), _scale)
