"""Rules for Jobs."""

from navarch.protos.k8s.batch import v1_pb2 as batchv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.labels import Selector, SelectorError
from navarch.services.api.validation import names
from navarch.services.api.validation.job_policies import validate_failure_policy, validate_success_policy
from navarch.services.api.validation.pods import validate_template
from navarch.services.api.validation.selectors import validate_label_selector
from navarch.services.api.validation.values import (
    Errors,
    domain_prefixed_path,
    immutable,
    non_negative,
    optional,
    shown,
    supported,
)

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
LEGACY_CONTROLLER_UID = "controller-uid"
LEGACY_JOB_NAME = "job-name"

_MANAGED_BY_MAX_BYTES = 63
_MANY_COMPLETIONS = 100_000
_INDEXED_PARALLELISM_MAX = 100_000
_FAILED_INDEXES_MAX = 100_000
# What remains allowed for Jobs of many completions that count failures by index.
_PARALLELISM_MAX_OF_MANY = 10_000
_FAILED_INDEXES_MAX_OF_MANY = 10_000
_RESTART_POLICIES = ("OnFailure", "Never")


def validate_job(job: batchv1.Job) -> Errors:
    """Check a Job (its metadata aside), whose selector has been generated."""
    yield from _validate_generated(job)
    yield from _validate_whole_spec(job.spec)
    if job.spec.completion_mode == "Indexed" and job.spec.completions > 0:
        # Pods of an indexed Job have their index in their host name.
        longest = f"{job.metadata.name}-{job.spec.completions - 1}"
        if names.dns_label(longest):
            text = f"will not able to create pod with invalid DNS label: {longest}"
            yield FieldError.invalid("metadata.name", job.metadata.name, text)


def labels_of(job: batchv1.Job) -> dict[str, str]:
    """The labels that tell the Pods of a Job from those of others."""
    uid, name = job.metadata.uid, job.metadata.name
    return {LEGACY_CONTROLLER_UID: uid, LEGACY_JOB_NAME: name, CONTROLLER_UID: uid, JOB_NAME: name}


def _validate_generated(job: batchv1.Job) -> Errors:
    if job.spec.manual_selector or not job.spec.HasField("selector"):
        return
    if not job.metadata.uid:
        yield FieldError.required("metadata.uid")
    expected, labels = labels_of(job), job.spec.template.metadata.labels
    for key, value in expected.items():
        here, text = f"spec.template.metadata.labels[{key}]", f"must be '{value}'"
        if key not in labels:
            yield FieldError.required(here, text)
        elif labels[key] != value:
            yield FieldError.invalid(here, dict(labels), text)
    if not _selects(job.spec, expected):
        yield FieldError.invalid("spec.selector", shown(job.spec.selector), "`selector` not auto-generated")


def _selects(spec: batchv1.JobSpec, labels: dict[str, str]) -> bool:
    try:
        return Selector.of(spec.selector).matches(labels)
    except SelectorError:
        return True  # what is wrong with the selector is said elsewhere


def _validate_whole_spec(spec: batchv1.JobSpec) -> Errors:
    yield from validate_job_spec(spec, "spec")
    if not spec.HasField("selector"):
        yield FieldError.required("spec.selector")
        return
    yield from validate_label_selector(spec.selector, "spec.selector")
    labels = dict(spec.template.metadata.labels)
    if not _selects(spec, labels):
        text = "`selector` does not match template `labels`"
        yield FieldError.invalid("spec.template.metadata.labels", labels, text)


def validate_job_spec(spec: batchv1.JobSpec, path: str) -> Errors:
    """Check what a Job does, of a Job or of a template of Jobs; selectors are for the caller."""
    yield from non_negative(f"{path}.parallelism", spec.parallelism)
    yield from non_negative(f"{path}.completions", spec.completions)
    yield from non_negative(f"{path}.activeDeadlineSeconds", spec.active_deadline_seconds)
    yield from non_negative(f"{path}.backoffLimit", spec.backoff_limit)
    yield from non_negative(f"{path}.ttlSecondsAfterFinished", spec.ttl_seconds_after_finished)
    yield from non_negative(f"{path}.backoffLimitPerIndex", spec.backoff_limit_per_index)
    yield from non_negative(f"{path}.maxFailedIndexes", spec.max_failed_indexes)
    if spec.HasField("max_failed_indexes") and not spec.HasField("backoff_limit_per_index"):
        yield FieldError.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    if spec.HasField("managed_by"):
        yield from domain_prefixed_path(f"{path}.managedBy", spec.managed_by)
        if len(spec.managed_by.encode()) > _MANAGED_BY_MAX_BYTES:
            yield FieldError.too_long(f"{path}.managedBy", "", _MANAGED_BY_MAX_BYTES)
    yield from _validate_mode(spec, path)
    if spec.HasField("pod_failure_policy"):
        yield from validate_failure_policy(spec, f"{path}.podFailurePolicy")
    yield from _validate_success(spec, f"{path}.successPolicy")
    if spec.HasField("pod_replacement_policy"):
        accepted = ("Failed",) if spec.HasField("pod_failure_policy") else ("Failed", "TerminatingOrFailed")
        yield from supported(f"{path}.podReplacementPolicy", spec.pod_replacement_policy, accepted)
    yield from validate_template(spec.template, f"{path}.template")
    yield from _validate_restarts(spec, f"{path}.template.spec.restartPolicy")


def _validate_mode(spec: batchv1.JobSpec, path: str) -> Errors:
    if spec.HasField("completion_mode"):
        yield from supported(f"{path}.completionMode", spec.completion_mode, ("NonIndexed", "Indexed"))
    if spec.completion_mode == "Indexed":
        yield from _validate_indexed(spec, path)
        return
    if spec.completion_mode in ("", "NonIndexed"):
        for name, field in (
            ("backoff_limit_per_index", "backoffLimitPerIndex"),
            ("max_failed_indexes", "maxFailedIndexes"),
        ):
            if spec.HasField(name):
                yield FieldError.invalid(f"{path}.{field}", getattr(spec, name), "requires indexed completion mode")


def _validate_indexed(spec: batchv1.JobSpec, path: str) -> Errors:
    if not spec.HasField("completions"):
        yield FieldError.required(f"{path}.completions", "when completion mode is Indexed")
    if spec.parallelism > _INDEXED_PARALLELISM_MAX:
        text = f"must be less than or equal to {_INDEXED_PARALLELISM_MAX} when completion mode is Indexed"
        yield FieldError.invalid(f"{path}.parallelism", spec.parallelism, text)
    here, failed = f"{path}.maxFailedIndexes", spec.max_failed_indexes
    if spec.HasField("completions") and failed > spec.completions:
        yield FieldError.invalid(here, failed, "must be less than or equal to completions")
    if failed > _FAILED_INDEXES_MAX:
        yield FieldError.invalid(here, failed, f"must be less than or equal to {_FAILED_INDEXES_MAX}")
    if spec.completions <= _MANY_COMPLETIONS or not spec.HasField("backoff_limit_per_index"):
        return
    text = f"when completions are above {_MANY_COMPLETIONS} and used with backoff limit per index"
    if not spec.HasField("max_failed_indexes"):
        yield FieldError.required(here, f"must be specified when completions is above {_MANY_COMPLETIONS}")
    if spec.parallelism > _PARALLELISM_MAX_OF_MANY:
        most = f"must be less than or equal to {_PARALLELISM_MAX_OF_MANY} {text}"
        yield FieldError.invalid(f"{path}.parallelism", spec.parallelism, most)
    if failed > _FAILED_INDEXES_MAX_OF_MANY:
        yield FieldError.invalid(here, failed, f"must be less than or equal to {_FAILED_INDEXES_MAX_OF_MANY} {text}")


def _validate_success(spec: batchv1.JobSpec, path: str) -> Errors:
    if not spec.HasField("success_policy"):
        return
    if spec.completion_mode != "Indexed":
        yield FieldError.invalid(path, shown(spec.success_policy), "requires indexed completion mode")
    elif spec.HasField("completions"):
        yield from validate_success_policy(spec, f"{path}.rules")


def _validate_restarts(spec: batchv1.JobSpec, path: str) -> Errors:
    """Pods that are restarted for ever complete nothing."""
    policy = spec.template.spec.restart_policy
    if policy in ("", "Always"):
        yield FieldError.required(path, 'valid values: "OnFailure", "Never"')
    elif policy not in _RESTART_POLICIES:
        yield FieldError.not_supported(path, policy, _RESTART_POLICIES)
    elif spec.HasField("pod_failure_policy") and policy != "Never":
        yield FieldError.invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified')


def validate_job_update(new: batchv1.Job, old: batchv1.Job) -> Errors:
    """Check a changed Job: how many Pods run may change, what they are not once they may have started."""
    yield from validate_job(new)
    spec, before = new.spec, old.spec
    yield from _validate_completions(spec, before)
    yield from immutable("spec.selector", optional(spec, "selector"), optional(before, "selector"))
    yield from _validate_template(new, old)
    for name, field in (
        ("completion_mode", "completionMode"),
        ("pod_failure_policy", "podFailurePolicy"),
        ("backoff_limit_per_index", "backoffLimitPerIndex"),
        ("managed_by", "managedBy"),
        ("success_policy", "successPolicy"),
    ):
        yield from immutable(f"spec.{field}", optional(spec, name), optional(before, name))


def _validate_completions(spec: batchv1.JobSpec, before: batchv1.JobSpec) -> Errors:
    here, now, then = "spec.completions", optional(spec, "completions"), optional(before, "completions")
    if spec.completion_mode != "Indexed":
        yield from immutable(here, now, then)
    elif now not in (None, then, spec.parallelism):
        yield FieldError.invalid(here, now, "can only be modified in tandem with spec.parallelism")


def _validate_template(new: batchv1.Job, old: batchv1.Job) -> Errors:
    """Of a suspended Job that runs nothing, where its Pods may go and what they need can still be chosen."""
    template = corev1.PodTemplateSpec()
    template.CopyFrom(old.spec.template)
    if old.spec.suspend and not old.status.HasField("start_time"):
        _take_directives(template, new.spec.template)
    if old.spec.suspend and not old.status.active:
        _take_resources(template.spec, new.spec.template.spec)
    yield from immutable("spec.template", new.spec.template, template)


def _take_directives(template: corev1.PodTemplateSpec, new: corev1.PodTemplateSpec) -> None:
    spec = template.spec
    spec.affinity.ClearField("node_affinity")
    if new.spec.affinity.HasField("node_affinity"):
        spec.affinity.node_affinity.CopyFrom(new.spec.affinity.node_affinity)
    if not new.spec.HasField("affinity") and not spec.affinity.ListFields():
        spec.ClearField("affinity")
    for name in ("node_selector", "tolerations", "scheduling_gates"):
        spec.ClearField(name)
        getattr(spec, name).MergeFrom(getattr(new.spec, name))
    for name in ("labels", "annotations"):
        template.metadata.ClearField(name)
        getattr(template.metadata, name).MergeFrom(getattr(new.metadata, name))


def _take_resources(spec: corev1.PodSpec, new: corev1.PodSpec) -> None:
    for name in ("containers", "init_containers"):
        ours, theirs = getattr(spec, name), getattr(new, name)
        if len(ours) == len(theirs):
            for container, other in zip(ours, theirs, strict=True):
                if container.name == other.name:
                    container.resources.CopyFrom(other.resources)
