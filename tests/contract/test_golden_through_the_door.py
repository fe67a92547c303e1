"""The golden objects through a running API server: what is created is what is read, but for what the server sets.

Each is sent as a client would send it: without what only a server writes. Golden objects have every field filled
with its own name, which a kind's rules may refuse; then the fields that the refusal names are taken out.
"""

import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec, envelope, errors
from navarch.services.api.kinds import KINDS, Kind
from navarch.services.apiserver.service import ApiServer, Config
from navarch.services.base.tls import CertificateAuthority
from navarch.services.client.client import Client
from navarch.services.store.config import Config as StoreConfig
from navarch.services.store.service import StoreService

FOLDER = Path(os.environ.get("NAVARCH_GOLDEN") or Path(__file__).resolve().parents[3] / "shared" / "golden")
# What stands for a word that has to come out of a small set, so that more of an object is allowed.
WORDS = {
    "accessModesValue": "ReadWriteOnce",
    "clusterIPValue": "10.96.3.3",
    "clusterIPsValue": "10.96.3.3",
    "effectValue": "NoSchedule",
    "externalIPsValue": "203.0.113.7",
    "ipFamiliesValue": "IPv4",
    "ipFamilyPolicyValue": "SingleStack",
    "ipValue": "192.0.2.1",
    "namespaceValue": "default",
    "operatorValue": "In",
    "podCIDRValue": "192.0.2.0/24",
    "podCIDRsValue": "192.0.2.0/24",
    "protocolValue": "TCP",
    "restartPolicyValue": "Never",
    "scheduleValue": "*/5 * * * *",
    "schemeValue": "HTTPS",
    "sessionAffinityValue": "ClientIP",
    "serviceAccountValue": "serviceaccountnamevalue",
}
# Taking one field out may bring another rule up.
ROUNDS = 40
KIND_OF = {(kind.contract, kind.kind): kind for kind in KINDS if kind.key_prefix and "create" in kind.verbs}


def golden() -> list[Any]:
    """(kind, envelope) of every golden object that can be stored."""
    found = []
    for path in sorted(FOLDER.glob("*.pb")):
        group, version, name = path.stem.split(".")
        if kind := KIND_OF.get((f"{group}.{version}", name)):
            found.append(pytest.param(kind, path, id=path.stem))
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[Client]:
    """An administrator's, of an API server on a store."""
    now = time.time()
    authority = CertificateAuthority.create("golden", now)
    own = authority.issue("kube-apiserver", ["system:masters"], ["localhost"], ["127.0.0.1"], now=now, server=True)
    store = StoreService(StoreConfig())
    await store.start()
    server = ApiServer(Config((store.address,), own, None, listen="127.0.0.1:0"))
    await server.start()
    admin = Client.connect(f"127.0.0.1:{server.port}", authority.issue("admin", ["system:masters"], now=now))
    yield admin
    await admin.close()
    await server.stop()
    await store.stop()


def test_there_are_golden_objects() -> None:
    assert len(golden()) > 10, f"no golden objects in {FOLDER}; set NAVARCH_GOLDEN to their folder"


def as_sent(kind: Kind, path: Path) -> Any:
    """The object as a client would send it: words that names allow, nothing that only a server writes."""
    document = _lowered(codec.to_json(envelope.decode(path.read_bytes(), kind.message)))
    metadata = {key: document["metadata"][key] for key in ("labels", "annotations", "ownerReferences")}
    document["metadata"] = {**metadata, "name": "golden", "finalizers": ["example.org/hold"]}
    if kind.namespaced:
        document["metadata"]["namespace"] = "default"
    if kind.subresource("status") and kind.kind != "Node":
        # What a creator says of the status is not kept; a Node describes itself.
        document.pop("status", None)
    if kind.kind == "Pod":
        # Admission knows no such classes.
        for name in ("priorityClassName", "priority", "runtimeClassName", "overhead"):
            del document["spec"][name]
    if kind.kind == "Secret":
        # For writing only: it ends up in the data.
        document["data"]["stringDataKey"] = codec.to_json(corev1.Secret(data={"k": b"stringdatavalue"}))["data"]["k"]
        del document["stringData"]
    if kind.kind == "ServiceAccount":
        # Of a Secret only the name is kept.
        document["secrets"] = [{"name": one["name"]} for one in document["secrets"]]
    if kind.kind == "PersistentVolume":
        document["spec"]["capacity"] = {"storage": "1Gi"}
        # For volumes of CSI drivers, of which this one is none.
        del document["spec"]["volumeAttributesClassName"]
    if kind.kind == "PersistentVolumeClaim":
        document["spec"]["resources"] = {"requests": {"storage": "1Gi"}}
        # A source of another namespace leaves no place for the old member.
        del document["spec"]["dataSource"]
    if kind.kind in ("Deployment", "ReplicaSet", "Job"):
        chosen = {**document["spec"]["selector"]["matchLabels"], "keyvalue": "valuesvalue"}
        document["spec"]["template"]["metadata"]["labels"] = chosen
    return document


def _lowered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lowered(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_lowered(item) for item in value]
    return WORDS.get(value, value.lower()) if isinstance(value, str) and value.endswith("Value") else value


def places_of(document: Any, path: str) -> set[tuple[str | int, ...]]:
    """Where the field is that a cause names; where it is missing, the part of the object that it is missing in."""
    # One rule of Services names its field with a capital letter.
    parts = re.findall(r"[^.\[\]]+", path.replace("LoadBalancerS", "loadBalancerS"))
    place: tuple[str | int, ...] = ()
    for number, part in enumerate(parts):
        if isinstance(document, list) and not part.isdigit():
            # One rule of mounts does not say which of them.
            rest = ".".join(parts[number:])
            return {(*place, at, *one) for at, item in enumerate(document) for one in places_of(item, rest)}
        key = int(part) if isinstance(document, list) else part
        present = range(len(document)) if isinstance(document, list) else document
        if isinstance(document, str) or key not in present:
            break
        place, document = (*place, key), document[key]
    return {place}


def take_out(document: Any, fields: set[str]) -> None:
    """Remove what causes name, all as it was before: a part that two of them miss something in goes once."""
    places = {place for field in fields for place in places_of(document, field)}
    for place in sorted(places, key=lambda place: [str(key) for key in place], reverse=True):
        if place and place[-1] not in ("spec", "template"):
            holder = document
            for key in place[:-1]:
                holder = holder[key]
            del holder[place[-1]]


async def create(client: Client, kind: Kind, document: Any) -> Any:
    """Create it, without what the kind's rules refuse: a field filled with its own name is not always one."""
    for _ in range(ROUNDS):
        try:
            return await client.create(codec.from_json(document, kind.message))
        except errors.Invalid as refusal:
            refused = refusal.message
            take_out(document, {cause.field for cause in refusal.causes})
    raise AssertionError(f"refused, whatever is taken out: {refused}")


def lost(sent: Any, kept: Any, path: str = "") -> list[str]:
    """The paths of what was sent and is not there, or is another."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        return [place for key, value in sent.items() for place in lost(value, kept.get(key), f"{path}.{key}")]
    if isinstance(sent, list) and isinstance(kept, list) and len(sent) <= len(kept):
        return [place for at, value in enumerate(sent) for place in lost(value, kept[at], f"{path}[{at}]")]
    return [] if sent == kept or (not sent and kept is None) else [f"{path}: {sent} became {kept}"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("kind", "path"), golden())
async def test_what_is_created_is_what_is_read(client: Client, kind: Kind, path: Path) -> None:
    document = as_sent(kind, path)
    made = await create(client, kind, document)
    assert lost(document, codec.to_json(made)) == []
    read = await client.get(kind.message, "golden", made.metadata.namespace)
    assert read.SerializeToString(deterministic=True) == made.SerializeToString(deterministic=True)
    listed = await client.list(kind.message, made.metadata.namespace, field_selector="metadata.name=golden")
    assert listed.items == [made]
