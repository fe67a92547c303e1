"""Rules for Namespaces, Nodes, Leases and Events."""

from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.resources import validate_amount
from navarch.services.api.validation.scheduling import validate_taints
from navarch.services.api.validation.values import Errors, check, supported

_EVENT_WORD_MAX = 128
_EVENT_MESSAGE_MAX = 1024


def validate_namespace(namespace: corev1.Namespace) -> Errors:
    """Check a Namespace (its metadata aside)."""
    for finalizer in namespace.spec.finalizers:
        yield from check("spec.finalizers", finalizer, names.qualified_name(finalizer))


def validate_namespace_status(new: corev1.Namespace, _: corev1.Namespace) -> Errors:
    """Check that the phase agrees with what the metadata says."""
    deleting = new.metadata.HasField("deletion_timestamp")
    if not deleting and new.status.phase != "Active":
        yield FieldError.invalid(
            "status.phase", new.status.phase, "may only be 'Active' if `deletionTimestamp` is empty"
        )
    elif deleting and new.status.phase != "Terminating":
        text = "may only be 'Terminating' if `deletionTimestamp` is not empty"
        yield FieldError.invalid("status.phase", new.status.phase, text)


def validate_node(node: corev1.Node) -> Errors:
    """Check a Node (its metadata aside)."""
    # Kubernetes reports taints as if they stood in metadata.
    yield from validate_taints(node.spec.taints, "metadata.taints")
    for field, resources in (("capacity", node.status.capacity), ("allocatable", node.status.allocatable)):
        for name in sorted(resources):
            yield from validate_amount(name, resources[name], f"status.{field}.{name}")
    yield from _validate_pod_cidrs(list(node.spec.pod_cidrs))


def _validate_pod_cidrs(blocks: list[str]) -> Errors:
    path = "spec.podCIDRs"
    wrong = [names.cidr(block) for block in blocks]
    for index, block in enumerate(blocks):
        yield from check(f"{path}[{index}]", block, wrong[index])
        if block in blocks[:index]:
            yield FieldError.duplicate(f"{path}[{index}]", block)
    if not any(wrong) and len({":" in block for block in blocks}) < len(blocks):
        yield FieldError.invalid(path, blocks, "may specify no more than one CIDR for each IP family")


def validate_node_update(new: corev1.Node, old: corev1.Node) -> Errors:
    """Check a changed Node: scheduling may be changed, identity only filled in."""
    yield from validate_node(new)
    yield from _validate_addresses(new)
    if old.spec.pod_cidrs and list(new.spec.pod_cidrs) != list(old.spec.pod_cidrs):
        yield FieldError.forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')
    if old.spec.provider_id and new.spec.provider_id != old.spec.provider_id:
        yield FieldError.forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid')
    if new.spec.external_id != old.spec.external_id:
        yield FieldError.forbidden("spec.externalID", "may not be updated")


def validate_node_status(new: corev1.Node, _: corev1.Node) -> Errors:
    """Check a status reported by a kubelet."""
    yield from validate_node(new)
    yield from _validate_addresses(new)


def _validate_addresses(node: corev1.Node) -> Errors:
    taken: set[tuple[str, str]] = set()
    for index, address in enumerate(node.status.addresses):
        pair = (address.type, address.address)
        if pair in taken:
            yield FieldError.duplicate(f"status.addresses[{index}]", {"type": address.type, "address": address.address})
        taken.add(pair)


def validate_lease(lease: coordinationv1.Lease) -> Errors:
    """Check a Lease (its metadata aside)."""
    spec = lease.spec
    if spec.HasField("lease_duration_seconds") and spec.lease_duration_seconds <= 0:
        yield FieldError.invalid("spec.leaseDurationSeconds", spec.lease_duration_seconds, "must be greater than 0")
    if spec.lease_transitions < 0:
        yield FieldError.invalid("spec.leaseTransitions", spec.lease_transitions, "must be greater than or equal to 0")
    if spec.HasField("strategy"):
        if "/" in spec.strategy:
            yield from check("spec.strategy", spec.strategy, names.qualified_name(spec.strategy))
        else:
            yield from supported("spec.strategy", spec.strategy, ("OldestEmulationVersion",))
    if spec.preferred_holder and not spec.strategy:
        yield FieldError.forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined")


def validate_event(event: corev1.Event) -> Errors:
    """Check an Event: it lives in the namespace of what it is about; cluster-wide things use "default"."""
    namespace, about = event.metadata.namespace, event.involved_object.namespace
    if about and about != namespace:
        yield FieldError.invalid("involvedObject.namespace", about, "does not match event.namespace")
    elif not about and namespace not in ("default", "kube-system"):
        text = f"required for kind {event.involved_object.kind}"
        yield FieldError.invalid("involvedObject.namespace", about, text)
    if not event.event_time.seconds:
        return
    for field, value in (
        ("reportingController", event.reporting_component),
        ("reportingInstance", event.reporting_instance),
        ("action", event.action),
        ("reason", event.reason),
    ):
        if not value:
            yield FieldError.required(field)
        elif len(value) > _EVENT_WORD_MAX:
            yield FieldError.invalid(field, "", f"can have at most {_EVENT_WORD_MAX} characters")
    if len(event.message) > _EVENT_MESSAGE_MAX:
        yield FieldError.invalid("message", "", f"can have at most {_EVENT_MESSAGE_MAX} characters")
