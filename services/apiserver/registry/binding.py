"""Binding: give a Pod to a node."""

from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import meta
from navarch.services.api.errors import BadRequest, Conflict, FieldError, Invalid
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.registry.core import Core, Target, WriteOptions
from navarch.services.apiserver.registry.modify import Order, Write, modify
from navarch.services.apiserver.stored import StoredObject

RESOURCE = "pods/binding"


async def bind(core: Core, user: User, target: Target, binding: Any, options: WriteOptions) -> metav1.Status:
    """Set the Pod's node, once. Raises Conflict for a Pod that has one or is being deleted."""
    core.admit_user(user, "create", target.named())
    if not isinstance(binding, corev1.Binding):
        raise BadRequest(f"a binding was expected, not {binding.DESCRIPTOR.name}")
    node = binding.target.name
    if not node:
        raise Invalid("Binding", target.name, [FieldError.required("target.name")])
    if binding.target.kind not in ("", "Node"):
        raise Invalid("Binding", target.name, [FieldError.not_supported("target.kind", binding.target.kind, ["Node"])])

    async def decide(current: StoredObject) -> Order:
        pod = current.decode()
        refuse(pod, binding)
        pod.spec.node_name = node
        pod.metadata.annotations.update(binding.metadata.annotations)
        condition = corev1.PodCondition(type="PodScheduled", status="True")
        condition.last_transition_time.CopyFrom(meta.time_from(core.clock.now()))
        meta.set_condition(pod.status.conditions, condition)
        return Write(pod)

    await modify(core, target, decide, guess=core.guess(target), dry_run=options.dry_run)
    return metav1.Status(status="Success", code=201)


def refuse(pod: corev1.Pod, binding: corev1.Binding) -> None:
    """Raise Conflict when the Pod cannot be given to a node."""
    name = pod.metadata.name
    if binding.metadata.uid and binding.metadata.uid != pod.metadata.uid:
        detail = f"Precondition failed: UID in precondition: {binding.metadata.uid}, UID in object meta: "
        raise Conflict(RESOURCE, name, detail + pod.metadata.uid)
    if meta.is_being_deleted(pod):
        raise Conflict(RESOURCE, name, f"pod {name} is being deleted, cannot be assigned to a host")
    if pod.spec.node_name:
        raise Conflict(RESOURCE, name, f'pod {name} is already assigned to node "{pod.spec.node_name}"')
    if pod.spec.scheduling_gates:
        raise Conflict(RESOURCE, name, f"pod {name} has non-empty .spec.schedulingGates")
