"""The certificates of a clusterTrustBundle projection: of one bundle by name, or of all of a signer that match."""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.labels import Selector
from navarch.services.kubelet.core.references import ConfigError

_TYPE = "CERTIFICATE"
_BLOCK = re.compile(f"-----BEGIN {_TYPE}-----(.*?)-----END {_TYPE}-----", re.DOTALL)
_PEM_COLUMNS = 64


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """A ClusterTrustBundle. pem: its certificates."""

    name: str
    signer_name: str
    pem: str
    labels: Mapping[str, str] = field(default_factory=dict)


def trust_anchors(wanted: corev1.ClusterTrustBundleProjection, bundles: Sequence[TrustBundle] | None) -> bytes:
    """The certificates, each once, in an order that says nothing. bundles: None where the cluster has no such objects.

    Raises ConfigError when there are none and they are not optional.
    """
    if bundles is None:
        if wanted.optional:
            return b""
        raise ConfigError("ClusterTrustBundle projection is not supported: the API server has no such objects")
    if wanted.HasField("name"):
        found = [bundle for bundle in bundles if bundle.name == wanted.name]
        refusal = f'clustertrustbundle.certificates.k8s.io "{wanted.name}" not found'
    else:
        # No selector selects nothing, an empty one everything.
        found = [
            bundle
            for bundle in bundles
            if bundle.signer_name == wanted.signer_name
            and wanted.HasField("label_selector")
            and Selector.of(wanted.label_selector).matches(bundle.labels)
        ]
        refusal = f'combination of signerName "{wanted.signer_name}" and labelSelector matched zero ClusterTrustBundles'
    if not found and not wanted.optional:
        raise ConfigError(refusal)
    return "".join(sorted(set(_certificates(bundle.pem for bundle in found)))).encode()


def _certificates(texts: Iterable[str]) -> Iterable[str]:
    """Each in one spelling, so that the same one is known again; without the words between them."""
    for text in texts:
        for body in _BLOCK.findall(text):
            lines = textwrap.wrap("".join(body.split()), _PEM_COLUMNS)
            yield "\n".join([f"-----BEGIN {_TYPE}-----", *lines, f"-----END {_TYPE}-----", ""])
