"""The objects that a command line means, found out: by name, by manifest, by label, or all of a type."""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from navarch.cli import manifests, targets
from navarch.cli.errors import UsageError
from navarch.cli.session import Session
from navarch.cli.targets import Target
from navarch.services.api.meta import metadata_of
from navarch.services.client.client import ObjectList

PAGE = 500


@dataclass(frozen=True, slots=True)
class Query:
    """What the words and options of a command say."""

    words: Sequence[str] = ()
    files: Sequence[str] = ()
    recursive: bool = False
    namespace: str = ""
    everywhere: bool = False
    labels: str = ""
    fields: str = ""
    # All objects of a type are meant where nothing narrows them down.
    every: bool = False

    def targets(self, session: Session) -> list[Target]:
        """Names and types, not looked up yet. Raises UsageError for what cannot go together."""
        if self.files:
            if self.words:
                raise UsageError("give either TYPE and NAME or -f, not both")
            listed = manifests.require_all(self.files, self.recursive)
            return [one.target(session.namespace(self.namespace)) for one in listed]
        found = targets.parse(self.words)
        if any(one.name for one in found):
            if self.labels or self.fields or self.every:
                raise UsageError("names and -l, --field-selector or --all exclude each other")
            if self.everywhere:
                raise UsageError("an object is named within one namespace: -n NAMESPACE, not -A")
        return [one.within("" if self.everywhere else session.namespace(self.namespace)) for one in found]

    async def names(self, session: Session) -> list[Target]:
        """Each object by name. Raises UsageError where a type is named and nothing says which of it."""
        found: list[Target] = []
        for target in self.targets(session):
            if target.name:
                found.append(target)
                continue
            if not (self.labels or self.fields or self.every):
                raise UsageError(f"which {target.kind.resource}? Name them, or give -l LABELS or --all")
            for one in (await list_all(session, target, self.labels, self.fields)).items:
                meta = metadata_of(one)
                found.append(Target(target.kind, meta.name, meta.namespace))
        return found


async def list_all(
    session: Session, target: Target, labels: str = "", fields: str = "", at: str = ""
) -> ObjectList[Message]:
    """Every object of the target's kind and namespace, read page by page; at: as they were."""
    items: list[Message] = []
    token = ""
    while True:
        page = await session.client.list(
            target.cls,
            target.namespace,
            label_selector=labels,
            field_selector=fields,
            limit=PAGE,
            continue_token=token,
            at=at,
        )
        items += page.items
        token = page.continue_token
        if not token:
            return ObjectList(items, page.resource_version)
