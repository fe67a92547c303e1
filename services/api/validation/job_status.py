"""Rules for what is reported of a Job: counters that only grow, conditions and times that agree."""

from collections.abc import Sequence

from navarch.protos.k8s.batch import v1_pb2 as batchv1
from navarch.services.api.errors import FieldError
from navarch.services.api.field_errors import OMITTED
from navarch.services.api.meta import condition_is
from navarch.services.api.validation.indexes import IndexesError, count_indexes, overlap
from navarch.services.api.validation.values import Errors, non_negative, shown

_CONDITIONS = "status.conditions"


def validate_job_status(new: batchv1.Job, old: batchv1.Job) -> Errors:
    """Check a reported status against the Job and what was reported before."""
    yield from _validate_counters(new.status, old.status)
    yield from _validate_uncounted(new.status)
    yield from _validate_conditions(new, old)
    yield from _validate_times(new, old)
    yield from _validate_indexes(new)
    if _is(new, "Complete") or _is(new, "Failed"):
        yield from _validate_finished(new.status)


def _is(job: batchv1.Job, type: str) -> bool:
    return condition_is(job.status.conditions, type)


def _validate_counters(status: batchv1.JobStatus, before: batchv1.JobStatus) -> Errors:
    for field in ("active", "succeeded", "failed", "ready", "terminating"):
        yield from non_negative(f"status.{field}", getattr(status, field))
    if status.ready > status.active:
        yield FieldError.invalid("status.ready", status.ready, "cannot set more ready pods than active")
    for field in ("failed", "succeeded"):
        count = getattr(status, field)
        if count < getattr(before, field):
            yield FieldError.invalid(f"status.{field}", count, f"cannot decrease the {field} counter")


def _validate_uncounted(status: batchv1.JobStatus) -> Errors:
    taken: set[str] = set()
    uncounted = status.uncounted_terminated_pods
    lists: tuple[tuple[str, Sequence[str]], ...] = (("succeeded", uncounted.succeeded), ("failed", uncounted.failed))
    for field, uids in lists:
        for index, uid in enumerate(uids):
            here = f"status.uncountedTerminatedPods.{field}[{index}]"
            if not uid:
                yield FieldError.invalid(here, uid, "must not be empty")
            elif uid in taken:
                yield FieldError.duplicate(here, uid)
            taken.add(uid)


def _validate_conditions(new: batchv1.Job, old: batchv1.Job) -> Errors:
    for type, other, text in (
        ("Complete", "Failed", "Complete=True and Failed=true conditions"),
        ("Complete", "FailureTarget", "Complete=True and FailureTarget=true conditions"),
        ("SuccessCriteriaMet", "Failed", "SuccessCriteriaMet=True and Failed=true conditions"),
        ("SuccessCriteriaMet", "FailureTarget", "SuccessCriteriaMet=True and FailureTarget=true conditions"),
    ):
        if _is(new, type) and _is(new, other):
            yield FieldError.invalid(_CONDITIONS, OMITTED, f"cannot set {text}")
    for type, cause in (("Failed", "FailureTarget"), ("Complete", "SuccessCriteriaMet")):
        if _is(new, type) and not _is(new, cause):
            text = f"cannot set {type}=True condition without the {cause}=true condition"
            yield FieldError.invalid(_CONDITIONS, OMITTED, text)
    for type in ("Failed", "Complete", "FailureTarget"):
        if _is(old, type) and not _is(new, type):
            yield FieldError.invalid(_CONDITIONS, OMITTED, f"cannot disable the terminal {type}=True condition")
    if _is(old, "SuccessCriteriaMet") and not _is(new, "SuccessCriteriaMet"):
        yield FieldError.invalid(_CONDITIONS, OMITTED, "cannot disable the SuccessCriteriaMet=True condition")


def _validate_times(new: batchv1.Job, old: batchv1.Job) -> Errors:
    status, before, here = new.status, old.status, "status.completionTime"
    if status.HasField("completion_time"):
        value = shown_time(status)
        if not _is(new, "Complete"):
            text = "cannot set completionTime when there is no Complete=True condition"
            yield FieldError.invalid(here, value, text)
        if status.HasField("start_time") and status.completion_time.seconds < status.start_time.seconds:
            yield FieldError.invalid(here, value, "must be equal to or after `startTime`")
        if before.HasField("completion_time") and status.completion_time.seconds != before.completion_time.seconds:
            yield FieldError.invalid(here, value, "field is immutable")
    elif _is(new, "Complete"):
        yield FieldError.required(here, "completionTime is required for Complete jobs")
    started = status.HasField("start_time") and status.start_time.seconds == before.start_time.seconds
    if before.HasField("start_time") and not started and not new.spec.suspend:
        yield FieldError.required("status.startTime", "startTime cannot be removed for unsuspended job")


def shown_time(status: batchv1.JobStatus) -> object:
    """The time of completion as messages show it."""
    return shown(status)["completionTime"]


def _validate_finished(status: batchv1.JobStatus) -> Errors:
    if status.active > 0:
        yield FieldError.invalid("status.active", status.active, "active>0 is invalid for finished job")
    if status.terminating > 0:
        yield FieldError.invalid("status.terminating", status.terminating, "terminating>0 is invalid for finished job")
    if not status.HasField("start_time"):
        yield FieldError.required("status.startTime", "startTime is required for finished job")
    uncounted = status.uncounted_terminated_pods
    if uncounted.failed or uncounted.succeeded:
        here = "status.uncountedTerminatedPods"
        yield FieldError.invalid(here, shown(uncounted), "must be empty for finished job")


def _validate_indexes(job: batchv1.Job) -> Errors:
    spec, status = job.spec, job.status
    here = "status.completedIndexes"
    if spec.HasField("completions"):
        yield from _validate_set(status.completed_indexes, spec.completions, "completedIndexes")
    if status.completed_indexes and spec.completion_mode != "Indexed":
        text = "cannot set non-empty completedIndexes when non-indexed completion mode"
        yield FieldError.invalid(here, status.completed_indexes, text)
    if not status.HasField("failed_indexes"):
        return
    here, failed = "status.failedIndexes", status.failed_indexes
    if not spec.HasField("backoff_limit_per_index"):
        text = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        yield FieldError.invalid(here, failed, text)
    if spec.HasField("completions"):
        if spec.HasField("backoff_limit_per_index"):
            yield from _validate_set(failed, spec.completions, "failedIndexes")
        if (both := overlap(status.completed_indexes, failed, spec.completions)) is not None:
            text = f"failedIndexes and completedIndexes overlap at index: {both}"
            yield FieldError.invalid(here, failed, text)


def _validate_set(text: str, completions: int, field: str) -> Errors:
    try:
        count_indexes(text, completions)
    except IndexesError as error:
        yield FieldError.invalid(f"status.{field}", text, f"error parsing {field}: {error}")
