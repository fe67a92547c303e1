"""HorizontalPodAutoscalers of both versions; the first goes by the rules of the second."""

from navarch.protos.k8s.autoscaling import v1_pb2 as v1
from navarch.services.api.autoscaling import to_v1, to_v2
from navarch.services.api.defaults import autoscaling as defaults
from navarch.services.api.strategies.hooks import Hooks, spec_changed
from navarch.services.api.validation import autoscaling as validation


def _drop_status(scaler: v1.HorizontalPodAutoscaler) -> None:
    """Of the first version, part of the status is in annotations."""
    whole = to_v2(scaler)
    whole.ClearField("status")
    scaler.CopyFrom(to_v1(whole))


def _keep_status(new: v1.HorizontalPodAutoscaler, old: v1.HorizontalPodAutoscaler) -> None:
    whole = to_v2(new)
    whole.status.CopyFrom(to_v2(old).status)
    new.CopyFrom(to_v1(whole))


def _keep_spec(new: v1.HorizontalPodAutoscaler, old: v1.HorizontalPodAutoscaler) -> None:
    whole = to_v2(new)
    whole.spec.CopyFrom(to_v2(old).spec)
    new.CopyFrom(to_v1(whole))


AUTOSCALER = Hooks(
    generation=spec_changed,
    default=defaults.default_autoscaler,
    validate=validation.validate_autoscaler,
    validate_update=validation.validate_autoscaler_update,
    validate_status=validation.validate_autoscaler_status,
)
AUTOSCALER_V1 = Hooks(
    generation=lambda new, old: spec_changed(to_v2(new), to_v2(old)),
    default=defaults.default_autoscaler_v1,
    prepare_create=_drop_status,
    prepare_update=_keep_status,
    prepare_status=_keep_spec,
    validate=lambda scaler: validation.validate_autoscaler(to_v2(scaler)),
    validate_update=lambda new, old: validation.validate_autoscaler_update(to_v2(new), to_v2(old)),
    validate_status=lambda new, old: validation.validate_autoscaler_status(to_v2(new), to_v2(old)),
)
