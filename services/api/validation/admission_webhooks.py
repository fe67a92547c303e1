"""Rules for the configurations of admission webhooks."""

from navarch.protos.k8s.admissionregistration import v1_pb2 as admissionv1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.admission_rules import (
    FAILURE_POLICIES,
    MATCH_POLICIES,
    validate_match_conditions,
    validate_rule,
)
from navarch.services.api.validation.selectors import validate_label_selector
from navarch.services.api.validation.values import Errors, supported
from navarch.services.api.validation.webhooks import REVIEW_VERSIONS, validate_client, validate_review_versions

Configuration = admissionv1.MutatingWebhookConfiguration | admissionv1.ValidatingWebhookConfiguration
Webhook = admissionv1.MutatingWebhook | admissionv1.ValidatingWebhook

_NO_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_TIMEOUT_MAX_S = 30


def validate_webhooks(configuration: Configuration) -> Errors:
    """Check a configuration (its metadata aside)."""
    taken: set[str] = set()
    webhooks: list[Webhook] = [*configuration.webhooks]
    for index, webhook in enumerate(webhooks):
        here = f"webhooks[{index}]"
        yield from _validate_webhook(webhook, here)
        versions = list(webhook.admission_review_versions)
        missing = f"must specify one of {', '.join(REVIEW_VERSIONS)}"
        yield from validate_review_versions(versions, f"{here}.admissionReviewVersions", missing)
        if webhook.name and webhook.name in taken:
            yield FieldError.duplicate(f"{here}.name", webhook.name)
        taken.add(webhook.name)


def _validate_webhook(webhook: Webhook, path: str) -> Errors:
    yield from validate_full_name(webhook.name, f"{path}.name")
    for index, rule in enumerate(webhook.rules):
        yield from validate_rule(rule, f"{path}.rules[{index}]")
    yield from supported(f"{path}.failurePolicy", webhook.failure_policy, FAILURE_POLICIES)
    yield from supported(f"{path}.matchPolicy", webhook.match_policy, MATCH_POLICIES)
    if not webhook.HasField("side_effects"):
        yield FieldError.required(f"{path}.sideEffects", f"must specify one of {', '.join(_NO_SIDE_EFFECTS)}")
    else:
        yield from supported(f"{path}.sideEffects", webhook.side_effects, _NO_SIDE_EFFECTS)
    if not 1 <= webhook.timeout_seconds <= _TIMEOUT_MAX_S:
        text = f"the timeout value must be between 1 and {_TIMEOUT_MAX_S} seconds"
        yield FieldError.invalid(f"{path}.timeoutSeconds", webhook.timeout_seconds, text)
    yield from validate_label_selector(webhook.namespace_selector, f"{path}.namespaceSelector")
    yield from validate_label_selector(webhook.object_selector, f"{path}.objectSelector")
    if isinstance(webhook, admissionv1.MutatingWebhook):
        yield from supported(f"{path}.reinvocationPolicy", webhook.reinvocation_policy, ("IfNeeded", "Never"))
    yield from validate_client(webhook.client_config, f"{path}.clientConfig")
    yield from validate_match_conditions(webhook.match_conditions, f"{path}.matchConditions")


def validate_full_name(name: str, path: str) -> Errors:
    """Check a name that has to say whose it is: three parts or more."""
    if not name:
        yield FieldError.required(path)
    elif wrong := names.dns_subdomain(name):
        yield FieldError.invalid(path, name, ",".join(wrong))
    elif name.count(".") < 2:
        yield FieldError.invalid(path, name, "should be a domain with at least three segments separated by dots")
