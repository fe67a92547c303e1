"""Objects as rows of a table, for `kubectl get`."""

from collections.abc import Iterable
from typing import Any

from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
from navarch.services.api import codec
from navarch.services.api.kinds import Kind
from navarch.services.apiserver.doors.rest import encoding
from navarch.services.apiserver.doors.rest.call import Call
from navarch.services.apiserver.doors.rest.media import include_object
from navarch.services.apiserver.registry.list import ObjectList
from navarch.services.apiserver.stored import StoredObject


def of_objects(call: Call, kind: Kind, objects: Iterable[StoredObject], *, with_columns: bool = True) -> dict[str, Any]:
    """The Table of some objects."""
    from navarch.services.api.printers.tables import table_of

    include = include_object(call.text("includeObject"))
    table: dict[str, Any] = table_of(kind, [one.decode() for one in objects], call.core.clock.now(), include)
    if not with_columns:
        table["columnDefinitions"] = None
    return table


def of_scale(call: Call, scale: autoscalingv1.Scale) -> dict[str, Any]:
    """The Table of a Scale."""
    from navarch.services.api.printers.tables import filled
    from navarch.services.api.printers.workloads import SCALE

    return filled(SCALE, [scale], call.core.clock.now(), include_object(call.text("includeObject")))


def of_list(call: Call, kind: Kind, page: ObjectList) -> dict[str, Any]:
    """The Table of a page."""
    table = of_objects(call, kind, page.items)
    table["metadata"] = codec.to_json(encoding.list_meta(page))
    return table
