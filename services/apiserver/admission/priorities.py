"""A Pod's priority, by the class it names."""

from typing import TYPE_CHECKING

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.scheduling import v1_pb2 as schedulingv1
from navarch.services.api.errors import Forbidden
from navarch.services.api.kinds import KINDS

if TYPE_CHECKING:
    from navarch.services.apiserver.registry.core import Core

POD = KINDS.of(corev1.Pod)
CLASS = KINDS.of(schedulingv1.PriorityClass)
# There in every cluster, stored or not.
SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
PREEMPT = "PreemptLowerPriority"


async def settle_priority(core: "Core", pod: corev1.Pod) -> None:
    """Write the priority of the Pod's class into it. Raises Forbidden for an unknown class."""
    name = pod.spec.priority_class_name
    priority, policy = SYSTEM_CLASSES.get(name, 0), PREEMPT
    if name and name not in SYSTEM_CLASSES:
        stored = await core.storage.get(CLASS, "", name)
        if stored is None:
            raise Forbidden(POD, pod.metadata.name, f"no PriorityClass with name {name} was found")
        found = stored.decode()
        priority, policy = found.value, found.preemption_policy or PREEMPT
    if pod.spec.HasField("priority") and pod.spec.priority != priority:
        detail = f"the integer value of priority ({pod.spec.priority}) must not be provided in pod spec; "
        raise Forbidden(POD, pod.metadata.name, f"{detail}priority admission controller computed {priority}")
    pod.spec.priority = priority
    if not pod.spec.HasField("preemption_policy"):
        pod.spec.preemption_policy = policy
