"""Builds requests of the Objects service from typed objects, and objects from its answers.

Pure functions: `Client` sends what they make, and `Client.batch` takes the same requests as mutations.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import orjson
from google.protobuf import any_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from navarch.protos.k8s.authentication import v1_pb2 as authenticationv1
from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.k8s.policy import v1_pb2 as policyv1
from navarch.protos.navarch import objects_pb2
from navarch.services.api.kinds import KINDS, Kind, type_url
from navarch.services.api.meta import metadata_of

M = TypeVar("M", bound=Message)
PatchType = Literal["strategic", "merge", "json", "apply"]
Patch = Mapping[str, Any] | Sequence[Any] | bytes

PATCH_TYPES = {
    "strategic": objects_pb2.PatchRequest.STRATEGIC_MERGE,
    "merge": objects_pb2.PatchRequest.MERGE,
    "json": objects_pb2.PatchRequest.JSON,
    "apply": objects_pb2.PatchRequest.APPLY,
}


def resource_of(cls: type[Message] | Message) -> objects_pb2.Resource:
    """The REST coordinates of a kind."""
    return resource(KINDS.of(cls))


def resource(kind: Kind) -> objects_pb2.Resource:
    """The REST coordinates of a kind that the table need not have."""
    return objects_pb2.Resource(group=kind.group, version=kind.version, resource=kind.resource)


def pack(obj: Message) -> any_pb2.Any:
    """An object as it travels."""
    return any_pb2.Any(type_url=type_url(obj), value=obj.SerializeToString())


def unpack(packed: any_pb2.Any) -> Message:
    """An object of whichever type it says it is. Raises KeyError for a type that this build does not know."""
    descriptor = descriptor_pool.Default().FindMessageTypeByName(packed.type_url.rpartition("/")[2])
    return message_factory.GetMessageClass(descriptor).FromString(packed.value)


def unpack_as(cls: type[M], packed: any_pb2.Any) -> M:
    """An object that must be of this type. Raises TypeError when it is another."""
    if packed.type_url.rpartition("/")[2] != cls.DESCRIPTOR.full_name:
        raise TypeError(f"expected {cls.DESCRIPTOR.full_name}, the server sent {packed.type_url!r}")
    return cls.FromString(packed.value)


def create_request(
    obj: Message, *, namespace: str = "", dry_run: bool = False, kind: Kind | None = None
) -> objects_pb2.CreateRequest:
    """Create an object in the namespace given, else in its own. kind: of a custom object."""
    return objects_pb2.CreateRequest(
        resource=resource(kind) if kind else resource_of(obj),
        namespace=namespace or metadata_of(obj).namespace,
        object=pack(obj),
        options=objects_pb2.WriteOptions(dry_run=dry_run),
    )


def update_request(
    obj: Message, *, subresource: str = "", dry_run: bool = False, kind: Kind | None = None
) -> objects_pb2.UpdateRequest:
    """Replace an object, or the part of it that the subresource names. kind: of a custom object."""
    return objects_pb2.UpdateRequest(
        resource=resource(kind) if kind else resource_of(obj),
        namespace=metadata_of(obj).namespace,
        name=metadata_of(obj).name,
        subresource=subresource,
        object=pack(obj),
        options=objects_pb2.WriteOptions(dry_run=dry_run),
    )


def patch_request(
    cls: type[Message],
    name: str,
    namespace: str,
    patch: Patch,
    type: PatchType = "strategic",
    *,
    subresource: str = "",
    dry_run: bool = False,
    field_manager: str = "",
    force: bool = False,
) -> objects_pb2.PatchRequest:
    """Change a part of an object. patch: JSON as Python values or as bytes."""
    return objects_pb2.PatchRequest(
        resource=resource_of(cls),
        namespace=namespace,
        name=name,
        subresource=subresource,
        type=PATCH_TYPES[type],
        patch=patch if isinstance(patch, bytes) else orjson.dumps(patch),
        force=force,
        options=objects_pb2.WriteOptions(dry_run=dry_run, field_manager=field_manager),
    )


def delete_request(
    cls: type[Message], name: str, namespace: str = "", options: metav1.DeleteOptions | None = None
) -> objects_pb2.DeleteRequest:
    """Delete one object."""
    return objects_pb2.DeleteRequest(resource=resource_of(cls), namespace=namespace, name=name, options=options)


def delete_options(
    *,
    grace_period_seconds: int | None = None,
    propagation_policy: str | None = None,
    uid: str | None = None,
    resource_version: str | None = None,
    dry_run: bool = False,
) -> metav1.DeleteOptions:
    """What is not given is left to the server's defaults."""
    options = metav1.DeleteOptions(dry_run=["All"] if dry_run else [])
    if grace_period_seconds is not None:
        options.grace_period_seconds = grace_period_seconds
    if propagation_policy is not None:
        options.propagation_policy = propagation_policy
    if uid is not None:
        options.preconditions.uid = uid
    if resource_version is not None:
        options.preconditions.resource_version = resource_version
    return options


def bind_request(namespace: str, pod: str, node: str, uid: str = "") -> objects_pb2.CreateRequest:
    """Assign a Pod to a node. uid: only if it is still that Pod."""
    binding = corev1.Binding(target=corev1.ObjectReference(kind="Node", name=node))
    binding.metadata.CopyFrom(metav1.ObjectMeta(name=pod, namespace=namespace, uid=uid or None))
    return _subresource_of_pod(namespace, pod, "binding", binding)


def evict_request(namespace: str, pod: str, options: metav1.DeleteOptions | None = None) -> objects_pb2.CreateRequest:
    """Delete a Pod if its disruption budgets allow it."""
    eviction = policyv1.Eviction(metadata=metav1.ObjectMeta(name=pod, namespace=namespace), delete_options=options)
    return _subresource_of_pod(namespace, pod, "eviction", eviction)


def token_request(namespace: str, account: str, wanted: authenticationv1.TokenRequest) -> objects_pb2.CreateRequest:
    """Have a token of a service account made."""
    return objects_pb2.CreateRequest(
        resource=resource_of(corev1.ServiceAccount),
        namespace=namespace,
        name=account,
        subresource="token",
        object=pack(wanted),
    )


def _subresource_of_pod(namespace: str, pod: str, subresource: str, obj: Message) -> objects_pb2.CreateRequest:
    return objects_pb2.CreateRequest(
        resource=resource_of(corev1.Pod), namespace=namespace, name=pod, subresource=subresource, object=pack(obj)
    )


def scale_request(cls: type[Message], scale: autoscalingv1.Scale) -> objects_pb2.UpdateRequest:
    """Set the replicas of a scalable object."""
    return objects_pb2.UpdateRequest(
        resource=resource_of(cls),
        namespace=scale.metadata.namespace,
        name=scale.metadata.name,
        subresource="scale",
        object=pack(scale),
    )


def mutation(
    request: objects_pb2.CreateRequest
    | objects_pb2.UpdateRequest
    | objects_pb2.PatchRequest
    | objects_pb2.DeleteRequest,
) -> objects_pb2.Mutation:
    """A request as a part of a batch."""
    match request:
        case objects_pb2.CreateRequest():
            return objects_pb2.Mutation(create=request)
        case objects_pb2.UpdateRequest():
            return objects_pb2.Mutation(update=request)
        case objects_pb2.PatchRequest():
            return objects_pb2.Mutation(patch=request)
        case _:
            return objects_pb2.Mutation(delete=request)
