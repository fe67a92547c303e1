"""Budgets for the eviction of Pods."""

from navarch.services.api.strategies.hooks import Hooks, spec_changed
from navarch.services.api.validation import disruption

BUDGET = Hooks(
    generation=spec_changed,
    validate=disruption.validate_budget,
    validate_update=lambda new, _: disruption.validate_budget(new),
    validate_status=disruption.validate_budget_status,
)
