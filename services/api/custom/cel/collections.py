"""Lists, regular expressions and named formats."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from navarch.services.api.custom.cel.types import FORMAT, LIST, STRINGS, T, cel, declare
from navarch.services.api.custom.formats import is_of_format
from navarch.services.api.validation import names

_FINDER: Final = "regex.extractAll(self, pattern)"


@lru_cache(maxsize=1)
def _finder() -> Any:
    config = cel.NewEnvConfigFromYaml("name: navarch-regex\nextensions:\n- name: optional\n- name: regex\n")
    return cel.NewEnv(config=config, variables={"self": T.STRING, "pattern": T.STRING}).compile(_FINDER)


def find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    """Every match of a pattern, up to `limit` of them (negative: all). Raises ValueError."""
    # The engine gives the one group of a pattern: groups within become silent, the whole becomes the group.
    silent = re.sub(r"(\\.|\[(?:\\.|[^\]])*\])|\((?:\?P?<\w+>|(?!\?))", lambda found: found[1] or "(?:", pattern)
    result = _finder().eval(data={"self": text, "pattern": f"({silent})"})
    if result.type() == T.ERROR:
        raise ValueError(str(result.value()))
    found = [str(each) for each in result.plain_value()]
    return found if limit < 0 else found[:limit]


def _find(text: str, pattern: str) -> str:
    return next(iter(find_all(text, pattern)), "")


def _is_sorted(items: list[Any]) -> bool:
    return all(left <= right for left, right in pairwise(items))


def _sum(items: list[Any]) -> Any:
    total = items[0] if items else 0
    for item in items[1:]:
        total += item
    return total


def _extreme(choose: Callable[[list[Any]], Any], name: str) -> Callable[[list[Any]], Any]:
    def run(items: list[Any]) -> Any:
        if not items:
            raise ValueError(f"{name} called on empty list")
        return choose(items)

    return run


def _index_of(items: list[Any], wanted: Any) -> int:
    return next((index for index, item in enumerate(items) if item == wanted), -1)


def _last_index_of(items: list[Any], wanted: Any) -> int:
    return max((index for index, item in enumerate(items) if item == wanted), default=-1)


FORMATS: Final[dict[str, Callable[[str], list[str]]]] = {
    "dns1123Label": names.dns_label,
    "dns1123Subdomain": names.dns_subdomain,
    "dns1035Label": names.dns_1035_label,
    "qualifiedName": names.qualified_name,
    "dns1123LabelPrefix": lambda value: names.dns_label(value, True),
    "dns1123SubdomainPrefix": lambda value: names.dns_subdomain(value, True),
    "dns1035LabelPrefix": lambda value: names.dns_1035_label(value, True),
    "labelValue": names.label_value,
    "uri": lambda value: [] if is_of_format("uri", value) else ["invalid URI for request"],
    "uuid": lambda value: [] if is_of_format("uuid", value) else ["does not match the UUID format"],
    "byte": lambda value: [] if is_of_format("byte", value) else ["invalid base64"],
    "date": lambda value: [] if is_of_format("date", value) else ["invalid date"],
    "datetime": lambda value: [] if is_of_format("date-time", value) else ["invalid datetime"],
}


def functions() -> list[Any]:
    """The declarations.

    Kubernetes answers `validate` and `format.named` with optionals, which only the engine can make. Here they
    answer with the thing itself, which has the methods of an optional: empty text and lists have no value.
    """
    format = FORMAT.type
    rows = [(f"format.{name}", format, (), _maker(name)) for name in FORMATS]
    return declare(
        [
            *rows,
            ("format.named", format, (T.STRING,), lambda name: FORMAT.make(name if name in FORMATS else "")),
        ],
        [
            ("isSorted", T.BOOL, (LIST,), _is_sorted),
            ("sum", T.DYN, (LIST,), _sum),
            ("min", T.DYN, (LIST,), _extreme(min, "min")),
            ("max", T.DYN, (LIST,), _extreme(max, "max")),
            ("indexOf", T.INT, (LIST, T.DYN), _index_of),
            ("lastIndexOf", T.INT, (LIST, T.DYN), _last_index_of),
            ("find", T.STRING, (T.STRING, T.STRING), _find),
            ("findAll", STRINGS, (T.STRING, T.STRING), find_all),
            ("findAll", STRINGS, (T.STRING, T.STRING, T.INT), find_all),
            ("validate", STRINGS, (format, T.STRING), lambda value, text: FORMATS[value.text](text)),
            ("hasValue", T.BOOL, (STRINGS,), bool),
            ("hasValue", T.BOOL, (format,), lambda value: bool(value.text)),
            ("value", STRINGS, (STRINGS,), lambda items: items),
            ("value", format, (format,), lambda value: value),
            ("orValue", STRINGS, (STRINGS, STRINGS), lambda items, other: items or other),
        ],
    )


def _maker(name: str) -> Callable[[], Any]:
    return lambda: FORMAT.make(name)
