"""A group and version that another server serves, as it is known here. No I/O."""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from navarch.protos.k8s.apidiscovery import v2_pb2 as discoveryv2
from navarch.protos.k8s.apiregistration import v1_pb2 as apiregistrationv1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.base.credentials import Credentials
from navarch.services.base.tls_context import load_pair

DEFAULT_PORT = 443


@dataclass(slots=True)
class Remote:
    """One of them. resources: its part of discovery, as last heard; None before its server has answered."""

    spec: apiregistrationv1.APIServiceSpec
    tls: ssl.SSLContext | None = field(repr=False)
    is_available: bool = False
    resources: metav1.APIResourceList | None = None

    @classmethod
    def of(cls, spec: apiregistrationv1.APIServiceSpec, credentials: Credentials | None) -> "Remote":
        """credentials: what this server shows as front proxy. Raises ValueError for a bad CA bundle."""
        return cls(spec, None if credentials is None else _context(spec, credentials))

    @property
    def port(self) -> int:
        """Of the service."""
        return self.spec.service.port or DEFAULT_PORT

    @property
    def host(self) -> str:
        """The name that the server's certificate has to be for."""
        return f"{self.spec.service.name}.{self.spec.service.namespace}.svc"

    @property
    def root(self) -> str:
        """The path of its discovery."""
        return f"/apis/{self.spec.group}/{self.spec.version}"

    def discovery(self) -> discoveryv2.APIVersionDiscovery:
        """Its entry in aggregated discovery."""
        is_fresh = self.is_available and self.resources is not None
        found = discoveryv2.APIVersionDiscovery(version=self.spec.version, freshness="Current" if is_fresh else "Stale")
        rows = list(self.resources.resources) if self.resources is not None else []
        found.resources.extend(_resource(row, rows, self.spec) for row in rows if "/" not in row.name)
        return found


def _context(spec: apiregistrationv1.APIServiceSpec, credentials: Credentials) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=spec.ca_bundle.decode() or None)
    except (ssl.SSLError, UnicodeDecodeError) as failure:
        raise ValueError(f"the caBundle holds no certificates: {failure}") from failure
    if spec.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    load_pair(context, credentials)
    return context


def _resource(
    row: metav1.APIResource, rows: Iterable[metav1.APIResource], spec: apiregistrationv1.APIServiceSpec
) -> discoveryv2.APIResourceDiscovery:
    found = discoveryv2.APIResourceDiscovery(
        resource=row.name,
        response_kind=_kind(row, spec),
        scope="Namespaced" if row.namespaced else "Cluster",
        singular_resource=row.singular_name,
        verbs=row.verbs.items,
        short_names=row.short_names,
        categories=row.categories,
    )
    for part in rows:
        resource, _, name = part.name.partition("/")
        if name and resource == row.name:
            found.subresources.add(subresource=name, response_kind=_kind(part, spec), verbs=part.verbs.items)
    return found


def _kind(row: metav1.APIResource, spec: apiregistrationv1.APIServiceSpec) -> metav1.GroupVersionKind:
    return metav1.GroupVersionKind(group=row.group or spec.group, version=row.version or spec.version, kind=row.kind)


def grouped(remotes: Mapping[tuple[str, str], Remote]) -> dict[str, list[Remote]]:
    """The remotes of each group, the preferred version first; groups by priority."""
    found: dict[str, list[Remote]] = {}
    by_priority: Any = sorted(remotes.values(), key=lambda one: (-one.spec.group_priority_minimum, one.spec.group))
    for remote in by_priority:
        found.setdefault(remote.spec.group, []).append(remote)
    for versions in found.values():
        versions.sort(key=lambda one: (-one.spec.version_priority, one.spec.version))
    return found
