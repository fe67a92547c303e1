"""What extends the API: definitions of custom resources, services that serve groups of their own."""

from collections.abc import Iterator, Sequence

from navarch.protos.k8s.apiextensions import v1_pb2 as apiextensionsv1
from navarch.services.api.custom.formats import FORMATS
from navarch.services.api.defaults import extension as defaults
from navarch.services.api.field_errors import quoted
from navarch.services.api.strategies.hooks import Hooks, keep_metadata, spec_changed
from navarch.services.api.validation import api_services, definitions
from navarch.services.api.validation.names import path_segment

Definition = apiextensionsv1.CustomResourceDefinition
Schema = apiextensionsv1.JSONSchemaProps

# Formats that say how a number is held, or that a value is secret.
_UNCHECKED = frozenset({"int32", "int64", "float", "double", "password"})


def _prepare_definition_update(new: Definition, _: Definition) -> None:
    defaults.add_stored_version(new)


def _warnings(definition: Definition) -> Sequence[str]:
    """Formats that nothing checks."""
    return [
        f"unrecognized format {quoted(schema.format)}"
        for version in definition.spec.versions
        for schema in _parts(version.schema.open_apiv3_schema)
        if schema.format and schema.format not in FORMATS and schema.format not in _UNCHECKED
    ]


def _parts(schema: Schema) -> Iterator[Schema]:
    """A schema and all the schemas in it."""
    yield schema
    below = [*schema.all_of, *schema.any_of, *schema.one_of]
    below += (schema.properties[name] for name in sorted(schema.properties))
    for field, holder in (
        ("not_schema", schema),
        ("schema", schema.items),
        ("schema", schema.additional_properties),
    ):
        if holder.HasField(field):
            below.append(getattr(holder, field))
    for part in below:
        yield from _parts(part)


DEFINITION = Hooks(
    generation=spec_changed,
    needs_version=True,
    default=defaults.default_definition,
    prepare_create=defaults.add_stored_version,
    prepare_update=_prepare_definition_update,
    validate=definitions.validate_definition,
    validate_update=definitions.validate_definition_update,
    validate_status=definitions.validate_definition_status,
    warnings=_warnings,
)
API_SERVICE = Hooks(
    name_rule=path_segment,
    needs_version=True,
    default=defaults.default_api_service,
    prepare_status=keep_metadata,
    validate=api_services.validate_api_service,
    validate_update=lambda new, _: api_services.validate_api_service(new),
    validate_status=api_services.validate_api_service_status,
)
