"""Requests for certificates: who asks is written down by the server.

Nobody may ask for a client certificate of the group that may do everything. Worded as by the admission plugin
CertificateSubjectRestriction of Kubernetes.
"""

from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from navarch.protos.k8s.certificates import v1_pb2 as certificatesv1
from navarch.services.api.errors import Forbidden
from navarch.services.api.kinds import Kind
from navarch.services.apiserver.auth.authorizer import Attributes, Authorizer
from navarch.services.apiserver.auth.user import MASTERS, User
from navarch.services.apiserver.stored import StoredObject

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


def state_requester(user: User, kind: Kind, obj: Any) -> None:
    """Write into a new request who makes it, whatever it says itself. Raises Forbidden."""
    if not isinstance(obj, certificatesv1.CertificateSigningRequest):
        return
    spec = obj.spec
    for field in ("username", "uid", "groups", "extra"):
        spec.ClearField(field)
    spec.username, spec.uid = user.name, user.uid
    spec.groups.extend(sorted(user.groups))
    for key, values in user.extra:
        spec.extra[key].items.extend(values)
    if spec.signer_name == CLIENT_SIGNER and MASTERS in _organizations(spec.request):
        detail = f"use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed"
        raise Forbidden(kind, obj.metadata.name, detail)


def restrict_decision(authorizer: Authorizer, user: User, subresource: str, current: StoredObject, new: Any) -> None:
    """Raise Forbidden where a user approves or signs for a signer for whom he may not speak."""
    if not isinstance(new, certificatesv1.CertificateSigningRequest):
        return
    old = current.decode()
    is_signed = subresource == "status" and new.status.certificate != old.status.certificate
    verb = "approve" if subresource == "approval" else "sign" if is_signed else ""
    signer = old.spec.signer_name
    names = (signer, f"{signer.partition('/')[0]}/*")
    rights = (Attributes(verb, "certificates.k8s.io", "signers", name=name) for name in names)
    if verb and not any(authorizer.allows(user, right) for right in rights):
        detail = f'user not permitted to {verb} requests with signerName "{signer}"'
        raise Forbidden(current.kind, current.name, detail)


def _organizations(request: bytes) -> list[Any]:
    try:
        subject = x509.load_pem_x509_csr(request).subject
    except ValueError:
        return []  # validation says what is wrong with it
    return [attribute.value for attribute in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
