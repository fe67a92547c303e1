"""Whatever a message holds: defaulting is idempotent, rules and tables answer instead of failing."""

from random import Random

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from navarch.services.api.equality import same
from navarch.services.api.errors import Invalid
from navarch.services.api.kinds import KINDS
from navarch.services.api.printers import table_for
from navarch.services.api.strategy import strategy_for

WORDS = [
    "",
    "a",
    "A b",
    "..",
    "/x",
    "Always",
    "None",
    "10.0.0.1",
    "-1",
    "1",
    "100m",
    "5%",
    "ClientIP",
    "In",
    "Exists",
    "x" * 300,
]
OWN_RULES = [
    "Namespace",
    "Node",
    "Pod",
    "Service",
    "Endpoints",
    "EndpointSlice",
    "ConfigMap",
    "Secret",
    "events",
    "ServiceAccount",
    "Lease",
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "DaemonSet",
    "ReplicationController",
    "Job",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "StorageClass",
    "ClusterRole",
    "RoleBinding",
    "CSIDriver",
    "CSINode",
    "CSIStorageCapacity",
    "VolumeAttachment",
    "VolumeAttributesClass",
    "CertificateSigningRequest",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "CustomResourceDefinition",
    "APIService",
    "FlowSchema",
    "PriorityLevelConfiguration",
    "ResourceClaim",
    "ResourceClaimTemplate",
    "Ingress",
]


def scramble(message: Message, rng: Random, depth: int) -> None:
    """Set some fields of a message to values that are legal on the wire and mostly nonsense."""
    for field in message.DESCRIPTOR.fields:
        if rng.random() < 0.35:
            set_field(message, field, rng, depth)


def set_field(message: Message, field: FieldDescriptor, rng: Random, depth: int) -> None:
    target, child = getattr(message, field.name), field.message_type
    if child is not None and child.GetOptions().map_entry:
        for _ in range(rng.randrange(3)):
            if child.fields_by_name["value"].message_type is None:
                target[rng.choice(WORDS)] = scalar(child.fields_by_name["value"], rng)
            elif child.fields_by_name["value"].message_type.name == "Quantity":
                target[rng.choice(WORDS)].string = rng.choice(WORDS)
            elif depth:
                scramble(target[rng.choice(WORDS)], rng, depth - 1)
    elif child is not None:
        if depth:
            for part in [target.add() for _ in range(rng.randrange(3))] if field.is_repeated else [target]:
                part.SetInParent()
                scramble(part, rng, depth - 1)
    elif field.is_repeated:
        target.extend(scalar(field, rng) for _ in range(rng.randrange(3)))
    else:
        setattr(message, field.name, scalar(field, rng))


def scalar(field: FieldDescriptor, rng: Random) -> object:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            text = rng.choice(WORDS)
            return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
        case FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        case _:
            return rng.choice([0, 1, -1, 80, 70000, 2**31 - 1])


@pytest.mark.parametrize("name", OWN_RULES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_no_message_breaks_the_rules(name, seed):
    kind = KINDS.find(name)
    strategy, rng = strategy_for(kind), Random(seed)
    obj, old = kind.message(), kind.message()
    scramble(obj, rng, 7)
    scramble(old, rng, 7)

    strategy.default(obj)
    again = kind.message()
    again.CopyFrom(obj)
    strategy.default(again)
    assert again == obj

    created, updated, reported = kind.message(), kind.message(), kind.message()
    for copy in (created, updated, reported):
        copy.CopyFrom(obj)
    before = old.SerializeToString(deterministic=True)
    strategy.prepare_for_create(created)
    strategy.prepare_for_update(updated, old)
    strategy.prepare_for_status_update(reported, old)
    errors = [
        *strategy.validate(created),
        *strategy.validate_update(updated, old),
        *strategy.validate_status_update(reported, old),
    ]
    assert Invalid(kind, "x", errors).to_status().code == 422
    assert old.SerializeToString(deterministic=True) == before
    assert same(obj, again)
    strategy.warnings(obj)
    table = table_for(kind)
    assert len(table.row(obj, now=1e9)) == len(table.columns)
