"""Certificates: who asks for one is written down by the server, and who speaks for a signer needs the right to.

Nobody may ask for a client certificate of the group that may do everything. Worded as by the admission plugins
CertificateSubjectRestriction, CertificateApproval, CertificateSigning and ClusterTrustBundleAttest of Kubernetes.
"""

from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from navarch.protos.k8s.certificates import v1_pb2 as certificatesv1
from navarch.protos.k8s.certificates import v1beta1_pb2 as certificatesv1beta1
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
    if verb and not _may_speak_for(authorizer, user, verb, signer):
        detail = f'user not permitted to {verb} requests with signerName "{signer}"'
        raise Forbidden(current.kind, current.name, detail)


def restrict_attestation(authorizer: Authorizer, user: User, kind: Kind, new: Any) -> None:
    """Raise Forbidden where a user publishes trust anchors for a signer for whom he may not speak."""
    if not isinstance(new, certificatesv1beta1.ClusterTrustBundle) or not new.spec.signer_name:
        return
    if not _may_speak_for(authorizer, user, "attest", new.spec.signer_name):
        detail = f'user not permitted to attest for signerName "{new.spec.signer_name}"'
        raise Forbidden(kind, new.metadata.name, detail)


def _may_speak_for(authorizer: Authorizer, user: User, verb: str, signer: str) -> bool:
    names = (signer, f"{signer.partition('/')[0]}/*")
    return any(authorizer.allows(user, Attributes(verb, "certificates.k8s.io", "signers", name=name)) for name in names)


def _organizations(request: bytes) -> list[Any]:
    try:
        subject = x509.load_pem_x509_csr(request).subject
    except ValueError:
        return []  # validation says what is wrong with it
    return [attribute.value for attribute in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
