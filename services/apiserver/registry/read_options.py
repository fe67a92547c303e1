"""Which options of a list or a watch go together, as Kubernetes has it."""

from navarch.services.api.errors import Invalid
from navarch.services.api.field_errors import FieldError

_MATCH = "resourceVersionMatch"
_EVENTS = "sendInitialEvents"


def check_list(match: str, resource_version: str, continue_token: str, send_initial_events: bool | None) -> None:
    """Raise Invalid where the options of a list contradict each other."""
    errors = []
    if match:
        if not resource_version:
            errors.append(FieldError.forbidden(_MATCH, f"{_MATCH} is forbidden unless resourceVersion is provided"))
        errors += _with_continue(continue_token)
        if match not in ("Exact", "NotOlderThan"):
            errors.append(_unsupported(match, '"Exact", "NotOlderThan", ""'))
        if match == "Exact" and resource_version == "0":
            errors.append(FieldError.forbidden(_MATCH, f'{_MATCH} "exact" is forbidden for resourceVersion "0"'))
    if send_initial_events is not None:
        errors.append(FieldError.forbidden(_EVENTS, f"{_EVENTS} is forbidden for list"))
    _refuse(errors)


def check_watch(match: str, continue_token: str, send_initial_events: bool | None) -> None:
    """Raise Invalid where the options of a watch contradict each other. Only with both does it begin as a list."""
    errors = []
    if send_initial_events is not None and match != "NotOlderThan":
        errors.append(FieldError.forbidden(_MATCH, f"{_EVENTS} requires setting {_MATCH} to NotOlderThan"))
    if match:
        if send_initial_events is None:
            errors.append(FieldError.forbidden(_MATCH, f"{_MATCH} is forbidden for watch unless {_EVENTS} is provided"))
        if match != "NotOlderThan":
            errors.append(_unsupported(match, '"NotOlderThan"'))
        errors += _with_continue(continue_token)
    _refuse(errors)


def _with_continue(continue_token: str) -> list[FieldError]:
    if not continue_token:
        return []
    return [FieldError.forbidden(_MATCH, f"{_MATCH} is forbidden when continue is provided")]


def _unsupported(match: str, accepted: str) -> FieldError:
    # Kubernetes names them in this order, not by the alphabet.
    return FieldError("FieldValueNotSupported", _MATCH, match, f"supported values: {accepted}")


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        raise Invalid("ListOptions.meta.k8s.io", "", errors)
