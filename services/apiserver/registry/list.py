"""List: the objects of a resource, whole or page by page.

Pages after the first are read from the store at the revision of the first, so that together they are the list
as it was at one moment, for as long as the store keeps that history.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import orjson

from navarch.services.api.errors import BadRequest, Expired
from navarch.services.api.fields import FieldSelector
from navarch.services.api.labels import Selector, SelectorError
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.cacher.selection import Selection
from navarch.services.apiserver.registry.core import Core, Target
from navarch.services.apiserver.registry.get import at_least, is_current
from navarch.services.apiserver.registry.moments import expired, revision_of
from navarch.services.apiserver.registry.read_options import check_list
from navarch.services.apiserver.registry.versions import MAX_REVISION, parse_resource_version
from navarch.services.apiserver.storage.etcd import Compacted, FutureRevision
from navarch.services.apiserver.stored import StoredObject

TOKEN_VERSION = "meta.k8s.io/v1"
PAGE_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
# The revision in a token that goes on with the present objects, whatever the pages before it were true at.
INCONSISTENT = -1
LIST_TOO_OLD = "The resourceVersion for the provided list is too old."
# A page ends here; with the largest object on top it stays below the 4 MiB that gRPC clients take.
PAGE_BYTES = 2 << 20
# As good as no limit, and still a number that can be counted up from.
MAX_LIMIT = 2**31 - 1
# A filtered page may need many rows of the store to fill; they are read this many at a time.
SCAN_ROWS = 500


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What to list and how. limit: 0 for all. at: as it was at a revision, a time or some time ago."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    at: str = ""
    # Only a watch may ask for them.
    send_initial_events: bool | None = None


@dataclass(frozen=True, slots=True)
class ObjectList:
    """A page: its objects, the revision it is true at, and how to go on. remaining: None when not known."""

    items: list[StoredObject]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


def selection_of(target: Target, label_selector: str, field_selector: str) -> Selection:
    """The selection that a request describes. Raises BadRequest."""
    try:
        labels = Selector.parse(label_selector) if label_selector else None
    except SelectorError as failure:
        raise BadRequest(str(failure)) from failure
    fields = FieldSelector.parse(field_selector) if field_selector else None
    if fields is not None:
        fields.check(target.kind)
    return Selection(target.namespace, labels or None, fields or None)


async def list_objects(core: Core, user: User, target: Target, options: ListOptions) -> ObjectList:
    """The objects that a user asks for."""
    selection = selection_of(target, options.label_selector, options.field_selector)
    core.admit_user(user, "list", target, selection)
    check_list(
        options.resource_version_match, options.resource_version, options.continue_token, options.send_initial_events
    )
    limit = min(options.limit, MAX_LIMIT)
    if limit < 0:
        raise BadRequest("limit: Invalid value: must be greater than or equal to 0")
    if options.continue_token:
        if options.resource_version not in ("", "0"):
            raise BadRequest("specifying resource version is not allowed when using continue")
        revision, start = decode_token(options.continue_token)
        # The token names the revision of the first page, so `at` has done its work.
        return await _from_store(core, target, selection, limit, revision, start)
    if options.at:
        if options.resource_version:
            raise BadRequest("at and resourceVersion exclude each other")
        return await _past(core, target, selection, limit, options.at)
    wanted = parse_resource_version(options.resource_version)
    if _is_exact(options, wanted):
        return await _from_store(core, target, selection, limit, wanted or 0, "")
    cacher = core.cachers.of(target.kind)
    is_there = await is_current(core, cacher) if wanted is None else await at_least(core, cacher, wanted)
    if not is_there:
        return await _from_store(core, target, selection, limit, 0, "")
    # What may be of any age comes whole, whatever the limit: informers begin so, and Kubernetes answers so.
    return _first_page(cacher.cache.selected(selection), selection, 0 if wanted == 0 else limit, cacher.cache.revision)


def _is_exact(options: ListOptions, revision: int | None) -> bool:
    if options.resource_version_match:
        return options.resource_version_match == "Exact"
    return options.limit > 0 and bool(revision)


def _first_page(objects: Iterable[StoredObject], selection: Selection, limit: int, revision: int) -> ObjectList:
    enough = limit + 1 if limit and selection.is_filtered else None
    chosen = list(islice(objects, enough))
    count = page_length(chosen, limit)
    if count == len(chosen):
        return ObjectList(chosen, revision)
    remaining = None if selection.is_filtered else len(chosen) - count
    return ObjectList(chosen[:count], revision, encode_token(revision, chosen[count - 1]), remaining)


async def _past(core: Core, target: Target, selection: Selection, limit: int, at: str) -> ObjectList:
    revision = await revision_of(core, at)
    try:
        return await _from_store(core, target, selection, limit, revision, "")
    except Expired as failure:
        raise await expired(core, at) from failure


async def _from_store(
    core: Core, target: Target, selection: Selection, limit: int, revision: int, start: str
) -> ObjectList:
    """A page out of the store. revision: 0 for the present one."""
    chosen: list[StoredObject] = []
    page_start = start
    rows = SCAN_ROWS if selection.is_filtered or not limit else min(limit, SCAN_ROWS)
    while True:
        try:
            found = await core.storage.page(target.kind, target.namespace, start=start, limit=rows, revision=revision)
        except Compacted as failure:
            if page_start:
                raise Expired(PAGE_TOO_OLD, continue_token=_token(INCONSISTENT, page_start)) from failure
            raise Expired(LIST_TOO_OLD) from failure
        except FutureRevision as failure:
            raise BadRequest(f"resourceVersion: Invalid value: {revision}: is in the future") from failure
        revision, left, start = found.revision, found.left, found.next_start
        chosen += selection.filter(found.objects)
        count = page_length(chosen, limit)
        if count < len(chosen) or (count == limit and limit and left):
            remaining = None if selection.is_filtered else left + len(chosen) - count
            return ObjectList(chosen[:count], revision, encode_token(revision, chosen[count - 1]), remaining)
        if not left:
            return ObjectList(chosen, revision)


def page_length(objects: Sequence[StoredObject], limit: int) -> int:
    """How many of the objects a page holds: up to `limit` (0: all), and no more than a client takes in one message."""
    if not limit:
        return len(objects)
    return min(limit, fitting(objects, PAGE_BYTES))


def fitting(objects: Sequence[StoredObject], limit_bytes: int) -> int:
    """How many of the objects stay within a size together; at least one."""
    size = 0
    for count, stored in enumerate(objects):
        size += len(stored.raw)
        if size > limit_bytes and count:
            return count
    return len(objects)


def encode_token(revision: int, last: StoredObject) -> str:
    """A token for what comes after `last`."""
    return _token(revision, f"{last.key}\0")


def _token(revision: int, start: str) -> str:
    content = {"v": TOKEN_VERSION, "rv": revision, "start": start}
    return base64.urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")


def decode_token(token: str) -> tuple[int, str]:
    """Revision (0: the present one) and first key. Raises BadRequest for what is none of our tokens."""
    try:
        content = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        version, revision, start = content["v"], content["rv"], content["start"]
    except (ValueError, KeyError, TypeError) as failure:
        raise BadRequest("continue key is not valid: it is not a token of this server") from failure
    is_revision = type(revision) is int and (revision == INCONSISTENT or 0 < revision <= MAX_REVISION)
    if version != TOKEN_VERSION or not is_revision or not isinstance(start, str):
        raise BadRequest("continue key is not valid: incorrect encoded values")
    if ".." in start.split("/") or start.startswith("/"):
        raise BadRequest("continue key is not valid: illegal start")
    return max(revision, 0), start
