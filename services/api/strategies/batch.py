"""Jobs and CronJobs."""

from collections.abc import Sequence

from navarch.protos.k8s.batch import v1_pb2 as batchv1
from navarch.services.api.defaults import batch as defaults
from navarch.services.api.strategies.hooks import Hooks, spec_changed
from navarch.services.api.strategies.pod_warnings import template_warnings
from navarch.services.api.validation import cron_jobs, job_status, jobs, names

_MANY_COMPLETIONS = 100_000
_MUCH_PARALLELISM = 10_000
_MANY = (
    "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, "
    "Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
)
_ZONE = (
    "cannot use TZ or CRON_TZ in spec.schedule, use timeZone instead, see "
    "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#time-zones for more details"
)


def _generate_selector(job: batchv1.Job, former_name: str) -> None:
    """Let the Job select its own Pods only, unless its author takes care of that. What is said stays, if wrong too."""
    if job.spec.manual_selector:
        return
    labels = job.spec.template.metadata.labels
    for key, value in jobs.labels_of(job).items():
        if key not in labels or (former_name and labels[key] == former_name):
            labels[key] = value
    if jobs.CONTROLLER_UID not in job.spec.selector.match_labels:
        job.spec.selector.match_labels[jobs.CONTROLLER_UID] = job.metadata.uid
    if not job.metadata.labels:
        # The default came too early for these; Kubernetes sets defaults once more whenever it reads.
        job.metadata.labels.update(labels)


def _name_warnings(name: str) -> list[str]:
    if not (wrong := names.dns_label(name)):
        return []
    text = (
        "this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended"
    )
    return [f"metadata.name: {text}: [{' '.join(wrong)}]"]


def _job_warnings(job: batchv1.Job) -> Sequence[str]:
    spec, found = job.spec, _name_warnings(job.metadata.name)
    is_indexed = spec.completion_mode == "Indexed"
    if is_indexed and spec.completions > _MANY_COMPLETIONS and spec.parallelism > _MUCH_PARALLELISM:
        found.append(_MANY)
    return [*found, *template_warnings(spec.template, "spec.template")]


def _cron_job_warnings(cron_job: batchv1.CronJob) -> Sequence[str]:
    spec, found = cron_job.spec, _name_warnings(cron_job.metadata.name)
    if "TZ" in spec.schedule:
        found.append(_ZONE)
    return [*found, *template_warnings(spec.job_template.spec.template, "spec.jobTemplate.spec.template")]


JOB = Hooks(
    generation=spec_changed,
    default=defaults.default_job,
    complete=_generate_selector,
    validate=jobs.validate_job,
    validate_update=jobs.validate_job_update,
    validate_status=job_status.validate_job_status,
    warnings=_job_warnings,
)
CRON_JOB = Hooks(
    generation=spec_changed,
    default=defaults.default_cron_job,
    validate=cron_jobs.validate_cron_job,
    validate_update=cron_jobs.validate_cron_job_update,
    warnings=_cron_job_warnings,
)
