"""What discovery says about the table of kinds."""

from navarch.services.api import discovery
from navarch.services.api.kinds import KINDS, Kind


def a_kind(group: str, version: str) -> Kind:
    return Kind(group, version, "Thing", "things", "custom", "navarch.v1")


def test_groups_come_in_the_order_of_kubernetes_and_custom_ones_follow() -> None:
    groups = list(discovery.groups([a_kind("b.example", "v1"), *KINDS, a_kind("a.example", "v1")]))
    named = [group for group in groups if group]
    assert named[:3] == ["apiregistration.k8s.io", "apps", "events.k8s.io"]
    assert named[-2:] == ["a.example", "b.example"]


def test_every_built_in_group_has_its_place() -> None:
    known = set(discovery.groups(KINDS)) - {""}
    assert known == set(discovery.ORDER)


def test_the_preferred_version_of_a_group_comes_first() -> None:
    kinds = [a_kind("example", version) for version in ("v1beta1", "v1alpha1", "v1", "v2", "other", "v10")]
    assert list(discovery.groups(kinds)["example"]) == ["v10", "v2", "v1", "v1beta1", "v1alpha1", "other"]
    group = discovery.api_group("autoscaling", discovery.groups(KINDS)["autoscaling"])
    assert group.preferred_version.group_version == "autoscaling/v2"


def test_parts_of_an_object_stand_behind_it_and_say_whose_kind_they_have() -> None:
    resources = {one.name: one for one in discovery.resource_list(discovery.groups(KINDS)[""]["v1"]).resources}
    eviction = resources["pods/eviction"]
    assert (eviction.group, eviction.version, eviction.kind) == ("policy", "v1", "Eviction")
    assert (resources["pods/log"].group, resources["pods/log"].singular_name) == ("", "")
    assert list(resources["pods"].short_names) == ["po"]
    assert list(resources["pods"].categories) == ["all"]


def test_the_aggregated_form_holds_the_same() -> None:
    groups = discovery.groups(KINDS)
    for item in discovery.aggregated(groups).items:
        versions = groups[item.metadata.name]
        assert [entry.version for entry in item.versions] == list(versions)
        for entry in item.versions:
            legacy = discovery.resource_list(versions[entry.version]).resources
            flat = []
            for resource in entry.resources:
                assert resource.scope in ("Namespaced", "Cluster")
                flat += [
                    resource.resource,
                    *(f"{resource.resource}/{part.subresource}" for part in resource.subresources),
                ]
            assert flat == [one.name for one in legacy]
