"""JSON Patch (RFC 6902) with the limits and refusals of the Kubernetes API server.

The operations are the jsonpatch library's. They run one at a time on a private copy, so that what
`copy` multiplies can be measured before it is done: thirty nested copies of a document into itself
would otherwise make gigabytes of a few hundred bytes.
"""

from typing import Any

import jsonpatch
import jsonpointer
import orjson

from navarch.services.api.errors import ApiError, BadRequest, Invalid, RequestEntityTooLarge

MAX_OPERATIONS = 10_000
MAX_COPIED_BYTES = 3 * 1024 * 1024
"""As much as a request may hold."""

_OPERAND = {"add": "value", "replace": "value", "test": "value", "move": "from", "copy": "from"}


def apply(document: dict[str, Any], patch: Any) -> dict[str, Any]:
    """Return `document` after the operations of `patch`; none of them takes effect if one fails.

    Raises BadRequest for what is not a JSON Patch, RequestEntityTooLarge above the limits, and Invalid
    for an operation that the document does not allow (a failed test, a missing path).
    """
    result: Any = orjson.loads(orjson.dumps(document))
    copied_bytes = 0
    for index, operation in enumerate(_parse(patch)):
        try:
            if operation["op"] == "copy":
                copied_bytes += len(orjson.dumps(jsonpointer.resolve_pointer(result, operation["from"])))
                if copied_bytes > MAX_COPIED_BYTES:
                    raise RequestEntityTooLarge(f"the copies of the JSON patch exceed {MAX_COPIED_BYTES} bytes")
            result = jsonpatch.JsonPatch([operation]).apply(result, in_place=True)
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, KeyError, TypeError) as error:
            raise _refused(index, operation, error) from error
    if not isinstance(result, dict):
        raise BadRequest("the JSON patch turned the object into something else")
    return result


def _parse(patch: Any) -> list[dict[str, Any]]:
    if not isinstance(patch, list):
        raise BadRequest(f"a JSON patch is a list of operations, found {type(patch).__name__}")
    if len(patch) > MAX_OPERATIONS:
        raise RequestEntityTooLarge(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(patch)}"
        )
    try:
        jsonpatch.JsonPatch(patch)
        missing = [op["op"] for op in patch if _OPERAND.get(op["op"], "path") not in op]
    except (jsonpatch.InvalidJsonPatch, jsonpointer.JsonPointerException, KeyError, TypeError) as error:
        raise BadRequest(f"error decoding JSON patch: {error}") from error
    if missing:
        raise BadRequest(f"error decoding JSON patch: {missing[0]} without {_OPERAND[missing[0]]}")
    return patch


def _refused(index: int, operation: dict[str, Any], error: Exception) -> ApiError:
    # The library quotes the document, which may be a Secret, and the caller one who may not read it.
    what, is_missing, _ = (str(error).strip() or type(error).__name__).partition(" not found in ")
    detail = "testing value failed" if operation["op"] == "test" else f"{what} not found" if is_missing else what
    return ApiError(
        "the server rejected our request due to an error in our request: "
        f"operation {index} ({operation['op']} {operation['path']}): {detail}",
        reason=Invalid.reason,
        code=Invalid.code,
    )
