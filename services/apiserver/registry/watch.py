"""Watch: the changes of a resource, from a resource version on.

Where a watch begins:

    resource version   without initial events              with (sendInitialEvents)
    ""                 present objects as ADDED, newest     the same, then the marked bookmark
    "0"                present objects as ADDED, any age    the same, then the marked bookmark
    N                  changes after N (410 when too old)   objects at N or newer, then the marked bookmark

`sendInitialEvents=false` with "" begins at the present without objects. Bookmarks tell a watcher of a quiet
resource how far it is, so that it can resume from there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from navarch.services.api.errors import Expired
from navarch.services.api.kinds import Kind
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.cacher.cache import TooOld
from navarch.services.apiserver.cacher.cacher import Cacher
from navarch.services.apiserver.cacher.events import EventType, WatchEvent
from navarch.services.apiserver.cacher.selection import Selection
from navarch.services.apiserver.cacher.subscription import Subscription
from navarch.services.apiserver.registry.core import Core, Target
from navarch.services.apiserver.registry.get import at_least
from navarch.services.apiserver.registry.list import selection_of
from navarch.services.apiserver.registry.read_options import check_watch
from navarch.services.apiserver.registry.versions import parse_resource_version
from navarch.services.apiserver.stored import StoredObject

BOOKMARK_EVERY_S = 60.0
# A watch without a timeout of its own ends after this long, up to twice, so that not all end at once.
DEFAULT_TIMEOUT_S = 1800.0
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What to watch and from where. send_initial_events: None for the classic behaviour."""

    label_selector: str = ""
    field_selector: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    allow_bookmarks: bool = False
    send_initial_events: bool | None = None
    timeout_seconds: int = 0
    # A watch does not read in pages: this is only looked at for contradictions.
    continue_token: str = ""


class Watch:
    """One watcher's stream. Iterate it for lists of events; close it when done.

    on_event: called, once set, when there is something to `take`; who takes it there spares a task's turn an event.
    What nobody takes, bookmarks and the end still come out of the iteration.
    """

    def __init__(self, core: Core, cacher: Cacher, selection: Selection, after: int) -> None:
        self.on_event: Callable[[], None] | None = None
        self._core = core
        self._cacher = cacher
        self._subscription = Subscription(selection, after, self._woken)
        self._wakeup = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def events(self, options: WatchOptions) -> AsyncIterator[list[WatchEvent]]:
        """Events as they come, several at a time; ends at the timeout. Raises Expired when it cannot go on."""
        monotonic = self._core.clock.monotonic
        timeout_s = options.timeout_seconds or DEFAULT_TIMEOUT_S * (1 + self._core.rng.random())
        end = monotonic() + timeout_s
        bookmark_at = monotonic() + BOOKMARK_EVERY_S if options.allow_bookmarks else end
        subscription, wakeup = self._subscription, self._wakeup
        try:
            while True:
                wakeup.clear()
                events = subscription.take()
                if events:
                    yield events
                    continue
                if subscription.ended == "reset":
                    raise Expired("the history of this resource was lost, list it again")
                now = monotonic()
                if subscription.ended or now >= end:
                    return
                if now >= bookmark_at:
                    bookmark_at = now + BOOKMARK_EVERY_S
                    yield [bookmark(self._cacher.kind, max(self._cacher.cache.revision, subscription.after))]
                    # The answer makes the next bookmark fresher.
                    self._cacher.ask_progress()
                    continue
                if self._timer is None:
                    # One timer lasts from bookmark to bookmark, however many events come.
                    delay_s = min(end, bookmark_at) - now
                    self._timer = asyncio.get_running_loop().call_later(delay_s, self._ring)
                await wakeup.wait()
        finally:
            self.close()

    def begin(self, events: list[WatchEvent]) -> None:
        """Show these events, then all changes. Raises Expired."""
        self._subscription.push(events)
        try:
            self._cacher.cache.subscribe(self._subscription)
        except TooOld as failure:
            raise Expired(str(failure)) from failure

    def take(self) -> list[WatchEvent]:
        """The events that wait."""
        return self._subscription.take()

    def fail(self) -> None:
        """Something of it cannot be shown: the watcher has to list again."""
        self._subscription.end("reset")

    def _woken(self) -> None:
        if self.on_event is None or self._subscription.ended:
            self._wakeup.set()
        else:
            self.on_event()

    def close(self) -> None:
        """Stop receiving events. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        self._cacher.cache.unsubscribe(self._subscription)

    def _ring(self) -> None:
        self._timer = None
        self._wakeup.set()


async def watch(core: Core, user: User, target: Target, options: WatchOptions) -> Watch:
    """Begin a watch. Raises Expired when the history it needs is gone."""
    selection = selection_of(target, options.label_selector, options.field_selector)
    core.admit_user(user, "watch", target, selection)
    check_watch(options.resource_version_match, options.continue_token, options.send_initial_events)
    wanted = parse_resource_version(options.resource_version)
    cacher = core.cachers.of(target.kind)
    cache = await cacher.ready()
    with_objects = options.send_initial_events
    if with_objects is None:
        with_objects = not wanted
    if wanted is None:
        await cacher.catch_up(await core.revisions.read())
    elif with_objects and wanted:
        await at_least(core, cacher, wanted)
    # From here to the subscription nothing waits, so no change is missed or seen twice.
    stream = Watch(core, cacher, selection, cache.revision if with_objects or not wanted else wanted)
    events = []
    if with_objects:
        events = [WatchEvent(EventType.ADDED, stored) for stored in cache.selected(selection)]
        if options.send_initial_events and options.allow_bookmarks:
            events.append(bookmark(target.kind, cache.revision, initial_events_end=True))
    stream.begin(events)
    return stream


def bookmark(kind: Kind, revision: int, *, initial_events_end: bool = False) -> WatchEvent:
    """An object of the kind that holds a resource version and nothing else."""
    message: Any = kind.message()
    message.metadata.resource_version = str(revision)
    if initial_events_end:
        message.metadata.annotations[INITIAL_EVENTS_END] = "true"
    return WatchEvent(EventType.BOOKMARK, StoredObject.of_message(kind, message, revision))
