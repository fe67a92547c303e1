"""Who approves and who signs needs the right to speak for the signer, beside that to the request."""

from typing import Any

import pytest

from navarch.protos.k8s.certificates import v1_pb2 as certificatesv1
from navarch.protos.k8s.certificates import v1beta1_pb2 as certificatesv1beta1
from navarch.services.api.errors import Forbidden
from navarch.services.api.kinds import KINDS
from navarch.services.apiserver.admission.certificates import restrict_attestation, restrict_decision
from navarch.services.apiserver.auth.authorizer import Attributes
from navarch.services.apiserver.auth.user import User


class Rights:
    """An authorizer that knows verbs on signers."""

    def __init__(self, *allowed: tuple[str, str]) -> None:
        self._allowed = allowed

    def allows(self, user: User, attributes: Attributes) -> bool:
        return attributes.resource == "signers" and (attributes.verb, attributes.name) in self._allowed

    def rules_of(self, user: User) -> list[Any]:
        return []


class Stored:
    """A stored request."""

    kind = KINDS.of(certificatesv1.CertificateSigningRequest)
    name = "mine"

    def decode(self) -> Any:
        request = certificatesv1.CertificateSigningRequest()
        request.spec.signer_name = "example.com/signer"
        return request


@pytest.mark.parametrize(
    ("subresource", "allowed", "is_fine"),
    [
        ("approval", (), False),
        ("approval", (("sign", "example.com/signer"),), False),
        ("approval", (("approve", "example.com/other"),), False),
        ("approval", (("approve", "example.com/signer"),), True),
        ("approval", (("approve", "example.com/*"),), True),
        ("status", (("approve", "example.com/signer"),), False),
        ("status", (("sign", "example.com/*"),), True),
        ("", (), True),
    ],
)
def test_a_signers_voice(subresource: str, allowed: tuple[tuple[str, str], ...], is_fine: bool) -> None:
    stored: Any = Stored()
    new = stored.decode()
    # What the update itself says of the signer does not count.
    new.spec.signer_name = "kubernetes.io/legacy-unknown"
    new.status.certificate = b"PEM"
    if is_fine:
        restrict_decision(Rights(*allowed), User("jane", frozenset()), subresource, stored, new)
        return
    with pytest.raises(Forbidden, match='requests with signerName "example.com/signer"'):
        restrict_decision(Rights(*allowed), User("jane", frozenset()), subresource, stored, new)


@pytest.mark.parametrize(
    ("signer", "allowed", "is_fine"),
    [
        ("", (), True),
        ("example.com/signer", (), False),
        ("example.com/signer", (("sign", "example.com/signer"),), False),
        ("example.com/signer", (("attest", "example.com/other"),), False),
        ("example.com/signer", (("attest", "example.com/signer"),), True),
        ("example.com/signer", (("attest", "example.com/*"),), True),
    ],
)
def test_who_may_say_whom_to_trust(signer: str, allowed: tuple[tuple[str, str], ...], is_fine: bool) -> None:
    bundle = certificatesv1beta1.ClusterTrustBundle()
    bundle.metadata.name, bundle.spec.signer_name = "mine", signer
    kind = KINDS.of(certificatesv1beta1.ClusterTrustBundle)
    if is_fine:
        restrict_attestation(Rights(*allowed), User("jane", frozenset()), kind, bundle)
        return
    with pytest.raises(Forbidden, match='user not permitted to attest for signerName "example.com/signer"'):
        restrict_attestation(Rights(*allowed), User("jane", frozenset()), kind, bundle)
