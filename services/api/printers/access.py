"""Who may do what, certificates, and what extends or guards the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from navarch.services.api.meta import find_condition, human_duration
from navarch.services.api.printers.table import (
    NONE,
    UNSET,
    Cell,
    Table,
    age_of,
    columns,
    or_none,
    selector_cell,
)

if TYPE_CHECKING:
    from navarch.protos.k8s.certificates import v1_pb2 as certificatesv1
    from navarch.protos.k8s.certificates import v1beta1_pb2 as certificatesv1beta1
    from navarch.protos.k8s.flowcontrol import v1_pb2 as flowcontrolv1


def _binding(binding: Any, now: float) -> tuple[Cell, ...]:
    role = binding.role_ref
    users, groups, accounts = (
        [subject for subject in binding.subjects if subject.kind == kind]
        for kind in ("User", "Group", "ServiceAccount")
    )
    return (
        binding.metadata.name,
        f"{role.kind}/{role.name}",
        age_of(binding, now),
        ", ".join(subject.name for subject in users),
        ", ".join(subject.name for subject in groups),
        ", ".join(f"{subject.namespace}/{subject.name}" for subject in accounts),
    )


def _signing_request(request: certificatesv1.CertificateSigningRequest, now: float) -> tuple[Cell, ...]:
    spec = request.spec
    return (
        request.metadata.name,
        age_of(request, now),
        or_none(spec.signer_name),
        spec.username,
        human_duration(spec.expiration_seconds) if spec.HasField("expiration_seconds") else NONE,
        _signing_state(request),
    )


def _trust_bundle(bundle: certificatesv1beta1.ClusterTrustBundle, now: float) -> tuple[Cell, ...]:
    return (bundle.metadata.name, or_none(bundle.spec.signer_name))


def _signing_state(request: certificatesv1.CertificateSigningRequest) -> str:
    types = {condition.type for condition in request.status.conditions}
    words = ["Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"]
    words += ["Failed"] if "Failed" in types else []
    words += ["Issued"] if request.status.certificate else []
    return ",".join(words)


def _webhooks(configuration: Any, now: float) -> tuple[Cell, ...]:
    return (configuration.metadata.name, len(configuration.webhooks), age_of(configuration, now))


def _policy(policy: Any, steps: int, now: float) -> tuple[Cell, ...]:
    spec = policy.spec
    parameter = f"{spec.param_kind.api_version}/{spec.param_kind.kind}" if spec.HasField("param_kind") else UNSET
    return (policy.metadata.name, steps, parameter, age_of(policy, now))


def _policy_binding(binding: Any, now: float) -> tuple[Cell, ...]:
    reference, parameter = binding.spec.param_ref, UNSET
    if reference.name:
        # From here it cannot be told whether the parameter's kind has namespaces at all.
        parameter = f"{reference.namespace or '*'}/{reference.name}"
    elif reference.HasField("selector"):
        parameter = selector_cell(reference.selector)
    return (binding.metadata.name, binding.spec.policy_name, parameter, age_of(binding, now))


def _api_service(service: Any, now: float) -> tuple[Cell, ...]:
    backend = service.spec.service
    place = f"{backend.namespace}/{backend.name}" if service.spec.HasField("service") else "Local"
    available = find_condition(service.status.conditions, "Available")
    word = "Unknown" if available is None else available.status
    if available is not None and word != "True":
        word += f" ({available.reason})"
    return (service.metadata.name, place, word, age_of(service, now))


def _flow_schema(schema: flowcontrolv1.FlowSchema, now: float) -> tuple[Cell, ...]:
    spec = schema.spec
    dangling = find_condition(schema.status.conditions, "Dangling")
    return (
        schema.metadata.name,
        spec.priority_level_configuration.name,
        spec.matching_precedence,
        spec.distinguisher_method.type if spec.HasField("distinguisher_method") else NONE,
        age_of(schema, now),
        dangling.status if dangling is not None else "?",
    )


def _priority_level(level: flowcontrolv1.PriorityLevelConfiguration, now: float) -> tuple[Cell, ...]:
    limits: list[Cell] = [NONE] * 4
    if level.spec.HasField("limited"):
        limited = level.spec.limited
        limits[0] = limited.nominal_concurrency_shares if limited.HasField("nominal_concurrency_shares") else None
        if limited.limit_response.HasField("queuing"):
            queuing = limited.limit_response.queuing
            limits[1:] = queuing.queues, queuing.hand_size, queuing.queue_length_limit
    return (level.metadata.name, level.spec.type, *limits, age_of(level, now))


_SUBJECTS = ("Users", "Groups", "ServiceAccounts")
BINDING = Table(columns("Role", "Age", *_SUBJECTS, wide=_SUBJECTS), _binding)
SIGNING_REQUEST = Table(columns("Age", "SignerName", "Requestor", "RequestedDuration", "Condition"), _signing_request)
TRUST_BUNDLE = Table(columns("SignerName"), _trust_bundle)
WEBHOOKS = Table(columns("Webhooks", "Age", integers=("Webhooks",)), _webhooks)
VALIDATING_POLICY = Table(
    columns("Validations", "ParamKind", "Age", integers=("Validations",)),
    lambda policy, now: _policy(policy, len(policy.spec.validations), now),
)
MUTATING_POLICY = Table(
    columns("Mutations", "ParamKind", "Age", integers=("Mutations",)),
    lambda policy, now: _policy(policy, len(policy.spec.mutations), now),
)
POLICY_BINDING = Table(columns("PolicyName", "ParamRef", "Age"), _policy_binding)
API_SERVICE = Table(columns("Service", "Available", "Age"), _api_service)
FLOW_SCHEMA = Table(
    columns("PriorityLevel", "MatchingPrecedence", "DistinguisherMethod", "Age", "MissingPL"), _flow_schema
)
PRIORITY_LEVEL = Table(
    columns("Type", "NominalConcurrencyShares", "Queues", "HandSize", "QueueLengthLimit", "Age"), _priority_level
)
PRIORITY_CLASS = Table(
    columns("Value", "Global-Default", "Age", "PreemptionPolicy", integers=("Value",), booleans=("Global-Default",)),
    lambda one, now: (one.metadata.name, one.value, one.global_default, age_of(one, now), one.preemption_policy),
)
