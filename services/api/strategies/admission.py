"""Webhooks and policies of admission. Every change but of metadata makes a new generation."""

from typing import Any

from navarch.services.api.defaults import admission as defaults
from navarch.services.api.equality import same
from navarch.services.api.strategies.hooks import Hooks, keep_metadata, spec_changed
from navarch.services.api.validation import admission_policies as policies
from navarch.services.api.validation.admission_webhooks import validate_webhooks


def _webhooks_changed(new: Any, old: Any) -> bool:
    return len(new.webhooks) != len(old.webhooks) or not all(map(same, new.webhooks, old.webhooks))


MUTATING_WEBHOOKS = Hooks(
    generation=_webhooks_changed,
    needs_version=True,
    default=defaults.default_mutating_webhooks,
    validate=validate_webhooks,
    validate_update=lambda new, _: validate_webhooks(new),
)
VALIDATING_WEBHOOKS = Hooks(
    generation=_webhooks_changed,
    needs_version=True,
    default=defaults.default_validating_webhooks,
    validate=validate_webhooks,
    validate_update=lambda new, _: validate_webhooks(new),
)
VALIDATING_POLICY = Hooks(
    generation=spec_changed,
    needs_version=True,
    default=defaults.default_policy,
    prepare_status=keep_metadata,
    validate=policies.validate_validating_policy,
    validate_update=lambda new, _: policies.validate_validating_policy(new),
    validate_status=policies.validate_policy_status,
)
VALIDATING_BINDING = Hooks(
    generation=spec_changed,
    needs_version=True,
    default=defaults.default_policy_binding,
    validate=policies.validate_binding,
    validate_update=lambda new, _: policies.validate_binding(new),
)
MUTATING_POLICY = Hooks(
    generation=spec_changed,
    needs_version=True,
    default=defaults.default_policy,
    validate=policies.validate_mutating_policy,
    validate_update=lambda new, _: policies.validate_mutating_policy(new),
)
MUTATING_BINDING = Hooks(
    generation=spec_changed,
    needs_version=True,
    default=defaults.default_policy_binding,
    validate=policies.validate_binding,
    validate_update=lambda new, _: policies.validate_binding(new),
)
