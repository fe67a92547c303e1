"""What a namespace may use, and templates kept in one."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.defaults import quotas as defaults
from navarch.services.api.defaults.pods import default_pod_spec
from navarch.services.api.equality import same
from navarch.services.api.strategies.hooks import Hooks
from navarch.services.api.strategies.pod_warnings import template_warnings
from navarch.services.api.validation import quotas as validation
from navarch.services.api.validation.pods import validate_template


def _default_template(template: corev1.PodTemplate) -> None:
    default_pod_spec(template.template.spec)


LIMIT_RANGE = Hooks(
    default=defaults.default_limit_range,
    validate=validation.validate_limit_range,
    validate_update=lambda new, _: validation.validate_limit_range(new),
)
RESOURCE_QUOTA = Hooks(
    default=defaults.default_quota,
    validate=validation.validate_quota,
    validate_update=validation.validate_quota_update,
    validate_status=validation.validate_quota_status,
)
POD_TEMPLATE = Hooks(
    generation=lambda new, old: not same(new.template, old.template),
    default=_default_template,
    validate=lambda template: validate_template(template.template, "template"),
    validate_update=lambda new, _: validate_template(new.template, "template"),
    warnings=lambda template: template_warnings(template.template, "template"),
)
