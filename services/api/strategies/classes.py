"""Classes that Pods name: PriorityClasses and RuntimeClasses."""

from navarch.services.api.defaults import classes as defaults
from navarch.services.api.strategies.hooks import Hooks
from navarch.services.api.validation import classes as validation

PRIORITY_CLASS = Hooks(
    default=defaults.default_priority_class,
    validate=validation.validate_priority_class,
    validate_update=validation.validate_priority_class_update,
)
RUNTIME_CLASS = Hooks(
    default=defaults.default_runtime_class,
    validate=validation.validate_runtime_class,
    validate_update=validation.validate_runtime_class_update,
)
