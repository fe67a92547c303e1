"""Rules for CronJobs."""

import re
from zoneinfo import ZoneInfo

from navarch.protos.k8s.batch import v1_pb2 as batchv1
from navarch.services.api import cron
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.jobs import validate_job_spec
from navarch.services.api.validation.values import Errors, non_negative, optional, shown, supported

# The Jobs of a CronJob are named after it and the minute: "-28000000".
_SUFFIX_LENGTH = 11
NAME_MAX = names.LABEL_MAX - _SUFFIX_LENGTH
_ZONE_PART = re.compile(r"[A-Za-z.\-_0-9+]{1,14}", re.ASCII)
_POLICIES = ("Allow", "Forbid", "Replace")


def validate_cron_job(cron_job: batchv1.CronJob) -> Errors:
    """Check a new CronJob (its metadata aside)."""
    yield from _validate_spec(cron_job.spec, None)
    if len(cron_job.metadata.name) > NAME_MAX:
        yield FieldError.invalid("metadata.name", cron_job.metadata.name, names.max_length(NAME_MAX))


def validate_cron_job_update(new: batchv1.CronJob, old: batchv1.CronJob) -> Errors:
    """Check a changed CronJob; zones that it had are not looked at again."""
    yield from _validate_spec(new.spec, old.spec)


def _validate_spec(spec: batchv1.CronJobSpec, before: batchv1.CronJobSpec | None) -> Errors:
    yield from _validate_schedule(spec, before is not None and "TZ" in before.schedule)
    yield from non_negative("spec.startingDeadlineSeconds", spec.starting_deadline_seconds)
    if spec.HasField("time_zone") and (before is None or optional(before, "time_zone") != spec.time_zone):
        yield from _validate_zone(spec.time_zone, "spec.timeZone")
    if not spec.concurrency_policy:
        yield FieldError.required("spec.concurrencyPolicy")
    else:
        yield from supported("spec.concurrencyPolicy", spec.concurrency_policy, _POLICIES)
    yield from _validate_template(spec.job_template, "spec.jobTemplate")
    yield from non_negative("spec.successfulJobsHistoryLimit", spec.successful_jobs_history_limit)
    yield from non_negative("spec.failedJobsHistoryLimit", spec.failed_jobs_history_limit)


def _validate_schedule(spec: batchv1.CronJobSpec, had_zone: bool) -> Errors:
    here, schedule = "spec.schedule", spec.schedule
    if not schedule:
        yield FieldError.required(here)
        return
    try:
        cron.parse(schedule)
    except cron.CronError as error:
        yield FieldError.invalid(here, schedule, str(error))
    if "TZ" not in schedule:
        return
    if not had_zone:
        text = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        yield FieldError.invalid(here, schedule, text)
    elif spec.HasField("time_zone"):
        text = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        yield FieldError.invalid(here, schedule, text)


def _validate_zone(name: str, path: str) -> Errors:
    if not name:
        yield FieldError.invalid(path, name, "timeZone must be nil or non-empty string")
        return
    parts = name.split("/")
    if any(part in (".", "..") or part.startswith("-") or not _ZONE_PART.fullmatch(part) for part in parts):
        yield FieldError.invalid(path, name, f"unknown time zone {name}")
        return
    if name.lower() == "local":
        text = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        yield FieldError.invalid(path, name, text)
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        if name != "Local":
            yield FieldError.invalid(path, name, f"unknown time zone {name}")


def _validate_template(template: batchv1.JobTemplateSpec, path: str) -> Errors:
    """Jobs get their selectors when they are made."""
    yield from validate_job_spec(template.spec, f"{path}.spec")
    if template.spec.HasField("selector"):
        selector = shown(template.spec.selector)
        yield FieldError.invalid(f"{path}.spec.selector", selector, "`selector` will be auto-generated")
    if template.spec.manual_selector:
        yield FieldError.not_supported(f"{path}.spec.manualSelector", True, ("nil", "false"))
