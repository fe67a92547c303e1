"""Devices and claims to them: kept for drivers and schedulers that know them."""

from navarch.services.api.defaults import devices as defaults
from navarch.services.api.strategies.hooks import Hooks, spec_changed

CLASS = Hooks(generation=spec_changed)
CLAIM = Hooks(default=defaults.default_claim)
CLAIM_TEMPLATE = Hooks(default=defaults.default_claim_template)
SLICE = Hooks(generation=spec_changed)
