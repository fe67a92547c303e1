"""Rules for CustomResourceDefinitions.

What all versions say alike (and a single version always does) Kubernetes reports as if it stood once, in spec:
spec.validation, spec.subresources, spec.additionalPrinterColumns, spec.selectableFields.
"""

import re
from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message

from navarch.protos.k8s.apiextensions import v1_pb2 as apiextensionsv1
from navarch.services.api.codec import EncodeError, to_json
from navarch.services.api.equality import same
from navarch.services.api.errors import FieldError
from navarch.services.api.meta import condition_is
from navarch.services.api.validation import names
from navarch.services.api.validation.definition_defaults import validate_defaults
from navarch.services.api.validation.definition_parts import (
    validate_columns,
    validate_selectable_fields,
    validate_subresources,
)
from navarch.services.api.validation.definition_rules import validate_rules
from navarch.services.api.validation.definition_schemas import Place, is_supported, validate_schema
from navarch.services.api.validation.definition_structure import validate_structure
from navarch.services.api.validation.values import Errors, required, supported
from navarch.services.api.validation.webhooks import validate_client, validate_review_versions

Definition = apiextensionsv1.CustomResourceDefinition
Spec = apiextensionsv1.CustomResourceDefinitionSpec
Names = apiextensionsv1.CustomResourceDefinitionNames
Version = apiextensionsv1.CustomResourceDefinitionVersion

_WARNING_MAX_BYTES = 256
_APPROVAL = "api-approved.kubernetes.io"
_APPROVAL_PAGE = "see https://github.com/kubernetes/enhancements/pull/1111"
_PROTECTED = re.compile(r"(.*\.)?(k8s|kubernetes)\.io")
# Members of a schema that may stand at its root beside a status subresource, in Go's names.
_ROOT_WORDS = (
    "Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern"
    " MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields"
    " XValidations"
)
_ROOT_KEYS = {
    *(word[0].lower() + word[1:] for word in _ROOT_WORDS.split()),
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
}


def validate_definition(definition: Definition) -> Errors:
    """Check a new definition (the grammar of its name aside)."""
    spec = definition.spec
    if definition.metadata.name != f"{spec.names.plural}.{spec.group}":
        text = 'must be spec.names.plural+"."+spec.group'
        yield FieldError.invalid("metadata.name", definition.metadata.name, text)
    yield from _validate_spec(spec)
    yield from _validate_names(definition.status.accepted_names, "status.acceptedNames")
    yield from _validate_stored(definition)
    yield from _validate_approval(definition, None)
    if spec.preserve_unknown_fields:
        text = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        yield FieldError.invalid("spec.preserveUnknownFields", True, text)


def validate_definition_update(new: Definition, old: Definition) -> Errors:
    """Check a changed definition: what its objects are stored as cannot change."""
    yield from _validate_spec(new.spec)
    fixed = [
        ("spec.group", new.spec.group, old.spec.group),
        ("spec.names.plural", new.spec.names.plural, old.spec.names.plural),
    ]
    if condition_is(old.status.conditions, "Established"):
        fixed += [
            ("spec.scope", new.spec.scope, old.spec.scope),
            ("spec.names.kind", new.spec.names.kind, old.spec.names.kind),
        ]
    for path, value, before in fixed:
        if value != before:
            yield FieldError.invalid(path, value, names.IMMUTABLE)
    yield from _validate_names(new.status.accepted_names, "status.acceptedNames")
    yield from _validate_stored(new)
    yield from _validate_approval(new, old)
    if new.spec.preserve_unknown_fields and not old.spec.preserve_unknown_fields:
        text = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        yield FieldError.invalid("spec.preserveUnknownFields", True, text)


def validate_definition_status(new: Definition, _: Definition) -> Errors:
    """Check a changed status."""
    yield from _validate_names(new.status.accepted_names, "status.acceptedNames")


def _validate_spec(spec: Spec) -> Errors:
    try:
        to_json(spec)
    except EncodeError:
        # Only a client that speaks protobuf can send this.
        yield FieldError.invalid("spec.versions", "<binary>", "a default, example or enum value is not JSON")
        return
    if not spec.group:
        yield FieldError.required("spec.group")
    elif wrong := names.dns_subdomain(spec.group):
        yield FieldError.invalid("spec.group", spec.group, ",".join(wrong))
    elif "." not in spec.group:
        yield FieldError.invalid("spec.group", spec.group, "should be a domain with at least one dot")
    if not spec.scope:
        yield FieldError.required("spec.scope")
    else:
        yield from supported("spec.scope", spec.scope, ("Cluster", "Namespaced"))
    yield from _validate_versions(spec)
    for field, name in (
        ("plural", spec.names.plural),
        ("singular", spec.names.singular),
        ("kind", spec.names.kind),
        ("listKind", spec.names.list_kind),
    ):
        yield from required(f"spec.names.{field}", name)
    yield from _validate_names(spec.names, "spec.names")
    yield from _validate_conversion(spec.conversion)


def _validate_versions(spec: Spec) -> Errors:
    versions = spec.versions
    for index, version in enumerate(versions):
        here = f"spec.versions[{index}]"
        if not version.schema.HasField("open_apiv3_schema"):
            yield FieldError.required(f"{here}.schema.openAPIV3Schema")
        if wrong := names.dns_1035_label(version.name):
            yield FieldError.invalid(f"{here}.name", version.name, ",".join(wrong))
        for reason in _wrong_warning(version):
            yield FieldError.invalid(f"{here}.deprecationWarning", version.deprecation_warning, reason)
    if len({version.name for version in versions}) < len(versions):
        yield FieldError.invalid("spec.versions", _shown(versions), "must contain unique version names")
    if sum(version.storage for version in versions) != 1:
        text = "must have exactly one version marked as storage version"
        yield FieldError.invalid("spec.versions", _shown(versions), text)
    yield from _validate_version_parts(versions)


def _shown(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return [to_json(message) for message in messages]


def _wrong_warning(version: Version) -> list[str]:
    warning = version.deprecation_warning
    if not version.HasField("deprecation_warning"):
        return []
    if not version.deprecated:
        return ["can only be set for deprecated versions"]
    wrong = []
    if len(warning.encode()) > _WARNING_MAX_BYTES:
        wrong.append(f"must be <= {_WARNING_MAX_BYTES} characters long")
    if not warning:
        wrong.append("must not be an empty string")
    hidden = next((index for index, char in enumerate(warning) if not char.isprintable()), None)
    if hidden is not None:
        text = "must only contain printable UTF-8 characters; non-printable character found at index"
        wrong.append(f"{text} {len(warning[:hidden].encode())}")
    return wrong


def _validate_version_parts(versions: Sequence[Version]) -> Errors:
    """Schemas, subresources, columns and selectable fields, once where all versions agree."""
    if not versions:
        return
    first = versions[0]
    agree = {
        field: all(_same_part(getattr(first, field), getattr(version, field)) for version in versions)
        for field in ("schema", "subresources", "additional_printer_columns", "selectable_fields")
    }
    for index, version in enumerate(versions):
        here = f"spec.versions[{index}]"
        schema = to_json(version.schema.open_apiv3_schema) if version.schema.HasField("open_apiv3_schema") else None
        if schema is not None and not (agree["schema"] and index):
            path = f"{'spec.validation' if agree['schema'] else f'{here}.schema'}.openAPIV3Schema"
            yield from _validate_openapi(schema, version.subresources.HasField("status"), path)
        if not (agree["subresources"] and index):
            path = "spec.subresources" if agree["subresources"] else f"{here}.subresources"
            yield from validate_subresources(version.subresources, path)
        if not (agree["additional_printer_columns"] and index):
            base = "spec" if agree["additional_printer_columns"] else here
            yield from validate_columns(version.additional_printer_columns, f"{base}.additionalPrinterColumns")
        if not (agree["selectable_fields"] and agree["schema"] and index):
            base = "spec" if agree["selectable_fields"] else here
            yield from validate_selectable_fields(version.selectable_fields, schema, f"{base}.selectableFields")


def _same_part(left: Any, right: Any) -> bool:
    if isinstance(left, Message):
        return same(left, right)
    return len(left) == len(right) and all(map(same, left, right))


def _validate_openapi(schema: dict[str, Any], has_status: bool, path: str) -> Errors:
    errors: list[FieldError] = []
    if has_status:
        errors += _validate_root(schema, path)
    if schema.get("nullable"):
        errors.append(FieldError.forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    if is_supported(schema):
        structure = validate_structure(schema, path)
        errors += structure or validate_defaults(schema, path)
    errors += validate_schema(schema, path, Place(is_root=True))
    yield from errors
    if not errors:
        yield from validate_rules(schema, path)


def _validate_root(schema: dict[str, Any], path: str) -> Errors:
    """Where status is a part of its own, its schema is taken out of the whole: nothing may span both."""
    if schema.get("type", "object") != "object":
        text = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
        yield FieldError.invalid(f"{path}.type", schema["type"], text)
    elif set(schema) - _ROOT_KEYS:
        text = f"only [{_ROOT_WORDS}] fields are allowed at the root of the schema if the status subresource is enabled"
        yield FieldError.invalid(path, schema, text)


def _validate_names(given: Names, path: str) -> Errors:
    for field, name in (("plural", given.plural), ("singular", given.singular)):
        if name and (wrong := names.dns_1035_label(name)):
            yield FieldError.invalid(f"{path}.{field}", name, ",".join(wrong))
    for field, name in (("kind", given.kind), ("listKind", given.list_kind)):
        if name and (wrong := names.dns_1035_label(name.lower())):
            text = f"may have mixed case, but should otherwise match: {','.join(wrong)}"
            yield FieldError.invalid(f"{path}.{field}", name, text)
    if given.kind and given.kind == given.list_kind:
        yield FieldError.invalid(f"{path}.listKind", given.list_kind, "kind and listKind may not be the same")
    for field, words in (("shortNames", given.short_names), ("categories", given.categories)):
        for index, word in enumerate(words):
            if wrong := names.dns_1035_label(word):
                yield FieldError.invalid(f"{path}.{field}[{index}]", word, ",".join(wrong))


def _validate_conversion(conversion: apiextensionsv1.CustomResourceConversion) -> Errors:
    path = "spec.conversion"
    yield from required(f"{path}.strategy", conversion.strategy)
    if conversion.strategy:
        yield from supported(f"{path}.strategy", conversion.strategy, ("None", "Webhook"))
    webhook = conversion.webhook
    # Named as in the version that Kubernetes checks.
    client, versions = f"{path}.webhookClientConfig", f"{path}.conversionReviewVersions"
    if conversion.strategy == "Webhook":
        if not webhook.HasField("client_config"):
            yield FieldError.required(client, "required when strategy is set to Webhook")
        else:
            yield from validate_client(webhook.client_config, client)
        yield from validate_review_versions(list(webhook.conversion_review_versions), versions, "")
        return
    text = "should not be set when strategy is not set to Webhook"
    if webhook.HasField("client_config"):
        yield FieldError.forbidden(client, text)
    if webhook.conversion_review_versions:
        yield FieldError.forbidden(versions, text)


def _validate_stored(definition: Definition) -> Errors:
    """Every version that objects may be stored in has to be known."""
    path, stored = "status.storedVersions", list(definition.status.stored_versions)
    if not stored:
        yield FieldError.invalid(path, stored, "must have at least one stored version")
        return
    versions = definition.spec.versions
    for version in versions:
        if version.storage and version.name not in stored:
            yield FieldError.invalid(path, stored, f"must have the storage version {version.name}")
    known = {version.name for version in versions}
    for index, name in enumerate(stored):
        if name not in known:
            text = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions"
                f" until a storage migration ensures no data remains persisted in {name} and removes {name} from "
                "status.storedVersions"
            )
            yield FieldError.invalid(f"{path}[{index}]", name, text)


def _validate_approval(new: Definition, old: Definition | None) -> Errors:
    """Groups of the Kubernetes community need its approval. What was stored without it may stay so."""
    path = f"metadata.annotations[{_APPROVAL}]"
    if not _PROTECTED.fullmatch(new.spec.group):
        return
    state = _approval(new)
    if old is not None and _approval(old) == state:
        return
    if state == "missing":
        text = f'protected groups must have approval annotation "{_APPROVAL}", {_APPROVAL_PAGE}'
        yield FieldError.required(path, text)
    elif state == "invalid":
        text = (
            f'protected groups must have approval annotation "{_APPROVAL}" with either a URL or a reason starting with '
            f'"unapproved", {_APPROVAL_PAGE}'
        )
        yield FieldError.invalid(path, new.metadata.annotations[_APPROVAL], text)


def _approval(definition: Definition) -> str:
    value = definition.metadata.annotations.get(_APPROVAL, "")
    if not value:
        return "missing"
    if value.startswith("unapproved"):
        return "bypassed"
    return "approved" if re.match(r"[a-z][a-z0-9+.-]*://[^/]", value) else "invalid"
