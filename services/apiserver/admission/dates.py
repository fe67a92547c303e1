"""Dates that the server writes where whoever changes an object leaves them out."""

from collections.abc import Iterable
from typing import Any

from navarch.protos.k8s.certificates import v1_pb2 as certificatesv1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.k8s.resource import v1_pb2 as resourcev1
from navarch.services.api import meta


def add_dates(obj: Any, old: Any, unix_s: float) -> None:
    """Date conditions of requests for certificates, and taints of devices. old: None for a new object."""
    if isinstance(obj, certificatesv1.CertificateSigningRequest):
        before = old.status.conditions if old is not None else ()
        _date_conditions(obj.status.conditions, before, meta.time_from(unix_s))
    elif isinstance(obj, resourcev1.ResourceSlice):
        for device in obj.spec.devices:
            for taint in device.taints:
                if not taint.HasField("time_added"):
                    taint.time_added.CopyFrom(meta.time_from(unix_s))


def _date_conditions(conditions: Iterable[Any], before: Iterable[Any], now: metav1.Time) -> None:
    """A condition that stays as it was keeps its date."""
    known = {(condition.type, condition.status): condition.last_transition_time for condition in before}
    for condition in conditions:
        if not condition.last_update_time.seconds:
            condition.last_update_time.CopyFrom(now)
        if not condition.last_transition_time.seconds:
            condition.last_transition_time.CopyFrom(known.get((condition.type, condition.status), now))
