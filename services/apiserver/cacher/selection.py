"""Which objects of a resource a list or watch is about: namespace, label selector, field selector."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from navarch.services.api.fields import FieldSelector
from navarch.services.api.labels import Selector
from navarch.services.apiserver.stored import StoredObject

Bucket = tuple[str, Hashable]
EVERYTHING: Bucket = ("", "")
NODE_FIELD = "spec.nodeName"


@dataclass(frozen=True, slots=True)
class Selection:
    """A filter of objects of one kind. None selects all."""

    namespace: str = ""
    labels: Selector | None = None
    fields: FieldSelector | None = None

    def matches(self, stored: StoredObject) -> bool:
        """Whether the object is selected."""
        if self.namespace and stored.namespace != self.namespace:
            return False
        if self.labels is not None and not self.labels.matches(stored.labels):
            return False
        return self.fields is None or self.fields.matches(stored.message, stored.kind)

    def filter(self, objects: Iterable[StoredObject]) -> Iterator[StoredObject]:
        """Those of a namespace's objects that are selected. Does not keep what had to be parsed to find out."""
        return filter(self._matches_once, objects) if self.is_filtered else iter(objects)

    def _matches_once(self, stored: StoredObject) -> bool:
        is_match = self.matches(stored)
        stored.forget()
        return is_match

    @property
    def is_filtered(self) -> bool:
        """Whether objects of the namespace may be left out."""
        return self.labels is not None or self.fields is not None

    def name(self) -> str | None:
        """The one name that is selected, if it is only one."""
        return self.fields.value_of("metadata.name") if self.fields is not None else None

    def node(self) -> str | None:
        """The one node whose objects are selected, if it is only one."""
        return self.fields.value_of(NODE_FIELD) if self.fields is not None else None

    def bucket(self) -> Bucket:
        """Where a watcher with this selection waits: events of other buckets are of no interest to it.

        Kubelets watch the Pods of their node and others single objects; a change must not cost a
        comparison with each of them.
        """
        if self.fields is not None:
            name, node = self.name(), self.node()
            namespace = self.namespace or self.fields.value_of("metadata.namespace")
            if name is not None and namespace is not None:
                return ("name", (namespace, name))
            if node is not None:
                return ("node", node)
        return ("namespace", self.namespace) if self.namespace else EVERYTHING
