"""What requests for certificates ask for, and whether they may. Pure.

The rules of the built-in signers are those of
https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from navarch.protos.k8s.certificates import v1_pb2 as certificatesv1

Request = certificatesv1.CertificateSigningRequest

API_CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY_UNKNOWN = "kubernetes.io/legacy-unknown"
SIGNERS = frozenset({API_CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY_UNKNOWN})

NODES = "system:nodes"
NODE_PREFIX = "system:node:"
APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"

_CLIENT = frozenset({"digital signature", "client auth"})
_SERVING = frozenset({"digital signature", "server auth"})
_ENCIPHERMENT = "key encipherment"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is in the PEM of a request. others: names that are neither DNS names nor addresses."""

    common_name: str
    organizations: tuple[str, ...]
    dns_names: frozenset[str]
    addresses: frozenset[str]
    others: int

    @classmethod
    def read(cls, pem: bytes) -> Self:
        """Raises ValueError for what cannot be read."""
        try:
            request = x509.load_pem_x509_csr(pem)
            names = _names(request)
        except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm) as failure:
            raise ValueError(str(failure)) from failure
        common = [str(one.value) for one in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        groups = tuple(str(one.value) for one in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
        dns = [one.value for one in names if isinstance(one, x509.DNSName)]
        addresses = [str(one.value) for one in names if isinstance(one, x509.IPAddress)]
        others = len(names) - len(dns) - len(addresses)
        # Servers do not agree on which of several common names counts.
        return cls(common[0] if len(common) == 1 else "", groups, frozenset(dns), frozenset(addresses), others)

    @property
    def has_names(self) -> bool:
        """Whether it asks for names beside the subject."""
        return bool(self.dns_names or self.addresses or self.others)


def _names(request: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    try:
        return list(request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def refusal(signer: str, asked: Asked, usages: Collection[str]) -> str:
    """Why a signer does not sign; empty when it does. signer: one of SIGNERS."""
    found = frozenset(usages)
    if signer == API_CLIENT:
        return _wrong_client(found)
    if signer == KUBELET_CLIENT:
        if asked.has_names:
            return "subjectAltName is not permitted to a kubelet as client"
        return _not_a_node(asked) or _wrong_usages(found, _CLIENT)
    if signer == KUBELET_SERVING:
        if asked.others or not asked.has_names:
            return "subjectAltName must hold DNS names or IP addresses, and nothing else"
        return _not_a_node(asked) or _wrong_usages(found, _SERVING)
    return ""


def _wrong_client(found: frozenset[str]) -> str:
    surplus = found - _CLIENT - {_ENCIPHERMENT}
    if "client auth" not in found or surplus:
        permitted = sorted(_CLIENT | {_ENCIPHERMENT})
        return f"usages must include 'client auth', permitted are {permitted}, found {sorted(found)}"
    return ""


def _not_a_node(asked: Asked) -> str:
    if asked.organizations != (NODES,):
        return f"the subject's organization must be exactly {NODES}, found {list(asked.organizations)}"
    if not asked.common_name.removeprefix(NODE_PREFIX) or not asked.common_name.startswith(NODE_PREFIX):
        return f'the subject\'s common name must be "{NODE_PREFIX}" and the name of a node, found {asked.common_name!r}'
    return ""


def _wrong_usages(found: frozenset[str], wanted: frozenset[str]) -> str:
    if found in (wanted, wanted | {_ENCIPHERMENT}):
        return ""
    return f"usages must be {sorted(wanted)}, with or without {_ENCIPHERMENT!r}, found {sorted(found)}"


def of_type(request: Request, type: str) -> certificatesv1.CertificateSigningRequestCondition | None:
    """The condition of a type, if the request has it."""
    return next((one for one in request.status.conditions if one.type == type), None)


def is_undecided(request: Request) -> bool:
    """Whether nobody has approved or denied it."""
    return of_type(request, APPROVED) is None and of_type(request, DENIED) is None


def wants_signature(request: Request) -> bool:
    """Whether it is approved and waits for one of our signers."""
    return (
        request.spec.signer_name in SIGNERS
        and not request.status.certificate
        and of_type(request, APPROVED) is not None
        and of_type(request, DENIED) is None
        and of_type(request, FAILED) is None
    )


def permissions(request: Request, asked: Asked) -> list[str]:
    """The parts of certificatesigningrequests of which one must be the requester's to create, for an approval.

    Empty for all but requests for client certificates of nodes: those are left to humans and other approvers.
    """
    if request.spec.signer_name != KUBELET_CLIENT or refusal(KUBELET_CLIENT, asked, request.spec.usages):
        return []
    is_own = request.spec.username == asked.common_name
    return ["selfnodeclient", "nodeclient"] if is_own else ["nodeclient"]


def is_own_serving(request: Request, asked: Asked, addresses: Collection[str]) -> bool:
    """Whether a node asks to serve under its own addresses, and no others."""
    is_serving = request.spec.signer_name == KUBELET_SERVING
    if not is_serving or refusal(KUBELET_SERVING, asked, request.spec.usages):
        return False
    if request.spec.username != asked.common_name or NODES not in request.spec.groups:
        return False
    return asked.dns_names | asked.addresses <= frozenset(addresses)
