"""Rules for Events of events.k8s.io, which are stricter than those for core Events. Errors name core's fields."""

from navarch.protos.k8s.events import v1_pb2 as eventsv1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation.values import Errors, immutable, optional

_WORD_MAX = 128
_NOTE_MAX = 1024
_CLUSTER_NAMESPACES = ("default", "kube-system")
_UNSET = "needs to be unset"


def validate_event(event: eventsv1.Event) -> Errors:
    """Check a new Event (its metadata aside)."""
    yield from _validate_words(event)
    yield from _validate_series(event)
    if not event.event_time.seconds:
        yield FieldError.required("eventTime")
    if event.type not in ("Normal", "Warning"):
        yield FieldError.invalid("type", "", f"has invalid value: {event.type}")
    for field, old_way in (
        ("firstTimestamp", event.deprecated_first_timestamp.seconds),
        ("lastTimestamp", event.deprecated_last_timestamp.seconds),
        ("count", event.deprecated_count),
        ("source", event.deprecated_source.component or event.deprecated_source.host),
    ):
        if old_way:
            yield FieldError.invalid(field, "", _UNSET)


def _validate_words(event: eventsv1.Event) -> Errors:
    namespace, about = event.metadata.namespace, event.regarding.namespace
    if about != namespace and (about or namespace not in _CLUSTER_NAMESPACES):
        yield FieldError.invalid("involvedObject.namespace", about, "does not match event.namespace")
    if not event.event_time.seconds:
        return  # made by a client of the core group, or without a time, which is said elsewhere
    for field, value in (
        ("reportingController", event.reporting_controller),
        ("reportingInstance", event.reporting_instance),
        ("action", event.action),
        ("reason", event.reason),
    ):
        if not value:
            yield FieldError.required(field)
        elif len(value) > _WORD_MAX:
            yield FieldError.invalid(field, "", f"can have at most {_WORD_MAX} characters")
    if len(event.note) > _NOTE_MAX:
        yield FieldError.invalid("message", "", f"can have at most {_NOTE_MAX} characters")


def _validate_series(event: eventsv1.Event) -> Errors:
    if not event.HasField("series"):
        return
    if event.series.count < 2:
        yield FieldError.invalid("series.count", "", "should be at least 2")
    if not event.series.last_observed_time.seconds:
        yield FieldError.required("series.lastObservedTime")


def validate_event_update(new: eventsv1.Event, old: eventsv1.Event) -> Errors:
    """Check a changed Event: only how often it was seen may change."""
    yield from _validate_words(new)
    yield from _validate_series(new)
    for name, field in (
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("deprecated_source", "source"),
        ("deprecated_first_timestamp", "firstTimestamp"),
        ("deprecated_last_timestamp", "lastTimestamp"),
        ("deprecated_count", "count"),
        ("type", "type"),
        ("event_time", "eventTime"),
        ("action", "action"),
        ("reporting_controller", "reportingController"),
        ("reporting_instance", "reportingInstance"),
    ):
        yield from immutable(field, getattr(new, name), getattr(old, name))
    yield from immutable("related", optional(new, "related"), optional(old, "related"))
