"""The Node's condition NetworkUnavailable, as the cloud's route controller and CNI agents set it.

True keeps new Pods away (the controller manager taints the Node). So it is True only where this node's own network
cannot be had; that a peer is refused is told in the message, for else one bad Node would stop all others.
"""

from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.network.planner import REFUSED, Plan

TYPE = "NetworkUnavailable"
CREATED, NOT_CREATED, OVERLAPS, OTHER = "RouteCreated", "NoRouteCreated", "PodCIDROverlaps", "OtherNetwork"
OURS = (CREATED, NOT_CREATED, OVERLAPS, OTHER)
NAMED = 5


@dataclass(frozen=True, slots=True)
class Condition:
    """status: "True" or "False"."""

    status: str
    reason: str
    message: str


def of_plan(plan: Plan) -> Condition:
    """What a plan that has been carried out says."""
    if plan.conflict:
        return Condition("True", OVERLAPS, plan.conflict)
    refused = [
        f"{peer.node} ({way.cidr}: {way.reason})" for peer in plan.peers for way in peer.ways if way.how == REFUSED
    ]
    if not refused:
        return Condition("False", CREATED, "the Pod network is in place")
    more = f" and {len(refused) - NAMED} more" if len(refused) > NAMED else ""
    named = ", ".join(refused[:NAMED])
    return Condition("False", CREATED, f"the Pod network is in place, but refused are: {named}{more}")


def of_other(node: corev1.Node, config: str) -> Condition | None:
    """When another network is in charge: take back what we have said against the node. None where we have not."""
    found = next((one for one in node.status.conditions if one.type == TYPE), None)
    if found is None or found.status == "False" or found.reason not in OURS:
        return None
    return Condition("False", OTHER, f"the CNI configuration {config} comes before ours: its network is in charge")


def is_told(node: corev1.Node, wanted: Condition) -> bool:
    """Whether the Node says so already."""
    return any(
        (one.status, one.reason, one.message) == (wanted.status, wanted.reason, wanted.message)
        for one in node.status.conditions
        if one.type == TYPE
    )


def patch_of(node: corev1.Node, wanted: Condition, now: str) -> dict[str, object]:
    """The strategic merge patch of the Node's status. now: RFC 3339."""
    condition = {
        "type": TYPE,
        "status": wanted.status,
        "reason": wanted.reason,
        "message": wanted.message,
        "lastHeartbeatTime": now,
    }
    before = next((one for one in node.status.conditions if one.type == TYPE), None)
    if before is None or before.status != wanted.status:
        condition["lastTransitionTime"] = now
    return {"status": {"conditions": [condition]}}
