"""The traits of a field: what the Kubernetes API knows about it beyond number and type."""

from google.protobuf.descriptor import FieldDescriptor

from navarch.protos.k8s import traits_pb2


def traits_of(field: FieldDescriptor) -> traits_pb2.FieldTraits:
    """Return the traits that stand in the field's descriptor."""
    # The generated stub types the extension as a plain descriptor.
    traits: traits_pb2.FieldTraits = field.GetOptions().Extensions[traits_pb2.traits]  # type: ignore[index]
    return traits
