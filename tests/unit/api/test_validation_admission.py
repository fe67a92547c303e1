# ruff: noqa: E501 -- tables of messages
"""Rules for admission webhooks, policies, bindings, and for APIServices."""

import pytest

ADMISSION = "admissionregistration.k8s.io/v1"
RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
WEBHOOK = {
    "name": "a.example.com",
    "clientConfig": {"url": "https://example.com/hook"},
    "rules": [RULE],
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
}


def webhooks(kind: str = "ValidatingWebhookConfiguration", **changes) -> dict:
    hook = {key: value for key, value in {**WEBHOOK, **changes}.items() if value is not None}
    return {"apiVersion": ADMISSION, "kind": kind, "webhooks": [hook]}


def ruled(**changes) -> dict:
    return webhooks(rules=[{**RULE, **changes}])


HOOKS = [
    (webhooks(), []),
    (webhooks("MutatingWebhookConfiguration"), []),
    (webhooks(name=""), ["webhooks[0].name: Required value"]),
    (webhooks(name="a.b"), ['webhooks[0].name: Invalid value: "a.b": should be a domain with at least three segments separated by dots']),
    (webhooks(sideEffects=None), ["webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"]),
    (webhooks(sideEffects="Some"), ['webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"']),
    (webhooks(timeoutSeconds=31), ["webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"]),
    (webhooks(failurePolicy="Maybe"), ['webhooks[0].failurePolicy: Unsupported value: "Maybe": supported values: "Fail", "Ignore"']),
    (webhooks(matchPolicy="Maybe"), ['webhooks[0].matchPolicy: Unsupported value: "Maybe": supported values: "Equivalent", "Exact"']),
    (webhooks("MutatingWebhookConfiguration", reinvocationPolicy="Maybe"), ['webhooks[0].reinvocationPolicy: Unsupported value: "Maybe": supported values: "IfNeeded", "Never"']),
    (webhooks(admissionReviewVersions=[]), ["webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1"]),
    (webhooks(admissionReviewVersions=["v2"]), ['webhooks[0].admissionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, v1beta1']),
    (webhooks(admissionReviewVersions=["v1", "v1"]), ['webhooks[0].admissionReviewVersions[1]: Invalid value: "v1": duplicate version']),
    (webhooks(clientConfig={}), ["webhooks[0].clientConfig: Required value: exactly one of url or service is required"]),
    (webhooks(clientConfig={"url": "https://a", "service": {"name": "s", "namespace": "n"}}), ["webhooks[0].clientConfig: Required value: exactly one of url or service is required"]),
    (webhooks(clientConfig={"url": "http://a"}), ["webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]"]),
    (webhooks(clientConfig={"url": "https://"}), ['webhooks[0].clientConfig.url: Invalid value: "": host must be provided; desired format: https://host[/path]']),
    (webhooks(clientConfig={"url": "https://me:pw@a/p?q=1#f"}), [
        'webhooks[0].clientConfig.url: Invalid value: "me:pw": user information is not permitted in the URL',
        'webhooks[0].clientConfig.url: Invalid value: "f": fragments are not permitted in the URL',
        'webhooks[0].clientConfig.url: Invalid value: "q=1": query parameters are not permitted in the URL',
    ]),
    (webhooks(clientConfig={"service": {"name": "", "namespace": "", "port": 70000}}), [
        "webhooks[0].clientConfig.service.name: Required value: service name is required",
        "webhooks[0].clientConfig.service.namespace: Required value: service namespace is required",
        "webhooks[0].clientConfig.service.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive",
    ]),
    (webhooks(clientConfig={"service": {"name": "s", "namespace": "n", "path": "a//b"}}), [
        "webhooks[0].clientConfig.service.path: Invalid value: \"a//b\": must start with a '/'",
        'webhooks[0].clientConfig.service.path: Invalid value: "a//b": segment[0] may not be empty',
        'webhooks[0].clientConfig.service.path: Invalid value: "a//b": segment[1] may not be empty',
    ]),
    (ruled(operations=[]), ["webhooks[0].rules[0].operations: Required value"]),
    (ruled(operations=["*", "CREATE"]), ["webhooks[0].rules[0].operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations"]),
    (ruled(operations=["READ"]), ['webhooks[0].rules[0].operations[0]: Unsupported value: "READ": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"']),
    (ruled(apiGroups=[]), ["webhooks[0].rules[0].apiGroups: Required value"]),
    (ruled(apiGroups=["*", "a"]), ["webhooks[0].rules[0].apiGroups: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other API groups"]),
    (ruled(apiVersions=[""]), ["webhooks[0].rules[0].apiVersions[0]: Required value"]),
    (ruled(resources=[""]), ["webhooks[0].rules[0].resources[0]: Required value"]),
    (ruled(resources=["*", "a"]), ["webhooks[0].rules[0].resources: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other resources without subresources"]),
    (ruled(resources=["*/*", "a"]), ["webhooks[0].rules[0].resources: Invalid value: [\"*/*\",\"a\"]: if '*/*' is present, must not specify other resources"]),
    (ruled(resources=["a/*", "a/b"]), ["webhooks[0].rules[0].resources[1]: Invalid value: \"a/b\": if 'a/*' is present, must not specify a/b"]),
    (ruled(resources=["*/b", "a/b"]), ["webhooks[0].rules[0].resources[1]: Invalid value: \"a/b\": if '*/b' is present, must not specify a/b"]),
    (ruled(scope="Here"), ['webhooks[0].rules[0].scope: Unsupported value: "Here": supported values: "*", "Cluster", "Namespaced"']),
    (webhooks(matchConditions=[{"name": "", "expression": " "}]), ["webhooks[0].matchConditions[0].expression: Required value", "webhooks[0].matchConditions[0].name: Required value"]),
    (webhooks(matchConditions=[{"name": "a", "expression": "true"}] * 2), ['webhooks[0].matchConditions[1].name: Duplicate value: "a"']),
    ({**webhooks(), "webhooks": [WEBHOOK, WEBHOOK]}, ['webhooks[1].name: Duplicate value: "a.example.com"']),
]  # fmt: skip


@pytest.mark.parametrize(("manifest", "expected"), HOOKS, ids=range(len(HOOKS)))
def test_webhooks(door, manifest, expected):
    assert door.refused(manifest) == expected


POLICY = {
    "apiVersion": ADMISSION,
    "kind": "ValidatingAdmissionPolicy",
    "spec": {"matchConstraints": {"resourceRules": [RULE]}, "validations": [{"expression": "true"}]},
}
MUTATING = {
    "apiVersion": ADMISSION,
    "kind": "MutatingAdmissionPolicy",
    "spec": {
        "matchConstraints": {"resourceRules": [RULE]},
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}],
    },
}
BINDING = {
    "apiVersion": ADMISSION,
    "kind": "ValidatingAdmissionPolicyBinding",
    "spec": {"policyName": "p", "validationActions": ["Deny"]},
}
POLICIES = [
    (POLICY, {}, []),
    (POLICY, {"matchConstraints": None}, ["spec.matchConstraints: Required value"]),
    (POLICY, {"matchConstraints": {"resourceRules": []}}, ["spec.matchConstraints.resourceRules: Required value"]),
    (POLICY, {"matchConstraints": {"resourceRules": [{**RULE, "resourceNames": ["a", "a"]}]}}, ['spec.matchConstraints.resourceRules[0].resourceNames[1]: Duplicate value: "a"']),
    (POLICY, {"failurePolicy": "Maybe"}, ['spec.failurePolicy: Unsupported value: "Maybe": supported values: "Fail", "Ignore"']),
    (POLICY, {"validations": []}, [
        "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
        "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
    ]),
    (POLICY, {"validations": [{"expression": " "}]}, ["spec.validations[0].expression: Required value: expression is not specified"]),
    (POLICY, {"validations": [{"expression": "a\nb"}]}, ["spec.validations[0].message: Required value: message must be specified if expression contains line breaks"]),
    (POLICY, {"validations": [{"expression": "a", "message": "x\ny"}]}, ['spec.validations[0].message: Invalid value: "x\\ny": message must not contain line breaks']),
    (POLICY, {"validations": [{"expression": "a", "message": " "}]}, ['spec.validations[0].message: Invalid value: " ": message must be non-empty if specified']),
    (POLICY, {"validations": [{"expression": "a", "messageExpression": " "}]}, ['spec.validations[0].messageExpression: Invalid value: " ": must be non-empty if specified']),
    (POLICY, {"validations": [{"expression": "a", "reason": "Why"}]}, ['spec.validations[0].reason: Unsupported value: "Why": supported values: "Forbidden", "Invalid", "RequestEntityTooLarge"']),
    (POLICY, {"auditAnnotations": [{"key": "k", "valueExpression": ""}]}, ["spec.auditAnnotations[0].valueExpression: Required value: valueExpression is not specified"]),
    (POLICY, {"auditAnnotations": [{"key": "k", "valueExpression": "a"}] * 2}, ['spec.auditAnnotations[1].key: Duplicate value: "k"']),
    (POLICY, {"variables": [{"name": "a-b", "expression": "1"}]}, ['spec.variables[0].name: Invalid value: "a-b": name is not a valid CEL identifier']),
    (POLICY, {"variables": [{"name": "for", "expression": "1"}]}, ['spec.variables[0].name: Invalid value: "for": name is not a valid CEL identifier']),
    (POLICY, {"variables": [{"name": "", "expression": ""}]}, ["spec.variables[0].name: Required value: name is not specified", "spec.variables[0].expression: Required value: expression is not specified"]),
    (POLICY, {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}, []),
    (POLICY, {"paramKind": {}}, ["spec.paramKind.apiVersion: Required value", "spec.paramKind.kind: Required value"]),
    (POLICY, {"paramKind": {"apiVersion": "a/b/c", "kind": "K"}}, ['spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c']),
    (MUTATING, {}, []),
    (MUTATING, {"mutations": []}, ["spec.mutations: Required value: mutations must contain at least one item"]),
    (MUTATING, {"reinvocationPolicy": None}, ["spec.reinvocationPolicy: Required value"]),
    (MUTATING, {"mutations": [{"patchType": "Sed"}]}, ['spec.mutations[0].patchType: Unsupported value: "Sed": supported values: "ApplyConfiguration", "JSONPatch"']),
    (MUTATING, {"mutations": [{"patchType": "ApplyConfiguration"}]}, ["spec.mutations[0].applyConfiguration: Required value: must be specified when patchType is ApplyConfiguration"]),
    (BINDING, {}, []),
    (BINDING, {"policyName": ""}, ["spec.policyName: Required value"]),
    (BINDING, {"validationActions": []}, ["spec.validationActions: Required value: at least one validation action is required"]),
    (BINDING, {"validationActions": ["Deny", "Deny"]}, ['spec.validationActions[1]: Duplicate value: "Deny"']),
    (BINDING, {"validationActions": ["Shout"]}, ['spec.validationActions[0]: Unsupported value: "Shout": supported values: "Audit", "Deny", "Warn"']),
    (BINDING, {"validationActions": ["Deny", "Warn"]}, ['spec.validationActions: Invalid value: ["Deny","Warn"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)']),
    (BINDING, {"paramRef": {"parameterNotFoundAction": "Deny"}}, ["spec.paramRef: Required value: one of name or selector must be specified"]),
    (BINDING, {"paramRef": {"name": "n"}}, ["spec.paramRef.parameterNotFoundAction: Required value"]),
    (BINDING, {"paramRef": {"name": "n", "selector": {}, "parameterNotFoundAction": "Deny"}}, ["spec.paramRef.name: Forbidden: name and selector are mutually exclusive", "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive"]),
]  # fmt: skip


@pytest.mark.parametrize(("manifest", "spec", "expected"), POLICIES, ids=[f"{c[0]['kind']}-{i}" for i, c in enumerate(POLICIES)])  # fmt: skip
def test_policies(door, patched, manifest, spec, expected):
    assert door.refused(patched(manifest, {"spec": spec})) == expected


def test_generations_of_webhooks_follow_what_they_say(door, patched):
    first = {**webhooks(), "metadata": {"generation": 3}}
    labelled = patched(first, {"metadata": {"labels": {"a": "b"}}})
    assert door.changed(first, labelled)["metadata"]["generation"] == 3
    assert door.changed(first, {**first, "webhooks": []})["metadata"]["generation"] == 4


SERVICE = {
    "apiVersion": "apiregistration.k8s.io/v1",
    "kind": "APIService",
    "metadata": {"name": "v1.example.com"},
    "spec": {
        "group": "example.com",
        "version": "v1",
        "groupPriorityMinimum": 100,
        "versionPriority": 10,
        "service": {"namespace": "n", "name": "s"},
    },
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"metadata": {"name": "v2.example.com"}}, ['metadata.name: Invalid value: "v2.example.com": must be `spec.version+"."+spec.group`: "v1.example.com"']),
        ({"spec": {"groupPriorityMinimum": 0}}, ["spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000"]),
        ({"spec": {"versionPriority": 1001}}, ["spec.versionPriority: Invalid value: 1001: must be positive and less than 1000"]),
        ({"spec": {"service": {"name": ""}}}, ["spec.service.name: Required value"]),
        ({"spec": {"insecureSkipTLSVerify": True, "caBundle": "YQ=="}}, ["spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present"]),
        ({"spec": {"service": None, "caBundle": "YQ=="}}, ['spec.caBundle: Invalid value: "1 bytes": local APIServices may not have a caBundle']),
        ({"metadata": {"name": "v1."}, "spec": {"group": "", "service": None}}, []),
        ({"metadata": {"name": "v2."}, "spec": {"group": "", "version": "v2", "service": None}}, ["spec.group: Required value: only v1 may have an empty group and it better be legacy kube"]),
    ],
)  # fmt: skip
def test_api_services(door, patched, changes, expected):
    manifest = patched(SERVICE, changes)
    assert door.refused(manifest) == expected
    assert door.change_refused(SERVICE | {"metadata": manifest["metadata"]}, manifest) == expected


def test_status_of_an_api_service(door):
    def with_status(status: str) -> dict:
        return {**SERVICE, "status": {"conditions": [{"type": "Available", "status": status}]}}

    assert door.change_refused(SERVICE, with_status("True"), "status") == []
    (error,) = door.change_refused(SERVICE, with_status("Perhaps"), "status")
    assert (
        error
        == 'status.conditions[0].status: Unsupported value: "Perhaps": supported values: "False", "True", "Unknown"'
    )
    assert "spec" in door.changed(SERVICE, {**with_status("True"), "spec": {}}, "status")
