# ruff: noqa: E501 -- tables of messages
"""Rules for roles, bindings and requests for certificates."""

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

RBAC = "rbac.authorization.k8s.io/v1"
GROUP = "rbac.authorization.k8s.io"
BINDING = {
    "apiVersion": RBAC,
    "kind": "RoleBinding",
    "roleRef": {"kind": "Role", "name": "r"},
    "subjects": [{"kind": "User", "name": "ann"}],
}


def role(kind: str = "Role", **rule) -> dict:
    rules = [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], **rule}]
    return {"apiVersion": RBAC, "kind": kind, "rules": rules}


def urls(kind: str, **rule) -> dict:
    return {"apiVersion": RBAC, "kind": kind, "rules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz"], **rule}]}


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (role(), []),
        (role("ClusterRole"), []),
        (urls("ClusterRole"), []),
        (role(verbs=[]), ["rules[0].verbs: Required value: verbs must contain at least one value"]),
        (role(apiGroups=[]), ["rules[0].apiGroups: Required value: resource rules must supply at least one api group"]),
        (role(resources=[]), ["rules[0].resources: Required value: resource rules must supply at least one resource"]),
        (
            role(resources=["a", "b"], resourceNames=["x"]),
            ["rules[0].resourceNames: Required value: resource names cannot apply to multiple resources"],
        ),
        (
            urls("Role"),
            [
                'rules[0].nonResourceURLs: Invalid value: ["/healthz"]: namespaced rules cannot apply to non-resource URLs'
            ],
        ),
        (
            urls("ClusterRole", resources=["pods"]),
            [
                'rules[0].nonResourceURLs: Invalid value: ["/healthz"]: rules cannot apply to both regular resources and non-resource URLs'
            ],
        ),
        (
            {**role("ClusterRole"), "aggregationRule": {}},
            [
                "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil"
            ],
        ),
        ({**role(), "metadata": {"name": "a/b"}}, ["metadata.name: Invalid value: \"a/b\": may not contain '/'"]),
        ({**role(), "metadata": {"name": "system:a"}}, []),
    ],
)
def test_roles(door, manifest, expected):
    assert door.refused(manifest) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"subjects": []}, []),
        ({"subjects": [{"kind": "ServiceAccount", "name": "a"}]}, []),
        ({"roleRef": {"kind": "ClusterRole"}}, []),
        ({"roleRef": {"kind": "Team"}}, ['roleRef.kind: Unsupported value: "Team": supported values: "ClusterRole", "Role"']),
        ({"roleRef": {"name": ""}}, ["roleRef.name: Required value"]),
        ({"roleRef": {"name": "a/b"}}, ["roleRef.name: Invalid value: \"a/b\": may not contain '/'"]),
        ({"roleRef": {"apiGroup": "x"}}, [f'roleRef.apiGroup: Unsupported value: "x": supported values: "{GROUP}"']),
        ({"subjects": [{"kind": "User", "name": ""}]}, ["subjects[0].name: Required value", 'subjects[0].name: Invalid value: "": user name cannot be empty']),
        ({"subjects": [{"kind": "Group", "name": "a", "apiGroup": "x"}]}, [f'subjects[0].apiGroup: Unsupported value: "x": supported values: "{GROUP}"']),
        ({"subjects": [{"kind": "Robot", "name": "a"}]}, ['subjects[0].kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", "User"']),
        ({"subjects": [{"kind": "ServiceAccount", "name": "a", "apiGroup": "x"}]}, ['subjects[0].apiGroup: Unsupported value: "x": supported values: ""']),
    ],
    ids=str,
)  # fmt: skip
def test_bindings(door, patched, changes, expected):
    assert door.refused(patched(BINDING, changes)) == expected


def test_cluster_bindings_name_cluster_roles_and_whole_accounts(door):
    manifest = {**BINDING, "kind": "ClusterRoleBinding", "subjects": [{"kind": "ServiceAccount", "name": "a"}]}
    assert door.refused(manifest) == [
        'roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"',
        "subjects[0].namespace: Required value",
    ]


def test_a_binding_keeps_its_role(door, patched):
    other = patched(BINDING, {"roleRef": {"name": "other"}})
    shown = f'{{"apiGroup":"{GROUP}","kind":"Role","name":"other"}}'
    assert door.change_refused(BINDING, other) == [f"roleRef: Invalid value: {shown}: cannot change roleRef"]
    assert door.change_refused(BINDING, {**BINDING, "subjects": []}) == []


KEY = ec.generate_private_key(ec.SECP256R1())


def pem(broken: bool = False) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ann")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(KEY, hashes.SHA256())
    der = bytearray(made.public_bytes(serialization.Encoding.DER))
    if broken:
        der[-1] ^= 1
    body = base64.encodebytes(bytes(der)).decode()
    text = f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"
    return base64.b64encode(text.encode()).decode()


REQUEST = {
    "apiVersion": "certificates.k8s.io/v1",
    "kind": "CertificateSigningRequest",
    "spec": {"request": pem(), "signerName": "example.com/signer", "usages": ["client auth"]},
}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, []),
        ({"expirationSeconds": 600}, []),
        ({"expirationSeconds": 599}, ["spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)"]),
        ({"usages": []}, ["spec.usages: Required value"]),
        ({"usages": ["client auth", "client auth"]}, ['spec.usages[1]: Duplicate value: "client auth"']),
        ({"signerName": ""}, ["spec.signerName: Required value"]),
        ({"signerName": "signer"}, ["spec.signerName: Invalid value: \"signer\": must be a fully qualified domain and path of the form 'example.com/signer-name'"]),
        ({"signerName": "example/signer"}, ['spec.signerName: Invalid value: "example": should be a domain with at least two segments separated by dots']),
        ({"signerName": "kubernetes.io/legacy-unknown"}, ['spec.signerName: Invalid value: "kubernetes.io/legacy-unknown": the legacy signerName is not allowed via this API version']),
    ],
    ids=str,
)  # fmt: skip
def test_requests(door, patched, spec, expected):
    assert door.refused(patched(REQUEST, {"spec": spec})) == expected


@pytest.mark.parametrize(
    ("spec", "start"),
    [
        ({"usages": ["magic"]}, 'spec.usages[0]: Unsupported value: "magic": supported values: "any", '),
        ({"request": base64.b64encode(b"hello").decode()}, "spec.request: Invalid value: "),
        ({"request": pem(broken=True)}, "spec.request: Invalid value: "),
        ({"signerName": "Example.com/a"}, 'spec.signerName: Invalid value: "Example.com": validating label "Example": a lowercase'),
        ({"signerName": "example.com/A"}, 'spec.signerName: Invalid value: "A": validating label "A": a lowercase'),
    ],
)  # fmt: skip
def test_requests_that_start_wrong(door, patched, spec, start):
    (error,) = door.refused(patched(REQUEST, {"spec": spec}))
    assert error.startswith(start)


def decided(*conditions: str, status: str = "True", certificate: bytes = b"") -> dict:
    given = [{"type": type, "status": status, "reason": "r"} for type in conditions]
    return {**REQUEST, "status": {"conditions": given, "certificate": base64.b64encode(certificate).decode()}}


@pytest.mark.parametrize(
    ("part", "old", "new", "expected"),
    [
        ("approval", REQUEST, decided("Approved"), []),
        ("approval", REQUEST, decided("Denied"), []),
        ("approval", decided("Approved"), REQUEST, ['status.conditions: Forbidden: updates may not remove a condition of type "Approved"']),
        ("approval", REQUEST, decided("Approved", "Denied"), ['status.conditions[1].type: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive']),
        ("approval", REQUEST, decided("Approved", "Approved"), ['status.conditions[1].type: Duplicate value: "Approved"']),
        ("approval", REQUEST, decided("Approved", status="False"), ['status.conditions[0].status: Unsupported value: "False": supported values: "True"']),
        ("approval", REQUEST, decided("Approved", status=""), ["status.conditions[0].status: Required value"]),
        ("approval", REQUEST, decided(""), ["status.conditions[0].type: Required value"]),
        ("status", REQUEST, decided("Failed"), []),
        ("status", REQUEST, decided("Approved"), ['status.conditions: Forbidden: updates may not add a condition of type "Approved"']),
        ("status", decided("Failed"), REQUEST, ['status.conditions: Forbidden: updates may not remove a condition of type "Failed"']),
        ("status", REQUEST, decided(certificate=b"x"), ['status.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block']),
        ("status", REQUEST, decided(certificate=b"-----BEGIN KEY-----\n"), ['status.certificate: Invalid value: "<certificate data>": only CERTIFICATE PEM blocks are allowed, found "KEY"']),
        ("status", decided(certificate=b"a"), decided(certificate=b"b"), ["status.certificate: Forbidden: updates may not modify existing certificate content"]),
    ],
)  # fmt: skip
def test_decisions(door, part, old, new, expected):
    assert door.change_refused(old, new, part) == expected


def test_who_may_change_what_of_a_request(door, patched):
    approved = decided("Approved")
    other = patched(approved, {"spec": {"usages": ["any"]}, "status": {"certificate": "YQ=="}})
    assert door.changed(REQUEST, other) == door.defaulted({**REQUEST, "metadata": {"name": "web"}})
    through = door.changed(REQUEST, other, "approval")
    assert through["spec"] == REQUEST["spec"]
    assert "certificate" not in through["status"]
    assert through["status"]["conditions"][0]["type"] == "Approved"


def test_a_signer_need_not_repeat_the_decision(door):
    changed = door.changed(decided("Approved"), decided(certificate=b"x"), "status")
    assert [condition["type"] for condition in changed["status"]["conditions"]] == ["Approved"]
