# ruff: noqa: E501 -- tables of messages
"""Rules for CustomResourceDefinitions: names, versions, conversion, and schemas that are structural."""

import pytest

from navarch.protos.k8s.apiextensions import v1_pb2 as apiextensionsv1
from navarch.services.api.kinds import KINDS
from navarch.services.api.strategy import strategy_for

LABEL = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"


def definition(spec: dict | None = None, **version) -> dict:
    """A valid definition but for what is given."""
    given = {"name": "v1", "served": True, "storage": True, "schema": schema({}), **version}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "crons.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "crons", "kind": "Cron"},
            "versions": [{key: value for key, value in given.items() if value is not None}],
            **(spec or {}),
        },
    }


def schema(spec: dict, **root) -> dict:
    return {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", **spec}}, **root}}


def version(name: str, *, storage: bool = False, **more) -> dict:
    return {"name": name, "served": True, "storage": storage, "schema": schema({}), **more}


SPECS = [
    ({}, []),
    ({"group": ""}, ['metadata.name: Invalid value: "crons.example.com": must be spec.names.plural+"."+spec.group', "spec.group: Required value"]),
    ({"group": "example"}, ['metadata.name: Invalid value: "crons.example.com": must be spec.names.plural+"."+spec.group', 'spec.group: Invalid value: "example": should be a domain with at least one dot']),
    ({"scope": ""}, ["spec.scope: Required value"]),
    ({"scope": "Global"}, ['spec.scope: Unsupported value: "Global": supported values: "Cluster", "Namespaced"']),
    ({"names": {"plural": "crons", "kind": ""}}, ["spec.names.singular: Required value", "spec.names.kind: Required value", "spec.names.listKind: Required value"]),
    ({"names": {"plural": "crons", "kind": "Cron", "listKind": "Cron"}}, ['spec.names.listKind: Invalid value: "Cron": kind and listKind may not be the same']),
    ({"names": {"plural": "crons", "kind": "Cron", "shortNames": ["C"]}}, [f'spec.names.shortNames[0]: Invalid value: "C": {LABEL}']),
    ({"names": {"plural": "crons", "kind": "Cron", "categories": ["C"]}}, [f'spec.names.categories[0]: Invalid value: "C": {LABEL}']),
    ({"names": {"plural": "crons", "kind": "Cron_"}}, [
        f'spec.names.singular: Invalid value: "cron_": {LABEL}',
        f'spec.names.kind: Invalid value: "Cron_": may have mixed case, but should otherwise match: {LABEL}',
        f'spec.names.listKind: Invalid value: "Cron_List": may have mixed case, but should otherwise match: {LABEL}',
    ]),
    ({"preserveUnknownFields": True}, ["spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"]),
    ({"conversion": {"strategy": "Magic"}}, ['spec.conversion.strategy: Unsupported value: "Magic": supported values: "None", "Webhook"']),
    ({"conversion": {"strategy": "Webhook"}}, ["spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook", "spec.conversion.conversionReviewVersions: Required value"]),
    ({"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://a"}, "conversionReviewVersions": ["v1"]}}}, []),
    ({"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://a"}, "conversionReviewVersions": ["v3"]}}}, ['spec.conversion.conversionReviewVersions: Invalid value: ["v3"]: must include at least one of v1, v1beta1']),
    ({"conversion": {"strategy": "None", "webhook": {"clientConfig": {"url": "https://a"}, "conversionReviewVersions": ["v1"]}}}, [
        "spec.conversion.webhookClientConfig: Forbidden: should not be set when strategy is not set to Webhook",
        "spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to Webhook",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), SPECS, ids=range(len(SPECS)))
def test_specs(door, spec, expected):
    assert door.refused(definition(spec)) == expected


SCALE = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
COLUMN = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
COLUMN_TYPES = "must be one of boolean,date,integer,number,string"
FIELDS = schema({"properties": {"color": {"type": "string"}, "sizes": {"type": "array", "items": {"type": "string"}}}})
VERSIONS = [
    ({"schema": None}, ["spec.versions[0].schema.openAPIV3Schema: Required value"]),
    ({"name": "V1"}, [f'spec.versions[0].name: Invalid value: "V1": {LABEL}']),
    ({"deprecationWarning": "old"}, ['spec.versions[0].deprecationWarning: Invalid value: "old": can only be set for deprecated versions']),
    ({"deprecated": True, "deprecationWarning": "old"}, []),
    ({"deprecated": True, "deprecationWarning": ""}, ['spec.versions[0].deprecationWarning: Invalid value: "": must not be an empty string']),
    ({"deprecated": True, "deprecationWarning": "é\n"}, ['spec.versions[0].deprecationWarning: Invalid value: "é\\n": must only contain printable UTF-8 characters; non-printable character found at index 2']),
    ({"subresources": {"scale": SCALE}}, []),
    ({"subresources": {"scale": {**SCALE, "labelSelectorPath": ".spec.selector"}}}, []),
    ({"subresources": {"scale": {**SCALE, "specReplicasPath": ""}}}, ["spec.subresources.scale.specReplicasPath: Required value"]),
    ({"subresources": {"scale": {**SCALE, "specReplicasPath": ".status.a"}}}, ['spec.subresources.scale.specReplicasPath: Invalid value: ".status.a": should be a json path under .spec']),
    ({"subresources": {"scale": {**SCALE, "statusReplicasPath": "status.a"}}}, ['spec.subresources.scale.statusReplicasPath: Invalid value: "status.a": must be a simple json path starting with .']),
    ({"subresources": {"scale": {**SCALE, "labelSelectorPath": ".metadata.a"}}}, ['spec.subresources.scale.labelSelectorPath: Invalid value: ".metadata.a": should be a json path under either .spec or .status']),
    ({"additionalPrinterColumns": [COLUMN]}, []),
    ({"additionalPrinterColumns": [{**COLUMN, "name": "", "type": "", "jsonPath": ""}]}, [
        "spec.additionalPrinterColumns[0].name: Required value",
        f"spec.additionalPrinterColumns[0].type: Required value: {COLUMN_TYPES}",
        "spec.additionalPrinterColumns[0].JSONPath: Required value",
    ]),
    ({"additionalPrinterColumns": [{**COLUMN, "type": "time", "format": "unix", "jsonPath": "a"}]}, [
        f'spec.additionalPrinterColumns[0].type: Invalid value: "time": {COLUMN_TYPES}',
        'spec.additionalPrinterColumns[0].format: Invalid value: "unix": must be one of byte,date,date-time,double,float,int32,int64,password',
        'spec.additionalPrinterColumns[0].JSONPath: Invalid value: "a": must be a simple json path starting with .',
    ]),
    ({"schema": FIELDS, "selectableFields": [{"jsonPath": ".spec.color"}]}, []),
    ({"schema": FIELDS, "selectableFields": [{"jsonPath": ".spec.color"}] * 2}, ['spec.selectableFields[1].jsonPath: Duplicate value: ".spec.color"']),
    ({"schema": FIELDS, "selectableFields": [{"jsonPath": ".spec.size"}]}, ['spec.selectableFields[0].jsonPath: Invalid value: ".spec.size": is an invalid path: does not refer to a valid field']),
    ({"schema": FIELDS, "selectableFields": [{"jsonPath": "spec.color"}]}, ['spec.selectableFields[0].jsonPath: Invalid value: "spec.color": is an invalid path: expected [ or . but got: spec']),
    ({"schema": FIELDS, "selectableFields": [{"jsonPath": ".spec['color']"}]}, ["spec.selectableFields[0].jsonPath: Invalid value: \".spec['color']\": is an invalid path: array notation is not allowed"]),
    ({"schema": FIELDS, "selectableFields": [{"jsonPath": ".spec."}]}, ['spec.selectableFields[0].jsonPath: Invalid value: ".spec.": is an invalid path: unexpected end of JSON path']),
    ({"schema": FIELDS, "selectableFields": [{"jsonPath": ".spec.sizes"}]}, ['spec.selectableFields[0].jsonPath: Invalid value: ".spec.sizes": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.']),
    ({"schema": FIELDS, "selectableFields": [{"jsonPath": ""}]}, ["spec.selectableFields[0].jsonPath: Required value"]),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "expected"), VERSIONS, ids=range(len(VERSIONS)))
def test_versions(door, parts, expected):
    assert door.refused(definition(**parts)) == expected


def test_paths_of_versions_that_differ_name_them(door):
    versions = [
        version("v1", storage=True, subresources={"scale": {}}),
        version("v2", schema=schema({"type": ""}), additionalPrinterColumns=[{**COLUMN, "name": ""}]),
    ]
    assert door.refused(definition({"versions": versions})) == [
        "spec.versions[0].subresources.scale.specReplicasPath: Required value",
        "spec.versions[0].subresources.scale.statusReplicasPath: Required value",
        "spec.versions[1].schema.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
        "spec.versions[1].additionalPrinterColumns[0].name: Required value",
    ]


@pytest.mark.parametrize(
    ("versions", "end", "more"),
    [
        ([version("v1", storage=True), version("v1")], "must contain unique version names", []),
        (
            [version("v1", storage=True), version("v2", storage=True)],
            "must have exactly one version marked as storage version",
            ['status.storedVersions: Invalid value: ["v1"]: must have the storage version v2'],
        ),
    ],
)  # fmt: skip
def test_lists_of_versions(door, versions, end, more):
    error, *others = door.refused(definition({"versions": versions}))
    assert error.startswith('spec.versions: Invalid value: [{"name":"v1"')
    assert error.endswith(end)
    assert others == more


def test_nothing_to_store(door):
    assert "status.storedVersions: Invalid value: []: must have at least one stored version" in door.refused(
        definition({"versions": []})
    )


X = "x-kubernetes-"
WHERE = "spec.validation.openAPIV3Schema.properties[spec]"
LIST = {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"]}}
INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]


def listed(**changes) -> dict:
    return {"properties": {"l": {**LIST, f"{X}list-type": "map", f"{X}list-map-keys": ["k"], **changes}}}


SCHEMAS = [
    ({"properties": {"a": {"type": "string", "default": "x"}}}, []),
    ({"properties": {"a": {"type": "array", "items": {"type": "string"}}}}, []),
    ({"properties": {"a": {f"{X}int-or-string": True}}}, []),
    ({"properties": {"a": {f"{X}int-or-string": True, "anyOf": INT_OR_STRING}}}, []),
    ({"properties": {"a": {f"{X}int-or-string": True, "allOf": [{"anyOf": INT_OR_STRING}, {"pattern": "a"}]}}}, []),
    ({"properties": {"a": {f"{X}preserve-unknown-fields": True}}}, []),
    ({"properties": {"a": {"type": "object", "additionalProperties": {"type": "string"}}}}, []),
    # Types.
    ({"properties": {"a": {}}}, ["{}.properties[a].type: Required value: must not be empty for specified object fields"]),
    ({"properties": {"a": {"type": "array"}}}, ["{}.properties[a].items: Required value: must be specified"]),
    ({"properties": {"a": {"type": "array", "items": {}}}}, ["{}.properties[a].items.type: Required value: must not be empty for specified array items"]),
    ({"properties": {"a": {"type": "int"}}}, ['{}.properties[a].type: Unsupported value: "int": supported values: "array", "boolean", "integer", "number", "object", "string"']),
    ({"properties": {"a": {"type": "null"}}}, ['{}.properties[a].type: Unsupported value: "null": supported values: "array", "boolean", "integer", "number", "object", "string"', "{}.properties[a].type: Forbidden: type cannot be set to null, use nullable as an alternative"]),
    ({"properties": {"a": {"type": "string", "pattern": r"^\pL+\z"}}}, []),
    ({"properties": {"a": {"type": "string", "pattern": "("}}}, ["{}.properties[a].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: error parsing regexp: missing closing ): `(`"]),
    ({"properties": {"a": {"type": "string", "pattern": "(?=a)"}}}, ["{}.properties[a].pattern: Invalid value: \"(?=a)\": must be a valid regular expression, but isn't: error parsing regexp: invalid or unsupported Perl syntax: `(?=`"]),
    # Keywords that are not for us.
    ({"properties": {"a": {"type": "string", "$ref": "#/b"}}}, ["{}.properties[a].$ref: Forbidden: $ref is not supported"]),
    ({"definitions": {"a": {"type": "string"}}}, ["{}.definitions: Forbidden: definitions is not supported"]),
    ({"properties": {"a": {"type": "array", "items": {"type": "string"}, "uniqueItems": True}}}, ["{}.properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"]),
    ({"properties": {"a": {"type": "array", "items": [{"type": "string"}]}}}, ["{}.properties[a].items: Forbidden: items must be a schema object and not an array"]),
    ({"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}, ["{}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"]),
    # Below junctors nothing is said about shape, and everything named has a shape.
    ({"properties": {"a": {"type": "string"}}, "anyOf": [{"properties": {"a": {"pattern": "x"}}}, {"required": ["a"]}]}, []),
    ({"properties": {"a": {"type": "string"}}, "allOf": [{"properties": {"a": {"type": "string"}}}]}, ["{}.allOf[0].properties[a].type: Forbidden: must be empty to be structural"]),
    ({"not": {"properties": {"a": {"description": "d", "nullable": True, "default": 1}}}, "properties": {"a": {"type": "string"}}}, [
        "{}.not.properties[a].default: Forbidden: must be undefined to be structural",
        "{}.not.properties[a].description: Forbidden: must be empty to be structural",
        "{}.not.properties[a].nullable: Forbidden: must be false to be structural",
    ]),
    ({"properties": {"a": {"anyOf": INT_OR_STRING, "type": "string"}}}, []),
    # Extensions.
    ({f"{X}preserve-unknown-fields": False}, [f"{{}}.{X}preserve-unknown-fields: Invalid value: false: must be true or undefined"]),
    ({"properties": {"a": {f"{X}int-or-string": True, f"{X}preserve-unknown-fields": True}}}, [f"{{}}.properties[a].{X}preserve-unknown-fields: Invalid value: true: must be false if {X}int-or-string is true"]),
    ({"properties": {"a": {"type": "object", f"{X}embedded-resource": True}}}, [f"{{}}.properties[a].properties: Required value: must not be empty if {X}embedded-resource is true without {X}preserve-unknown-fields"]),
    ({"properties": {"a": {"type": "string", f"{X}embedded-resource": True, f"{X}preserve-unknown-fields": True}}}, [f'{{}}.properties[a].type: Invalid value: "string": must be object if {X}embedded-resource is true']),
    ({"properties": {"a": {"type": "string", f"{X}map-type": "atomic"}}}, [f'{{}}.properties[a].type: Invalid value: "string": must be object if {X}map-type is specified']),
    ({f"{X}map-type": "lumpy"}, [f'{{}}.{X}map-type: Unsupported value: "lumpy": supported values: "atomic", "granular"']),
    ({"properties": {"a": {**LIST, f"{X}list-type": "heap"}}}, [f'{{}}.properties[a].{X}list-type: Unsupported value: "heap": supported values: "atomic", "map", "set"']),
    ({"properties": {"a": {**LIST, f"{X}list-type": "set"}}}, [f"{{}}.properties[a].items.{X}map-type: Invalid value: null: must be atomic as item of a list with {X}list-type=set"]),
    (listed(), []),
    (listed(**{f"{X}list-map-keys": []}), [f"{{}}.properties[l].{X}list-map-keys: Required value: must not be empty if {X}list-type is map"]),
    (listed(**{f"{X}list-map-keys": ["k", "k"]}), [f'{{}}.properties[l].{X}list-map-keys: Invalid value: ["k","k"]: must not contain duplicate entries']),
    (listed(**{f"{X}list-map-keys": ["z"]}), [f'{{}}.properties[l].{X}list-map-keys: Invalid value: ["z"]: entries must all be names of item properties']),
    (listed(**{f"{X}list-type": "set"}), [f'{{}}.properties[l].{X}list-type: Invalid value: "set": must be map if {X}list-map-keys is non-empty', f"{{}}.properties[l].items.{X}map-type: Invalid value: null: must be atomic as item of a list with {X}list-type=set"]),
    (listed(items={"type": "object", "properties": {"k": {"type": "string"}}}), [f"{{}}.properties[l].items.properties[k].default: Required value: this property is in {X}list-map-keys, so it must have a default or be a required property"]),
    (listed(items={"type": "string"}), [f'{{}}.properties[l].items.type: Invalid value: "string": must be object if parent array\'s {X}list-type is map', f'{{}}.properties[l].{X}list-map-keys: Invalid value: ["k"]: entries must all be names of item properties']),
    # Rules, by their form.
    ({f"{X}validations": [{"rule": "self.a > 1"}]}, []),
    ({f"{X}validations": [{"rule": " "}]}, [f"{{}}.{X}validations[0].rule: Required value: rule is not specified"]),
    ({f"{X}validations": [{"rule": "a\n&& b"}]}, [f"{{}}.{X}validations[0].message: Required value: message must be specified if rule contains line breaks"]),
    ({f"{X}validations": [{"rule": "a", "message": "a\nb"}]}, [f'{{}}.{X}validations[0].message: Invalid value: "a\\nb": must not contain line breaks']),
    ({f"{X}validations": [{"rule": "a", "reason": "Because"}]}, [f'{{}}.{X}validations[0].reason: Unsupported value: "Because": supported values: "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"']),
    ({f"{X}validations": [{"rule": "a", "fieldPath": ".b"}], "properties": {"a": {"type": "string"}}}, [f'{{}}.{X}validations[0].fieldPath: Invalid value: ".b": must be a valid path']),
    ({f"{X}validations": [{"rule": "true", "fieldPath": ".m['k.x']"}], "properties": {"m": {"type": "object", "additionalProperties": {"type": "string"}}}}, []),
    # Defaults.
    ({"properties": {"a": {"type": "string", "default": 1}}}, ['{}.properties[a].default: Invalid value: "integer": {}.properties[a].default in body must be of type string: "integer"']),
    ({"properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}, "default": {"c": 1}}}}, ['{}.properties[a].default: Invalid value: {"c":1}: must not have unknown fields']),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), SCHEMAS, ids=range(len(SCHEMAS)))
def test_schemas(door, spec, expected):
    errors = door.refused(definition(schema=schema(spec)))
    assert errors == [line.replace("{}", WHERE) if "{}" in line else line for line in expected]


def ruled(**rule) -> dict:
    """A list that is replaced as a whole, and a map, with a rule on each of their values."""
    value = {"type": "string", f"{X}validations": [rule]}
    return {
        "properties": {"l": {"type": "array", "items": value}, "m": {"type": "object", "additionalProperties": value}}
    }


IN_LIST = f"{WHERE}.properties[l].items.{X}validations[0]"
IN_MAP = f"{WHERE}.properties[m].additionalProperties.{X}validations[0]"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"rule": "self.size() > 1", "messageExpression": "'a' + self"}, []),
        ({"rule": "self >"}, [f"{IN_LIST}.rule: Invalid value: {{", f"{IN_MAP}.rule: Invalid value: {{"]),
        ({"rule": "1 + 1"}, [f'{IN_LIST}.rule: Invalid value: {{"rule":"1 + 1"}}: must evaluate to a bool', f"{IN_MAP}.rule: "]),
        ({"rule": "true", "messageExpression": "1"}, [f"{IN_LIST}.messageExpression: Invalid value: {{", f"{IN_MAP}.messageExpression: "]),
        ({"rule": "self == oldSelf"}, [f'{IN_LIST}.rule: Invalid value: "self == oldSelf": oldSelf cannot be used on the uncorrelatable portion of the schema within {WHERE}.properties[l]']),
        ({"rule": "true", "optionalOldSelf": True}, [f"{place}.optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule" for place in (IN_LIST, IN_MAP)]),
    ],
)  # fmt: skip
def test_rules(door, rule, expected):
    errors = door.refused(definition(schema=schema(ruled(**rule))))
    assert len(errors) == len(expected)
    assert all(error.startswith(start) for error, start in zip(errors, expected, strict=True)), errors


ROOT = "spec.validation.openAPIV3Schema"


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ({"type": ""}, [f"{ROOT}.type: Required value: must not be empty at the root"]),
        ({"type": "array", "items": {"type": "string"}}, [f'{ROOT}.type: Invalid value: "array": must be object at the root']),
        ({"nullable": True}, [f"{ROOT}.nullable: Forbidden: nullable cannot be true at the root"]),
        ({"properties": {}, "additionalProperties": True}, [f"{ROOT}.additionalProperties: Forbidden: must not be used at the root"]),
        ({"properties": {"metadata": {"type": "object"}}}, []),
        ({"properties": {"metadata": {"type": "object", "properties": {"name": {"type": "string", "pattern": "a"}}}}}, []),
        ({"properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}, [f"{ROOT}.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified"]),
        ({"properties": {"metadata": {"type": "string"}}}, [f'{ROOT}.properties[metadata].type: Invalid value: "string": must be object']),
        ({"properties": {"kind": {"type": "integer"}}}, [f'{ROOT}.properties[kind].type: Invalid value: "integer": must be string']),
        ({"properties": {"kind": {"type": "string", "default": "K"}}}, [f"{ROOT}.properties[kind].default: Forbidden: must not be set in top-level kind"]),
        ({"anyOf": [{"properties": {"x": {"pattern": "a"}}}]}, [f"{ROOT}.properties[x]: Required value: because it is defined in {ROOT}.anyOf[0].properties[x]"]),
        ({"allOf": [{"properties": {"metadata": {}}}], "properties": {"metadata": {"type": "object"}}}, [f"{ROOT}.allOf[0].properties[metadata]: Forbidden: must not be specified in a nested context"]),
    ],
)  # fmt: skip
def test_roots_of_schemas(door, root, expected):
    assert door.refused(definition(schema=schema({}, **root))) == expected


def test_beside_a_status_subresource_nothing_spans_the_whole(door):
    given = schema({}, anyOf=[{"required": ["spec"]}])
    assert door.refused(definition(schema=given)) == []
    (error,) = door.refused(definition(schema=given, subresources={"status": {}}))
    assert error.startswith(f"{ROOT}: Invalid value: {{")
    assert error.endswith("fields are allowed at the root of the schema if the status subresource is enabled")


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (None, 'Required value: protected groups must have approval annotation "api-approved.kubernetes.io", see'),
        ("sure", 'Invalid value: "sure": protected groups must have approval annotation'),
        ("unapproved, experimental only", None),
        ("https://github.com/kubernetes/kubernetes/pull/1", None),
    ],
)
def test_groups_of_the_community_need_its_approval(door, annotation, expected):
    manifest = definition({"group": "x.k8s.io"})
    annotations = {"api-approved.kubernetes.io": annotation} if annotation else {}
    manifest["metadata"] = {"name": "crons.x.k8s.io", "annotations": annotations}
    errors = door.refused(manifest)
    if expected is None:
        assert errors == []
    else:
        (error,) = errors
        assert error.startswith(f"metadata.annotations[api-approved.kubernetes.io]: {expected}")
        # What was stored without it may stay so.
        assert door.change_refused(manifest, manifest) == []


def test_what_objects_are_stored_as_cannot_change(door):
    old = definition({"group": "example.com"})
    old["status"] = {"conditions": [{"type": "Established", "status": "True"}], "storedVersions": ["v1"]}
    new = definition({"scope": "Cluster", "names": {"plural": "crons", "kind": "Job"}})
    assert door.change_refused(old, new) == [
        'spec.scope: Invalid value: "Cluster": field is immutable',
        'spec.names.kind: Invalid value: "Job": field is immutable',
    ]
    old["status"]["conditions"] = []
    assert door.change_refused(old, new) == []
    assert door.change_refused(old, definition({"group": "example.org"})) == [
        'spec.group: Invalid value: "example.org": field is immutable'
    ]


def test_a_version_that_was_stored_stays(door):
    old = definition()
    gone = definition({"versions": [version("v2", storage=True)]})
    (error,) = door.change_refused(old, gone)
    assert error.startswith(
        'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously'
    )
    both = definition({"versions": [version("v1"), version("v2", storage=True)]})
    assert door.change_refused(old, both) == []
    assert door.changed(old, both)["status"]["storedVersions"] == ["v1", "v2"]


def test_life_of_a_definition(door):
    made = door.created({**definition(), "status": {"storedVersions": ["v0"], "acceptedNames": {"plural": "x"}}})
    assert made["metadata"]["generation"] == 1
    assert made["status"]["storedVersions"] == ["v1"]
    old = {**definition(), "metadata": {"name": "crons.example.com", "generation": 4}}
    assert door.changed(old, old)["metadata"]["generation"] == 4
    wider = definition({"names": {"plural": "crons", "kind": "Cron", "shortNames": ["cr"]}})
    assert door.changed(old, wider)["metadata"]["generation"] == 5
    report = {**wider, "status": {"storedVersions": ["v1"], "acceptedNames": {"plural": "crons", "kind": "Cron"}}}
    reported = door.changed(old, report, "status")
    assert "shortNames" not in reported["spec"]["names"]
    assert reported["status"]["acceptedNames"]["plural"] == "crons"
    bad = {**old, "status": {"storedVersions": ["v1"], "acceptedNames": {"plural": "X", "kind": ""}}}
    assert door.change_refused(old, bad, "status") == [f'status.acceptedNames.plural: Invalid value: "X": {LABEL}']


def test_a_default_that_is_not_json(door):
    made = apiextensionsv1.CustomResourceDefinition()
    made.spec.versions.add(name="v1").schema.open_apiv3_schema.default.raw = b"{"
    errors = strategy_for(KINDS.of(made)).validate(made)
    assert [error.detail for error in errors if error.field == "spec.versions"] == [
        "a default, example or enum value is not JSON"
    ]


def test_formats_that_nothing_checks_are_warned_of(door):
    texts = {name: {"type": "string", "format": name} for name in ("date-time", "phone")}
    numbers = {"type": "array", "items": {"type": "integer", "format": "int32"}}
    given = schema({"properties": {**texts, "n": numbers}})
    assert door.warned(definition(schema=given)) == ['unrecognized format "phone"']
