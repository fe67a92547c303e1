# ruff: noqa: E501 -- tables of messages
"""Rules for ClusterTrustBundles."""

import pytest

from navarch.services.base.tls import CertificateAuthority

ONE, TWO = (CertificateAuthority.create(name, 1_700_000_000.0) for name in ("one", "two"))
FIRST, SECOND = ONE.cert_pem.decode(), TWO.cert_pem.decode()
LEAF = ONE.issue("leaf", now=1_700_000_000.0).cert.decode()
KEY = ONE.key_pem.decode()
OMITTED = 'spec.trustBundle: Invalid value: "<value omitted>": '
SHAPE = "must be a fully qualified domain and path of the form 'example.com/signer-name'"


def bundle(name: str = "web", anchors: str = FIRST, **spec: str) -> dict:
    return {
        "apiVersion": "certificates.k8s.io/v1beta1",
        "kind": "ClusterTrustBundle",
        "metadata": {"name": name},
        "spec": {"trustBundle": anchors, **spec},
    }


@pytest.mark.parametrize(
    ("anchors", "expected"),
    [
        pytest.param(FIRST, [], id="one"),
        pytest.param(FIRST + SECOND, [], id="two"),
        pytest.param(FIRST.replace("\n", "\r\n"), [], id="lines of another system"),
        pytest.param(f"words\n{FIRST}\nbetween\n{SECOND}words", [], id="words between them"),
        pytest.param("", [OMITTED + "at least one trust anchor must be provided"], id="nothing"),
        pytest.param("words", [OMITTED + "at least one trust anchor must be provided"], id="no block"),
        pytest.param(
            FIRST + SECOND + FIRST, [OMITTED + "duplicate trust anchor (indices [0 2])"], id="one of them twice"
        ),
        pytest.param(FIRST + LEAF, [OMITTED + "entry 1 does not have the CA bit set"], id="of no authority"),
        pytest.param(
            FIRST.replace("CERTIFICATE-----\n", "CERTIFICATE-----\nA: b\n\n", 1),
            [OMITTED + "entry 0 has PEM block headers"],
            id="headers",
        ),
        pytest.param(
            FIRST + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + FIRST,
            [OMITTED + "entry 1 does not parse as X.509"],
            id="a broken one hides that others are there twice",
        ),
        pytest.param("x" * (1 << 20), [OMITTED + "at least one trust anchor must be provided"], id="1 MiB"),
    ],
)
def test_anchors(door, anchors, expected):
    assert door.refused(bundle(anchors=anchors)) == expected


def test_a_private_key_is_no_anchor(door):
    (error,) = door.refused(bundle(anchors=FIRST + KEY))
    assert error.startswith(OMITTED + "entry 1 has bad block type: ")
    assert error.endswith("PRIVATE KEY")


def test_too_much(door):
    (error,) = door.refused(bundle(anchors="x" * ((1 << 20) + 1)))
    assert error.startswith("spec.trustBundle: Too long: ")


@pytest.mark.parametrize(
    ("name", "signer", "expected"),
    [
        ("web", "", []),
        ("example.com:s:web", "example.com/s", []),
        ("example.com:s:web.v1", "example.com/s", []),
        (
            "a:web",
            "",
            [
                'metadata.name: Invalid value: "a:web": ClusterTrustBundle without signer name must not have ":" in its name'
            ],
        ),
        (
            "web",
            "example.com/s",
            [
                'metadata.name: Invalid value: "web": ClusterTrustBundle for signerName example.com/s must be named with '
                "prefix example.com:s:"
            ],
        ),
        ("signer:web", "signer", [f'spec.signerName: Invalid value: "signer": {SHAPE}']),
    ],
)
def test_names(door, name, signer, expected):
    assert door.refused(bundle(name, signerName=signer)) == expected


@pytest.mark.parametrize("name", ["Web", "example.com:s:Web", "example.com:s:"])
def test_the_own_part_of_the_name_is_a_domain_name(door, name):
    spec = {"signerName": "example.com/s"} if ":" in name else {}
    (error,) = door.refused(bundle(name, **spec))
    assert error.startswith(f'metadata.name: Invalid value: "{name}": ')
    assert "RFC 1123 subdomain" in error


def test_changes(door):
    old = bundle("example.com:s:web", signerName="example.com/s")
    assert door.change_refused(old, bundle("example.com:s:web", SECOND, signerName="example.com/s")) == []
    other = bundle("example.com:s:web", signerName="example.com/s2")
    assert door.change_refused(old, other)[-1] == (
        'spec.signerName: Invalid value: "example.com/s2": field is immutable'
    )
    assert door.change_refused(old, bundle("example.com:s:web", "", signerName="example.com/s")) == [
        OMITTED + "at least one trust anchor must be provided"
    ]


def test_anchors_that_stay_are_not_judged_again(door):
    old = bundle(anchors="stored by an older server")
    assert door.change_refused(old, {**old, "metadata": {"name": "web", "labels": {"a": "b"}}}) == []
