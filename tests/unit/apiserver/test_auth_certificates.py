"""Users by certificate: who they are, and until when."""

import pytest

from navarch.services.api.errors import Unauthorized
from navarch.services.apiserver.auth.certificates import CertificateAuthenticator
from navarch.services.base.clock import VirtualClock
from navarch.services.base.tls import LEAF_LIFETIME, CertificateAuthority

NOW = 1_700_000_000.0


def test_a_certificate_outlived_by_its_connection() -> None:
    clock = VirtualClock(NOW)
    certificates = CertificateAuthenticator(clock)
    authority = CertificateAuthority.create("test", NOW)
    shown = certificates.read(authority.issue("jane", organizations=("dev",), now=NOW).cert)
    assert certificates.user_of(shown).name == "jane"
    assert certificates.user_of(shown).groups == {"dev", "system:authenticated"}
    clock.advance(LEAF_LIFETIME.total_seconds())
    with pytest.raises(Unauthorized):
        certificates.user_of(shown)
