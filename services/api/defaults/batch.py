"""Defaults of Jobs and CronJobs."""

from navarch.protos.k8s.batch import v1_pb2 as batchv1
from navarch.services.api.defaults.fill import fill
from navarch.services.api.defaults.pods import default_pod_spec

_BACKOFF_LIMIT = 6
# Where every index counts its own failures, their sum says nothing.
_NO_BACKOFF_LIMIT = 2**31 - 1


def default_job(job: batchv1.Job) -> None:
    """Complete a Job; its labels follow the template's."""
    labels = job.spec.template.metadata.labels
    if labels and not job.metadata.labels:
        job.metadata.labels.update(labels)
    _default_job_spec(job.spec)


def _default_job_spec(spec: batchv1.JobSpec) -> None:
    if not spec.HasField("completions") and not spec.HasField("parallelism"):
        spec.completions = 1
    fill(
        spec,
        parallelism=1,
        backoff_limit=_NO_BACKOFF_LIMIT if spec.HasField("backoff_limit_per_index") else _BACKOFF_LIMIT,
        completion_mode="NonIndexed",
        suspend=False,
        manual_selector=False,
        pod_replacement_policy="Failed" if spec.HasField("pod_failure_policy") else "TerminatingOrFailed",
    )
    for rule in spec.pod_failure_policy.rules:
        for pattern in rule.on_pod_conditions:
            fill(pattern, status="True")
    default_pod_spec(spec.template.spec)


def default_cron_job(cron_job: batchv1.CronJob) -> None:
    """Complete a CronJob. Its template is completed like a Pod's only; Jobs are completed when they are made."""
    spec = cron_job.spec
    fill(
        spec,
        concurrency_policy="Allow",
        suspend=False,
        successful_jobs_history_limit=3,
        failed_jobs_history_limit=1,
    )
    default_pod_spec(spec.job_template.spec.template.spec)
    for rule in spec.job_template.spec.pod_failure_policy.rules:
        for pattern in rule.on_pod_conditions:
            fill(pattern, status="True")
