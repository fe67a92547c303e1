"""Asks the API server for a certificate and waits for the answer, across restarts of either side."""

from collections.abc import Sequence
from contextlib import aclosing

from cryptography.hazmat.primitives import serialization

from navarch.protos.k8s.certificates import v1_pb2 as certificatesv1
from navarch.services.api.errors import AlreadyExists
from navarch.services.base.log import get_logger
from navarch.services.base.tls import new_request
from navarch.services.client.client import Client
from navarch.services.kubelet.certificates.files import matches
from navarch.services.kubelet.core.certificates import NODES, Purpose, request_name, subject

Request = certificatesv1.CertificateSigningRequest
LOG = get_logger("kubelet.certificates")


class Refused(Exception):
    """The request was denied, or will not be signed; says why. Another key makes another request."""


def request_for(key: bytes, purpose: Purpose, node_name: str, names: Sequence[str], expiration_s: int = 0) -> Request:
    """The request of a node. key: PEM. expiration_s: how long it is to be valid; 0 leaves it to the signer."""
    made = Request()
    public = serialization.load_pem_private_key(key, None).public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    made.metadata.name = request_name(der, purpose, node_name, names)
    made.spec.request = new_request(key, subject(node_name), [NODES], names)
    made.spec.signer_name = purpose.signer
    made.spec.usages.extend(purpose.usages)
    if expiration_s:
        made.spec.expiration_seconds = expiration_s
    return made


async def obtain(client: Client, request: Request, key: bytes) -> bytes:
    """The certificate for a request, PEM. Raises Refused, ApiError when the API server cannot be asked."""
    while True:
        try:
            created = await client.create(request)
            LOG.info("certificate.requested", name=created.metadata.name, signer=created.spec.signer_name)
        except AlreadyExists:
            LOG.info("certificate.request_taken_up", name=request.metadata.name, signer=request.spec.signer_name)
        if (certificate := await _answer(client, request.metadata.name)) is None:
            continue
        if not matches(certificate, key):
            raise Refused("the certificate belongs to another key")
        return certificate


async def _answer(client: Client, name: str) -> bytes | None:
    """Wait for a request's end: its certificate; None where it is to be looked at anew, or was removed.

    Raises Refused, ApiError.
    """
    async with aclosing(client.watch(Request, field_selector=f"metadata.name={name}")) as events:
        async for event in events:
            if event.type == "DELETED":
                return None
            for condition in event.object.status.conditions:
                if condition.type in ("Denied", "Failed"):
                    raise Refused(f"request {name} is {condition.type}: {condition.message or condition.reason}")
            if event.object.status.certificate:
                return event.object.status.certificate
    return None
