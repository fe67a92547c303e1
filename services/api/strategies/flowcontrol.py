"""Flow control: kept for those who read it; nothing is queued by it here."""

from navarch.services.api.defaults import flowcontrol as defaults
from navarch.services.api.strategies.hooks import Hooks, keep_metadata, spec_changed

FLOW_SCHEMA = Hooks(
    generation=spec_changed,
    default=defaults.default_flow_schema,
    prepare_status=keep_metadata,
)
PRIORITY_LEVEL = Hooks(
    generation=spec_changed,
    default=defaults.default_priority_level,
    prepare_status=keep_metadata,
)
