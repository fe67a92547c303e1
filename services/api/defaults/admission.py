"""Defaults of admission: webhooks, policies and their bindings."""

from navarch.protos.k8s.admissionregistration import v1_pb2 as admissionv1
from navarch.services.api.defaults.fill import fill

Webhook = admissionv1.MutatingWebhook | admissionv1.ValidatingWebhook
Binding = admissionv1.MutatingAdmissionPolicyBinding | admissionv1.ValidatingAdmissionPolicyBinding

_TIMEOUT_S = 10
_HTTPS = 443


def default_mutating_webhooks(configuration: admissionv1.MutatingWebhookConfiguration) -> None:
    """Complete a MutatingWebhookConfiguration."""
    for webhook in configuration.webhooks:
        _default_webhook(webhook)
        fill(webhook, reinvocation_policy="Never")


def default_validating_webhooks(configuration: admissionv1.ValidatingWebhookConfiguration) -> None:
    """Complete a ValidatingWebhookConfiguration."""
    for webhook in configuration.webhooks:
        _default_webhook(webhook)


def _default_webhook(webhook: Webhook) -> None:
    fill(webhook, failure_policy="Fail", match_policy="Equivalent", timeout_seconds=_TIMEOUT_S)
    webhook.namespace_selector.SetInParent()
    webhook.object_selector.SetInParent()
    if webhook.client_config.HasField("service"):
        fill(webhook.client_config.service, port=_HTTPS)
    for rule in webhook.rules:
        fill(rule.rule, scope="*")


def default_policy(policy: admissionv1.MutatingAdmissionPolicy | admissionv1.ValidatingAdmissionPolicy) -> None:
    """Complete a MutatingAdmissionPolicy or ValidatingAdmissionPolicy."""
    fill(policy.spec, failure_policy="Fail")
    if policy.spec.HasField("match_constraints"):
        _default_match(policy.spec.match_constraints)


def default_policy_binding(binding: Binding) -> None:
    """Complete the binding of a policy."""
    if binding.spec.HasField("match_resources"):
        _default_match(binding.spec.match_resources)


def _default_match(match: admissionv1.MatchResources) -> None:
    fill(match, match_policy="Equivalent")
    match.namespace_selector.SetInParent()
    match.object_selector.SetInParent()
    for rules in (match.resource_rules, match.exclude_resource_rules):
        for rule in rules:
            fill(rule.rule_with_operations.rule, scope="*")
