"""The ConfigMap from which extension servers learn whom to trust: kube-system/extension-apiserver-authentication."""

import json

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.credentials import Credentials
from navarch.services.base.tls import identity

NAME, NAMESPACE = "extension-apiserver-authentication", "kube-system"


def trust(client_ca: bytes, proxy: Credentials) -> corev1.ConfigMap:
    """client_ca: PEM of the authority of clients. proxy: what this server shows as front proxy."""
    found = corev1.ConfigMap()
    found.metadata.name, found.metadata.namespace = NAME, NAMESPACE
    found.data.update(
        {
            "client-ca-file": client_ca.decode(),
            "requestheader-client-ca-file": proxy.ca.decode(),
            "requestheader-allowed-names": json.dumps([identity(proxy.cert)[0]]),
            "requestheader-username-headers": json.dumps(["X-Remote-User"]),
            "requestheader-uid-headers": json.dumps(["X-Remote-Uid"]),
            "requestheader-group-headers": json.dumps(["X-Remote-Group"]),
            "requestheader-extra-headers-prefix": json.dumps(["X-Remote-Extra-"]),
        }
    )
    return found
