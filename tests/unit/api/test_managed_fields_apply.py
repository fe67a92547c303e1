"""Server-side apply as Kubernetes documents it: stories of who writes what, and who owns what afterwards."""

from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.services.api.managed_fields import managers, sets, walk
from navarch.services.api.managed_fields.apply import Conflicts, Request, apply, owned_changes
from navarch.services.api.managed_fields.descriptors import root_schema
from navarch.services.api.managed_fields.managers import Managed, Manager
from navarch.services.api.managed_fields.schema import DEDUCED, Schema
from navarch.services.api.patches.three_way import LAST_APPLIED

DEPLOYMENT = root_schema(appsv1.Deployment.DESCRIPTOR)
CONTAINERS = ("f:spec", "f:template", "f:spec", "f:containers")
VERSION = "apps/v1"


def item(name: str) -> str:
    return sets.element("k", {"name": name})


def spec(**members: Any) -> dict[str, Any]:
    return {"spec": members}


def pods(*containers: dict[str, Any]) -> dict[str, Any]:
    return spec(template={"spec": {"containers": list(containers)}})


@dataclass
class Story:
    """An object, and those who write it; time goes on by one second with each write."""

    schema: Schema = field(default_factory=lambda: DEPLOYMENT)
    document: dict[str, Any] = field(default_factory=dict)
    managed: Managed = field(default_factory=dict)
    now: int = 100

    def apply(self, name: str, config: dict[str, Any], force: bool = False) -> "Story":
        self.now += 1
        manager = managers.applier(name)
        request = Request(config, self.schema, manager, VERSION, self.now, force)
        self.document, self.managed = apply(self.document, self.managed, request)
        return self

    def update(self, name: str, document: dict[str, Any]) -> "Story":
        self.now += 1
        changes = owned_changes(walk.compare(self.document, document, self.schema))
        manager = managers.updater(name, VERSION)
        self.managed = managers.update(self.managed, changes, manager, self.now, VERSION)
        self.document = document
        return self

    def refused(self, name: str, config: dict[str, Any]) -> str:
        with pytest.raises(Conflicts) as refusal:
            self.apply(name, config)
        return refusal.value.message

    def owned(self, name: str) -> set[str]:
        """What all entries of that name hold."""
        return {
            sets.show(path)
            for manager, owned in self.managed.items()
            if manager.name == name
            for path in sets.paths(owned.fields)
        }

    def entry(self, name: str) -> managers.Owned:
        return next(owned for manager, owned in self.managed.items() if manager.name == name)


class TestOwnership:
    """Who owns what."""

    def test_an_applier_owns_what_it_applies(self) -> None:
        story = Story().apply("a", {"metadata": {"name": "web", "labels": {"q": "1"}}, **spec(replicas=1)})
        assert story.owned("a") == {".metadata.labels.q", ".spec.replicas"}

    def test_identity_belongs_to_nobody(self) -> None:
        config = {"apiVersion": VERSION, "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}}
        story = Story().apply("a", config)
        assert story.managed == {}

    def test_an_updater_owns_what_it_changes(self) -> None:
        story = Story().apply("a", spec(replicas=1, paused=True)).update("b", spec(replicas=2, paused=True))
        assert story.owned("a") == {".spec.paused"}
        assert story.owned("b") == {".spec.replicas"}

    def test_an_update_without_change_takes_nothing(self) -> None:
        story = Story().apply("a", spec(replicas=1))
        before = story.managed
        story.update("b", spec(replicas=1))
        assert story.managed is before

    def test_who_owns_nothing_any_more_is_gone(self) -> None:
        story = Story().apply("a", spec(replicas=1)).update("b", spec(replicas=2))
        assert story.owned("a") == set()
        assert all(manager.name != "a" for manager in story.managed)

    def test_equal_values_are_shared(self) -> None:
        story = Story().apply("a", spec(replicas=1)).apply("b", spec(replicas=1))
        assert story.owned("a") == story.owned("b") == {".spec.replicas"}

    def test_a_shared_field_is_in_conflict_with_the_other(self) -> None:
        story = Story().apply("a", spec(replicas=1)).apply("b", spec(replicas=1))
        assert 'conflict with "b": .spec.replicas' in story.refused("a", spec(replicas=2))

    def test_force_takes_over(self) -> None:
        story = Story().apply("a", spec(replicas=1, paused=True)).apply("b", spec(replicas=2), force=True)
        assert story.document == spec(replicas=2, paused=True)
        assert story.owned("a") == {".spec.paused"}
        assert story.owned("b") == {".spec.replicas"}

    def test_one_name_has_an_entry_for_each_operation(self) -> None:
        story = Story().apply("a", spec(replicas=1)).update("a", spec(replicas=1, paused=True))
        assert {manager.operation for manager in story.managed} == {"Apply", "Update"}

    def test_what_is_removed_by_an_update_is_nobodys(self) -> None:
        story = Story().apply("a", spec(replicas=1, paused=True)).update("b", spec(replicas=1))
        assert story.owned("a") == {".spec.replicas"}
        assert story.owned("b") == set()

    def test_two_own_parts_of_one_container(self) -> None:
        story = Story().apply("a", pods({"name": "web", "image": "nginx"}))
        story.apply("b", pods({"name": "web", "tty": True}))
        path = '.spec.template.spec.containers[name="web"]'
        assert story.document == pods({"name": "web", "image": "nginx", "tty": True})
        assert story.owned("a") == {path, f"{path}.image", f"{path}.name"}
        assert story.owned("b") == {path, f"{path}.name", f"{path}.tty"}

    def test_transfer_to_a_controller(self) -> None:
        """The documented way: the controller's field is shared while equal, then left out."""
        story = Story().apply("user", spec(replicas=3, paused=True)).apply("scaler", spec(replicas=3))
        story.apply("user", spec(paused=True))
        assert story.document == spec(replicas=3, paused=True)
        assert story.owned("scaler") == {".spec.replicas"}
        story.apply("scaler", spec(replicas=5))
        assert story.document == spec(replicas=5, paused=True)


class TestRemoval:
    """What is no longer applied."""

    def test_goes_when_nobody_else_has_it(self) -> None:
        story = Story().apply("a", spec(replicas=1, paused=True)).apply("a", spec(paused=True))
        assert story.document == spec(paused=True)

    def test_stays_while_another_applies_it(self) -> None:
        story = Story().apply("a", spec(replicas=1)).apply("b", spec(replicas=1)).apply("a", spec(paused=True))
        assert story.document == spec(replicas=1, paused=True)
        assert story.owned("a") == {".spec.paused"}

    def test_stays_once_an_updater_has_changed_it(self) -> None:
        story = Story().apply("a", spec(replicas=1, paused=True)).update("b", spec(replicas=2, paused=True))
        story.apply("a", spec(paused=True))
        assert story.document == spec(replicas=2, paused=True)

    def test_what_updaters_set_stays(self) -> None:
        story = Story().update("b", spec(minReadySeconds=5)).apply("a", spec(replicas=1)).apply("a", spec(paused=True))
        assert story.document == spec(minReadySeconds=5, paused=True)

    def test_a_container_goes_with_what_others_put_into_it(self) -> None:
        two = pods({"name": "a"}, {"name": "b"})
        story = Story().apply("user", two).update("tool", pods({"name": "a"}, {"name": "b", "tty": True}))
        story.apply("user", pods({"name": "a"}))
        assert story.document == pods({"name": "a"})
        assert story.owned("tool") == set()

    def test_a_container_of_another_applier_stays(self) -> None:
        story = (
            Story().apply("one", pods({"name": "a"})).apply("two", pods({"name": "b"})).apply("one", spec(replicas=1))
        )
        assert story.document == {"spec": {"replicas": 1, **pods({"name": "b"})["spec"]}}

    def test_labels_go_one_by_one(self) -> None:
        story = Story().apply("a", {"metadata": {"labels": {"x": "1", "y": "1"}}})
        story.apply("a", {"metadata": {"labels": {"y": "1"}}})
        assert story.document == {"metadata": {"labels": {"y": "1"}}}

    def test_an_applier_that_applies_nothing_is_gone(self) -> None:
        story = Story().apply("a", spec(replicas=1)).apply("b", spec(paused=True)).apply("a", {})
        assert story.document == spec(paused=True)
        assert [manager.name for manager in story.managed] == ["b"]

    def test_a_finalizer_is_taken_back(self) -> None:
        story = (
            Story().apply("a", {"metadata": {"finalizers": ["x/a"]}}).apply("b", {"metadata": {"finalizers": ["x/b"]}})
        )
        assert story.document["metadata"]["finalizers"] == ["x/a", "x/b"]
        story.apply("a", {"metadata": {"labels": {}}})
        assert story.document["metadata"]["finalizers"] == ["x/b"]


class TestConflicts:
    """What is said to an applier that would take from others."""

    def test_one(self) -> None:
        story = Story().apply("a", spec(replicas=1))
        message = story.refused("b", spec(replicas=2))
        assert message == 'Apply failed with 1 conflict: conflict with "a": .spec.replicas'

    def test_with_an_updater(self) -> None:
        story = Story().update("a", spec(replicas=1))
        message = story.refused("b", spec(replicas=2))
        assert message == 'Apply failed with 1 conflict: conflict with "a" using apps/v1: .spec.replicas'

    def test_with_a_subresource(self) -> None:
        assert str(managers.updater("a", VERSION, "status")) == '"a" with subresource "status" using apps/v1'

    def test_many_are_grouped(self) -> None:
        story = (
            Story()
            .apply("a", spec(replicas=1, paused=True))
            .update("b", spec(replicas=1, paused=True, minReadySeconds=1))
        )
        assert story.refused("c", spec(replicas=2, paused=False, minReadySeconds=2)) == (
            'Apply failed with 3 conflicts: conflicts with "a":\n- .spec.paused\n- .spec.replicas\n'
            'conflicts with "b" using apps/v1:\n- .spec.minReadySeconds'
        )

    def test_each_is_a_cause(self) -> None:
        story = Story().apply("a", pods({"name": "web", "image": "nginx"}))
        with pytest.raises(Conflicts) as refusal:
            story.apply("b", pods({"name": "web", "image": "redis"}))
        [cause] = refusal.value.causes
        assert (refusal.value.code, refusal.value.reason) == (409, "Conflict")
        assert cause.reason == "FieldManagerConflict"
        assert cause.message == 'conflict with "a"'
        assert cause.field == '.spec.template.spec.containers[name="web"].image'

    def test_leave_everything_as_it_was(self) -> None:
        story = Story().apply("a", spec(replicas=1))
        before = story.document, story.managed
        story.refused("b", spec(replicas=2, paused=True))
        assert (story.document, story.managed) == before

    def test_an_atomic_list_is_one_field(self) -> None:
        story = Story().apply("a", pods({"name": "web", "command": ["x"]}))
        assert 'containers[name="web"].command' in story.refused("b", pods({"name": "web", "command": ["x", "y"]}))

    def test_selectors_are_atomic(self) -> None:
        story = Story().apply("a", spec(selector={"matchLabels": {"q": "1"}}))
        assert ".spec.selector" in story.refused("b", spec(selector={"matchLabels": {"r": "1"}}))

    def test_nobody_is_in_conflict_with_himself(self) -> None:
        story = Story().apply("a", spec(replicas=1)).apply("a", spec(replicas=2))
        assert story.document == spec(replicas=2)


class TestClientSideApply:
    """kubectl moves over from its annotation."""

    CONFIG = spec(replicas=1)

    def live(self, replicas: int) -> Story:
        annotations = {LAST_APPLIED: orjson.dumps(self.CONFIG).decode()}
        document = {"metadata": {"annotations": annotations}, **spec(replicas=replicas)}
        return Story().update("kubectl-client-side-apply", document)

    def test_what_it_applied_before_is_its_own(self) -> None:
        story = self.live(1).apply("kubectl", spec(replicas=2))
        assert story.document["spec"] == {"replicas": 2}
        assert ".spec.replicas" in story.owned("kubectl")

    def test_unless_somebody_changed_it(self) -> None:
        assert ".spec.replicas" in self.live(7).refused("kubectl", spec(replicas=2))

    def test_others_have_no_such_right(self) -> None:
        assert ".spec.replicas" in self.live(1).refused("flux", spec(replicas=2))

    def test_the_annotation_is_kept_up_to_date(self) -> None:
        story = self.live(1).apply("kubectl", spec(replicas=2))
        assert orjson.loads(story.document["metadata"]["annotations"][LAST_APPLIED])["spec"] == {"replicas": 2}


class TestTimes:
    """When an entry was last changed."""

    def test_the_same_configuration_again_changes_nothing(self) -> None:
        story = Story().apply("a", spec(replicas=1))
        before = story.document, story.managed
        story.apply("a", spec(replicas=1))
        assert (story.document, story.managed) == before

    def test_the_taker_is_stamped_and_others_are_not(self) -> None:
        story = Story().apply("a", spec(replicas=1, paused=True)).update("b", spec(replicas=2, paused=True))
        assert (story.entry("a").unix_s, story.entry("b").unix_s) == (101, 102)

    def test_sharing_stamps(self) -> None:
        story = Story().apply("a", spec(replicas=1)).apply("b", spec(replicas=1))
        assert (story.entry("a").unix_s, story.entry("b").unix_s) == (101, 102)


class TestWithoutSchema:
    """Custom resources that keep unknown fields."""

    def test_members_have_owners_and_lists_have_one(self) -> None:
        story = Story(DEDUCED).apply("a", {"spec": {"x": {"y": 1}, "l": [1]}}).apply("b", {"spec": {"z": 1}})
        assert story.document == {"spec": {"x": {"y": 1}, "l": [1], "z": 1}}
        assert ".spec.l" in story.refused("b", {"spec": {"z": 1, "l": [2]}})


class TestManyUpdaters:
    """At most ten updaters have entries."""

    def test_the_oldest_are_thrown_together(self) -> None:
        story = Story()
        labels: dict[str, str] = {}
        for number in range(13):
            labels = {**labels, f"l{number:02}": "x"}
            story.update(f"tool-{number:02}", {"metadata": {"labels": labels}})
        names = [manager.name for manager in story.managed]
        assert len(names) == 10
        assert story.owned("ancient-changes") == {".metadata.labels", *(f".metadata.labels.l{n:02}" for n in range(4))}
        assert "tool-03" not in names
        assert "tool-04" in names

    def test_appliers_are_not_counted(self) -> None:
        story = Story()
        for number in range(13):
            story.apply(f"tool-{number}", {"metadata": {"labels": {f"l{number}": "x"}}})
        assert len(story.managed) == 13


class TestEntries:
    """metadata.managedFields."""

    def test_survive_the_trip(self) -> None:
        story = Story().apply("a", spec(replicas=1)).update("b", spec(replicas=1, paused=True))
        entries = managers.encode(story.managed)
        assert managers.decode(entries).keys() == story.managed.keys()
        assert managers.encode(managers.decode(entries)) == entries

    def test_are_in_order(self) -> None:
        story = Story().update("z", spec(replicas=1)).update("y", spec(replicas=1, paused=True))
        story.apply("x", spec(minReadySeconds=1))
        assert [(e.manager, e.operation) for e in managers.encode(story.managed)] == [
            ("x", "Apply"),
            ("z", "Update"),
            ("y", "Update"),
        ]

    def test_an_applier_has_one_entry_in_all_versions(self) -> None:
        entries = managers.encode({managers.applier("a"): managers.Owned({"f:spec": {}}, "apps/v1beta2", 1)})
        assert managers.decode(entries).keys() == {Manager("a", "Apply", "")}
        assert entries[0].api_version == "apps/v1beta2"

    @pytest.mark.parametrize(
        ("member", "value"),
        [("operation", "Sign"), ("api_version", ""), ("fields_type", "FieldsV2"), ("fields_type", "")],
    )
    def test_refuses(self, member: str, value: str) -> None:
        [entry] = managers.encode({managers.updater("a", VERSION): managers.Owned({"f:spec": {}}, VERSION, 1)})
        setattr(entry, member, value)
        with pytest.raises(sets.FieldSetError):
            managers.decode([entry])
        assert managers.decode_or_none([entry]) == {}


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("kubectl/v1.36.2 (linux/amd64) kubernetes/abc", "kubectl"),
        ("OpenAPI-Generator/34.1.0/python", "OpenAPI-Generator"),
        ("a\tb\u200b/1", "ab"),
        ("x" * 300, "x" * 128),
        ("é" * 100, "é" * 64),
        ("", ""),
    ],
)
def test_the_name_in_a_user_agent(agent: str, name: str) -> None:
    assert managers.name_of_agent(agent) == name
