"""The merge of `kubectl apply`: what I said before, what I say now, what the server has.

The last manifest stands in an annotation of the object. Fields that were in it and are no longer in the
new one are removed; fields of the new one are set; fields somebody else set (defaults, controllers, an
autoscaler) stay. The annotation is part of both documents, so the patch renews it like any other field.
"""

import orjson
from google.protobuf.descriptor import Descriptor

from navarch.services.api.errors import BadRequest
from navarch.services.api.patches import strategic
from navarch.services.api.patches.merge_patch import JsonObject

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def annotated(manifest: JsonObject) -> JsonObject:
    """Return `manifest` with itself, as compact JSON, in the last-applied annotation."""
    bare = without_last_applied(manifest)
    text = orjson.dumps(bare, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    metadata = bare.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), LAST_APPLIED: text}
    return {**bare, "metadata": {**metadata, "annotations": annotations}}


def without_last_applied(manifest: JsonObject) -> JsonObject:
    """Return `manifest` without the last-applied annotation (and with its annotations, as kubectl writes it)."""
    metadata = manifest.get("metadata") or {}
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != LAST_APPLIED}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def last_applied(live: JsonObject) -> JsonObject:
    """Return the manifest in the annotation of a live object; empty if it was never applied."""
    text = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED, "")
    if not text:
        return {}
    try:
        manifest = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the annotation {LAST_APPLIED} is not JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise BadRequest(f"the annotation {LAST_APPLIED} is not an object")
    return manifest


def patch_for(live: JsonObject, manifest: JsonObject, schema: Descriptor | None) -> JsonObject:
    """Return the strategic merge patch that applies `manifest` to `live`; empty if nothing changes.

    Without a schema (custom resources) the patch holds no directives and so is a merge patch too.
    """
    return strategic.diff(live, annotated(manifest), schema, original=last_applied(live))
