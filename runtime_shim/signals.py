"""Signals by the names that images and CRI use."""

import signal

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.errors import InvalidArgument

# The C library keeps two of the kernel's real-time signals, but CRI counts as programs do: from SIGRTMIN.
_ALIASES = {"SIGCLD": int(signal.SIGCHLD), "SIGIOT": int(signal.SIGABRT), "SIGPOLL": int(signal.SIGIO), "SIGSTKFLT": 16}
_RTMIN, _RTMAX = 34, 64


def number(name: str) -> int:
    """15 for "SIGTERM", "TERM" or "15". Raises InvalidArgument."""
    text = name.upper().strip()
    if text.isdecimal() and 0 < int(text) <= _RTMAX:
        return int(text)
    text = text if text.startswith("SIG") else f"SIG{text}"
    if text in _ALIASES:
        return _ALIASES[text]
    for base, start in (("SIGRTMIN", _RTMIN), ("SIGRTMAX", _RTMAX)):
        offset = text.removeprefix(base).replace("PLUS", "+").replace("MINUS", "-")
        if text.startswith(base) and (not offset or (offset[0] in "+-" and offset[1:].isdecimal())):
            return start + int(offset or 0)
    try:
        return int(signal.Signals[text])
    except KeyError:
        raise InvalidArgument(f"unknown signal {name!r}") from None


def stop_signal(requested: criv1.Signal, image_signal: str) -> int:
    """What StopContainer sends first: the Pod's word, else the image's, else SIGTERM."""
    if requested != criv1.Signal.RUNTIME_DEFAULT:
        return number(criv1.Signal.Name(requested))
    return number(image_signal) if image_signal else int(signal.SIGTERM)


def cri_signal(number_: int) -> criv1.Signal:
    """The contract's enum value of a signal number, for statuses."""
    return _BY_NUMBER.get(number_, criv1.Signal.RUNTIME_DEFAULT)


_NAMES = [name for name in criv1.Signal.DESCRIPTOR.values_by_name if name != "RUNTIME_DEFAULT"]
# Some signals have two names; the first in the contract's order stands for both.
_BY_NUMBER: dict[int, criv1.Signal] = {number(name): getattr(criv1.Signal, name) for name in reversed(_NAMES)}
