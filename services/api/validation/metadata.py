"""Rules for ObjectMeta: names, labels, annotations, owners, finalizers; what an update may not change."""

from collections.abc import Iterable, Mapping, Sequence

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.values import Errors, check, non_negative

ANNOTATIONS_MAX_BYTES = 256 * 1024
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
_STANDARD_FINALIZERS = frozenset({"kubernetes", ORPHAN, FOREGROUND})


def validate_metadata(
    metadata: metav1.ObjectMeta, namespaced: bool, name_rule: names.NameRule, path: str = "metadata"
) -> Errors:
    """Check the metadata of a stored object; its generated name, if any, has been made."""
    if metadata.generate_name:
        yield from check(f"{path}.generateName", metadata.generate_name, name_rule(metadata.generate_name, True))
    if not metadata.name:
        yield FieldError.required(f"{path}.name", "name or generateName is required")
    else:
        yield from check(f"{path}.name", metadata.name, name_rule(metadata.name, False))
    if namespaced and not metadata.namespace:
        yield FieldError.required(f"{path}.namespace")
    elif namespaced:
        yield from check(f"{path}.namespace", metadata.namespace, names.dns_label(metadata.namespace))
    elif metadata.namespace:
        yield FieldError.forbidden(f"{path}.namespace", "not allowed on this type")
    yield from non_negative(f"{path}.generation", metadata.generation)
    yield from validate_labels(metadata.labels, f"{path}.labels")
    yield from validate_annotations(metadata.annotations, f"{path}.annotations")
    yield from _validate_owners(metadata.owner_references, f"{path}.ownerReferences")
    yield from _validate_finalizers(metadata.finalizers, f"{path}.finalizers")


def validate_labels(labels: Mapping[str, str], path: str) -> Errors:
    """Check the keys and values of labels."""
    for key in sorted(labels):
        yield from check(path, key, names.qualified_name(key))
        yield from check(f"{path}[{key}]", labels[key], names.label_value(labels[key]))


def validate_annotations(annotations: Mapping[str, str], path: str) -> Errors:
    """Check the keys of annotations and their size altogether."""
    size = 0
    for key in sorted(annotations):
        yield from check(path, key, names.qualified_name(key.lower()))
        size += len(key.encode()) + len(annotations[key].encode())
    if size > ANNOTATIONS_MAX_BYTES:
        yield FieldError.too_long(path, "", ANNOTATIONS_MAX_BYTES)


def _validate_owners(owners: Sequence[metav1.OwnerReference], path: str) -> Errors:
    controller = ""
    for owner in owners:
        if not owner.api_version.rpartition("/")[2]:
            yield FieldError.invalid(f"{path}.apiVersion", owner.api_version, "version must not be empty")
        for field, value in (("kind", owner.kind), ("name", owner.name), ("uid", owner.uid)):
            if not value:
                yield FieldError.invalid(f"{path}.{field}", value, "must not be empty")
        if owner.kind == "Event" and owner.api_version == "v1":
            yield FieldError.invalid(path, "/v1, Kind=Event", "/v1, Kind=Event is disallowed from being an owner")
        if owner.controller and controller:
            yield FieldError.invalid(
                path,
                [owner.name for owner in owners],
                'Only one reference can have Controller set to true. Found "true" in references for '
                f"{controller} and {owner.kind}/{owner.name}",
            )
        elif owner.controller:
            controller = f"{owner.kind}/{owner.name}"


def _validate_finalizers(finalizers: Sequence[str], path: str) -> Errors:
    for index, finalizer in enumerate(finalizers):
        wrong = names.qualified_name(finalizer)
        yield from check(path, finalizer, wrong)
        if not wrong and "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            yield FieldError.invalid(
                f"{path}[{index}]",
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            )
    if ORPHAN in finalizers and FOREGROUND in finalizers:
        yield FieldError.invalid(path, list(finalizers), f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set")


def validate_metadata_update(new: metav1.ObjectMeta, old: metav1.ObjectMeta, path: str = "metadata") -> Errors:
    """Check that an update leaves identity and system fields alone."""
    if old.HasField("deletion_timestamp"):
        added = sorted(set(new.finalizers) - set(old.finalizers))
        if added:
            listed = ", ".join(f'"{name}"' for name in added)
            yield FieldError.forbidden(
                f"{path}.finalizers",
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{listed}}}",
            )
    if new.generation < old.generation:
        yield FieldError.invalid(f"{path}.generation", new.generation, "must not be decremented")
    yield from _immutable(path, ("name", "namespace", "uid"), new, old)
    for name, field in (("creation_timestamp", "creationTimestamp"), ("deletion_timestamp", "deletionTimestamp")):
        if getattr(new, name).seconds != getattr(old, name).seconds:
            yield FieldError.invalid(f"{path}.{field}", getattr(new, name).seconds, names.IMMUTABLE)
    grace, old_grace = new.deletion_grace_period_seconds, old.deletion_grace_period_seconds
    if grace != old_grace:
        yield FieldError.invalid(f"{path}.deletionGracePeriodSeconds", grace, names.IMMUTABLE)


def _immutable(path: str, fields: Iterable[str], new: metav1.ObjectMeta, old: metav1.ObjectMeta) -> Errors:
    for field in fields:
        if getattr(new, field) != getattr(old, field):
            yield FieldError.invalid(f"{path}.{field}", getattr(new, field), names.IMMUTABLE)
