"""Defaults of flow schemas and priority levels."""

from navarch.protos.k8s.flowcontrol import v1_pb2 as flowcontrolv1
from navarch.services.api.defaults.fill import fill

_PRECEDENCE = 1000
_SHARES = 30


def default_flow_schema(schema: flowcontrolv1.FlowSchema) -> None:
    """Complete a FlowSchema."""
    fill(schema.spec, matching_precedence=_PRECEDENCE)


def default_priority_level(level: flowcontrolv1.PriorityLevelConfiguration) -> None:
    """Complete a PriorityLevelConfiguration."""
    spec = level.spec
    if spec.HasField("exempt"):
        fill(spec.exempt, nominal_concurrency_shares=0, lendable_percent=0)
    if spec.HasField("limited"):
        fill(spec.limited, nominal_concurrency_shares=_SHARES, lendable_percent=0)
        if spec.limited.limit_response.HasField("queuing"):
            fill(spec.limited.limit_response.queuing, hand_size=8, queues=64, queue_length_limit=50)
