"""TLS of the standard library's kind, for servers and clients that gRPC does not make."""

import os
import ssl
import tempfile
from typing import IO, Any

from navarch.services.base.credentials import Credentials


def server_context(credentials: Credentials, protocol: str, *, need_certificate: bool) -> ssl.SSLContext:
    """For a server. protocol: of ALPN, "h2" or "http/1.1".

    need_certificate: refuse clients without a certificate of the authority; else they may prove who they are by
    other means, and one that is shown still has to be the authority's.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=credentials.ca.decode())
    context.verify_mode = ssl.CERT_REQUIRED if need_certificate else ssl.CERT_OPTIONAL
    context.set_alpn_protocols([protocol])
    load_pair(context, credentials)
    return context


def client_context(credentials: Credentials) -> ssl.SSLContext:
    """For a client that shows its certificate and trusts the authority."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=credentials.ca.decode())
    load_pair(context, credentials)
    return context


def load_pair(context: ssl.SSLContext, credentials: Credentials) -> None:
    """Hand certificate and key over. OpenSSL reads them from files only; this one is gone afterwards."""
    with _nameless_file() as file:
        file.write(credentials.cert + b"\n" + credentials.key)
        file.flush()
        path = file.name if isinstance(file.name, str) else f"/proc/self/fd/{file.fileno()}"
        context.load_cert_chain(path)


def _nameless_file() -> IO[Any]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("identity", os.MFD_CLOEXEC), "wb")
    return tempfile.NamedTemporaryFile(prefix="navarch-")
