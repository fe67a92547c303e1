"""Discovery: which groups, versions and resources there are, in the words of both forms of the discovery API.

The old form is a list of groups and, for each version, a list of resources; the aggregated one is a single document.
Groups come in Kubernetes' order, which decides what a short name means where several groups know it; those of custom
resources follow, by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from navarch.protos.k8s.apidiscovery import v2_pb2 as discoveryv2
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.custom.versions import version_order
from navarch.services.api.kinds import Kind, Subresource

# Groups of the same weight are ordered by name.
ORDER: Final = (
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
)
_RANK: Final = {group: rank for rank, group in enumerate(ORDER)}
ANYONE: Final = "0.0.0.0/0"


Versions = dict[str, list[Kind]]


def groups(kinds: Iterable[Kind]) -> dict[str, Versions]:
    """Group -> version -> its kinds; the core group is "". In the order of discovery, the preferred version first."""
    found: dict[str, Versions] = {}
    for kind in kinds:
        found.setdefault(kind.group, {}).setdefault(kind.version, []).append(kind)
    ordered = sorted(found, key=lambda group: (_RANK.get(group, len(_RANK)), group))
    return {
        group: {version: found[group][version] for version in sorted(found[group], key=version_order)}
        for group in ordered
    }


def api_versions(server_address: str) -> metav1.APIVersions:
    """The versions of the core group, and where clients reach the server."""
    addresses = [metav1.ServerAddressByClientCIDR(client_cidr=ANYONE, server_address=server_address)]
    return metav1.APIVersions(versions=["v1"], server_address_by_client_cidrs=addresses)


def api_group(group: str, versions: Iterable[str]) -> metav1.APIGroup:
    """A group and its versions."""
    entries = [
        metav1.GroupVersionForDiscovery(group_version=f"{group}/{version}", version=version) for version in versions
    ]
    return metav1.APIGroup(name=group, versions=entries, preferred_version=entries[0])


def group_list(groups: Mapping[str, Iterable[str]]) -> metav1.APIGroupList:
    """All groups with a name."""
    return metav1.APIGroupList(groups=[api_group(group, versions) for group, versions in groups.items() if group])


def resource_list(kinds: list[Kind]) -> metav1.APIResourceList:
    """The resources of a group and version, each followed by its parts."""
    resources: list[metav1.APIResource] = []
    for kind in _sorted(kinds):
        resources.append(
            metav1.APIResource(
                name=kind.resource,
                singular_name=kind.singular,
                namespaced=kind.namespaced,
                kind=kind.kind,
                verbs=metav1.Verbs(items=kind.verbs),
                short_names=kind.short_names,
                categories=kind.categories,
            )
        )
        resources += [_part(kind, part) for part in kind.subresources]
    return metav1.APIResourceList(group_version=kinds[0].api_version, resources=resources)


def _sorted(kinds: list[Kind]) -> list[Kind]:
    return sorted(kinds, key=lambda kind: kind.resource)


def _part(kind: Kind, part: Subresource) -> metav1.APIResource:
    found = metav1.APIResource(
        name=f"{kind.resource}/{part.name}",
        namespaced=kind.namespaced,
        kind=part.kind,
        verbs=metav1.Verbs(items=part.verbs),
    )
    if part.api_version:
        group, _, version = part.api_version.rpartition("/")
        found.group, found.version = group, version
    return found


def aggregated(groups: dict[str, Versions]) -> discoveryv2.APIGroupDiscoveryList:
    """Groups with all their versions and resources."""
    found = discoveryv2.APIGroupDiscoveryList()
    found.metadata.SetInParent()
    for group, versions in groups.items():
        item = found.items.add()
        item.metadata.name = group
        for version, kinds in versions.items():
            entry = item.versions.add(version=version, freshness="Current")
            entry.resources.extend(_aggregated_resource(kind) for kind in _sorted(kinds))
    return found


def add_groups(found: discoveryv2.APIGroupDiscoveryList, more: discoveryv2.APIGroupDiscoveryList) -> None:
    """Add groups, or versions to groups that are there."""
    present = {item.metadata.name: item for item in found.items}
    for item in more.items:
        if item.metadata.name in present:
            present[item.metadata.name].versions.extend(item.versions)
        else:
            found.items.append(item)


def _aggregated_resource(kind: Kind) -> discoveryv2.APIResourceDiscovery:
    found = discoveryv2.APIResourceDiscovery(
        resource=kind.resource,
        response_kind=_gvk(kind.api_version, kind.kind),
        scope="Namespaced" if kind.namespaced else "Cluster",
        singular_resource=kind.singular,
        verbs=kind.verbs,
        short_names=kind.short_names,
        categories=kind.categories,
    )
    for part in kind.subresources:
        found.subresources.add(
            subresource=part.name,
            response_kind=_gvk(part.api_version or kind.api_version, part.kind),
            verbs=part.verbs,
        )
    return found


def _gvk(api_version: str, kind: str) -> metav1.GroupVersionKind:
    group, _, version = api_version.rpartition("/")
    return metav1.GroupVersionKind(group=group, version=version, kind=kind)
