"""Valid objects of every kind, to be spoilt."""

import base64
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from navarch.services.api import codec, envelope
from navarch.services.api.kinds import KINDS, Kind
from navarch.testing.door_fuzz.http1 import Client

# Kinds that are asked, not stored.
_QUESTIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("authentication.k8s.io/v1", "TokenReview", {"spec": {"token": "x.y.z", "audiences": ["a"]}}),
    ("authentication.k8s.io/v1", "SelfSubjectReview", {}),
    ("authorization.k8s.io/v1", "SubjectAccessReview", {"spec": {"user": "u", "resourceAttributes": {"verb": "get"}}}),
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview", {"spec": {"nonResourceAttributes": {"path": "/a"}}}),
    ("authorization.k8s.io/v1", "LocalSubjectAccessReview", {"spec": {"groups": ["g"], "user": "u"}}),
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview", {"spec": {"namespace": "default"}}),
)
WIDGET_SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "x-kubernetes-validations": [{"rule": "self.size <= 10 || !has(self.tags)", "message": "too large"}],
            "properties": {
                "size": {"type": "integer", "minimum": 0, "default": 3},
                "ratio": {"type": "number"},
                "either": {"x-kubernetes-int-or-string": True},
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "parts": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
                },
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "when": {"type": "string", "format": "date-time"},
                "by": {"type": "object", "additionalProperties": {"type": "string", "pattern": "^[a-z]*$"}},
                "pod": {"type": "object", "x-kubernetes-embedded-resource": True},
            },
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "gadgets.fuzz.example.com"},
    "spec": {
        "group": "fuzz.example.com",
        "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": WIDGET_SCHEMA},
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
                },
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                "selectableFields": [{"jsonPath": ".spec.size"}],
            }
        ],
    },
}
WIDGET = {
    "apiVersion": "fuzz.example.com/v1",
    "kind": "Gadget",
    "metadata": {"name": "gadget", "labels": {"a": "b"}},
    "spec": {"size": 2, "ratio": 0.5, "tags": ["x"], "parts": [{"name": "p"}], "free": {"a": [1]}, "by": {"k": "v"}},
}


@dataclass(frozen=True)
class Seed:
    """A valid object and where it lives. kind: None for custom ones."""

    document: dict[str, Any]
    collection: str
    kind: Kind | None
    parts: Sequence[str] = ()
    is_question: bool = False

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.document.get("metadata", {}).get("name", ""))

    @property
    def path(self) -> str:
        """Where it is read."""
        return f"{self.collection}/{self.name}"

    def protobuf(self) -> bytes:
        """It, encoded, without the envelope."""
        assert self.kind is not None
        return bytes(codec.from_json(self.document, self.kind.message).SerializeToString())

    def enveloped(self, raw: bytes) -> bytes:
        """Encoded bytes in the envelope."""
        assert self.kind is not None
        return envelope.around(raw, self.kind.api_version, self.kind.kind)


def load(manifests: Path, rng: random.Random) -> list[Seed]:
    """The seeds of a file of manifests, one of each kind, of questions and of a custom resource."""
    text = manifests.read_text().replace("{csr}", base64.b64encode(_signing_request()).decode())
    # JSON in between, so that times are text.
    found = [
        json.loads(json.dumps(one, default=lambda time: f"{time:%Y-%m-%dT%H:%M:%SZ}"))
        for one in yaml.safe_load_all(text)
    ]
    seeds = [_seed(one) for one in found]
    seeds += [_seed({"apiVersion": api, "kind": kind, **rest}, is_question=True) for api, kind, rest in _QUESTIONS]
    place = "/apis/fuzz.example.com/v1/namespaces/default/gadgets"
    seeds += [Seed(WIDGET, place, None, ("status", "scale"))] * 4
    rng.shuffle(seeds)
    return seeds


async def plant(client: Client, seeds: Sequence[Seed]) -> None:
    """Create what is not there."""
    for document in ({"metadata": {"name": "default"}}, WIDGETS):
        path = (
            "/api/v1/namespaces"
            if document is not WIDGETS
            else "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        )
        await client.ask("POST", path, json.dumps(document).encode(), {"Content-Type": "application/json"})
    for seed in seeds:
        if not seed.is_question:
            body = json.dumps(seed.document).encode()
            await client.ask("POST", seed.collection, body, {"Content-Type": "application/json"})


async def clear(client: Client, seeds: Sequence[Seed]) -> None:
    """Delete what has gathered."""
    keep = {"/api/v1/namespaces", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"}
    free = json.dumps({"metadata": {"finalizers": None}}).encode()
    for seed in seeds:
        if seed.is_question or seed.collection in keep:
            continue
        everywhere = seed.collection.replace("/namespaces/default", "")
        listed = await client.ask("GET", everywhere)
        items = json.loads(listed.body).get("items", ()) if listed is not None and listed.status == 200 else ()
        for item in items:
            metadata = item["metadata"]
            root, _, resource = everywhere.rpartition("/")
            place = f"{root}/namespaces/{metadata['namespace']}" if "namespace" in metadata else root
            path = f"{place}/{resource}/{quote(metadata['name'], safe='')}"
            if metadata.get("finalizers"):
                await client.ask("PATCH", path, free, {"Content-Type": "application/merge-patch+json"})
            await client.ask("DELETE", f"{path}?gracePeriodSeconds=0")


def _seed(document: dict[str, Any], *, is_question: bool = False) -> Seed:
    kind = KINDS.by_gvk(document["apiVersion"], document["kind"])
    root = f"/apis/{kind.group}" if kind.group else "/api"
    place = "/namespaces/default" if kind.namespaced else ""
    parts = [part.name for part in kind.subresources]
    return Seed(document, f"{root}/{kind.version}{place}/{kind.resource}", kind, parts, is_question)


def _signing_request() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "someone")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)
