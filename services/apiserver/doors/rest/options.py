"""Query parameters (and bodies of deletions) as the options that the verbs take."""

from collections.abc import Callable

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.errors import BadRequest
from navarch.services.apiserver.doors.rest.call import Call
from navarch.services.apiserver.registry.core import WriteOptions
from navarch.services.apiserver.registry.list import ListOptions
from navarch.services.apiserver.registry.watch import WatchOptions


def list_options(call: Call) -> ListOptions:
    """How to list."""
    return ListOptions(
        label_selector=call.text("labelSelector"),
        field_selector=call.text("fieldSelector"),
        limit=call.number("limit"),
        continue_token=call.text("continue"),
        resource_version=call.text("resourceVersion"),
        resource_version_match=call.text("resourceVersionMatch"),
        at=call.text("at"),
        send_initial_events=_initial_events(call),
    )


def watch_options(call: Call, name: str) -> WatchOptions:
    """How to watch; a name stands for a field selector."""
    fields = call.text("fieldSelector")
    if name:
        fields = f"metadata.name={name}" + (f",{fields}" if fields else "")
    return WatchOptions(
        label_selector=call.text("labelSelector"),
        field_selector=fields,
        resource_version=call.text("resourceVersion"),
        resource_version_match=call.text("resourceVersionMatch"),
        allow_bookmarks=call.flag("allowWatchBookmarks"),
        send_initial_events=_initial_events(call),
        timeout_seconds=max(0, call.number("timeoutSeconds")),
        continue_token=call.text("continue"),
    )


def _initial_events(call: Call) -> bool | None:
    return call.flag("sendInitialEvents") if call.text("sendInitialEvents") else None


def write_options(call: Call) -> WriteOptions:
    """How to write. Raises BadRequest."""
    return WriteOptions(
        dry_run=dry_run(call.request.query.getall("dryRun", [])),
        field_manager=call.text("fieldManager"),
        field_validation=call.text("fieldValidation"),
        user_agent=call.request.headers.get("User-Agent", ""),
        force=call.flag("force") if call.text("force") else None,
    )


def dry_run(values: list[str]) -> bool:
    """Whether nothing is to be stored. Raises BadRequest for anything but "All"."""
    for value in values:
        if value not in ("", "All"):
            raise BadRequest(f'dryRun: Unsupported value: "{value}": supported values: "All"')
    return "All" in values


def delete_options(call: Call) -> metav1.DeleteOptions:
    """What the query says of a deletion, where no body does."""
    options = metav1.DeleteOptions(dry_run=call.request.query.getall("dryRun", []))
    _given(call, "gracePeriodSeconds", lambda name: setattr(options, "grace_period_seconds", call.number(name)))
    _given(call, "orphanDependents", lambda name: setattr(options, "orphan_dependents", call.flag(name)))
    _given(call, "propagationPolicy", lambda name: setattr(options, "propagation_policy", call.text(name)))
    return options


def _given(call: Call, name: str, take: Callable[[str], None]) -> None:
    if call.text(name):
        take(name)
