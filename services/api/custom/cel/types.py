"""Values of types that only Kubernetes' functions make: an IP address, a network, a URL, a quantity, a version.

CEL sees them as messages of one text member, so that equal values compare as equal once the text is canonical.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from cel_expr_python import cel as cel  # type: ignore[import-untyped]
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

T = cel.Type
# Type.List and the like make types of types.
STRINGS: Final = T.List(T.STRING)
LIST: Final = T.List(T.DYN)


class OpaqueType:
    """A type of values that are made by a function and looked at by others."""

    def __init__(self, package: str, name: str) -> None:
        file = descriptor_pb2.FileDescriptorProto(name=f"navarch/cel/{name.lower()}.proto", package=package)
        member = file.message_type.add(name=name).field.add(name="text", number=1)
        member.type, member.label = member.TYPE_STRING, member.LABEL_OPTIONAL
        pool = descriptor_pool.Default()
        pool.AddSerializedFile(file.SerializeToString())
        self._message: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        self.type: Any = T(f"{package}.{name}")

    def make(self, text: str) -> Any:
        """A value."""
        return self._message(text=text)


IP: Final = OpaqueType("net", "IP")
CIDR: Final = OpaqueType("net", "CIDR")
URL: Final = OpaqueType("kubernetes", "URL")
QUANTITY: Final = OpaqueType("kubernetes", "Quantity")
SEMVER: Final = OpaqueType("kubernetes", "Semver")
FORMAT: Final = OpaqueType("kubernetes", "Format")

# Name, result, parameters, implementation; the first parameter of a method is what it is called on.
Row = tuple[str, Any, tuple[Any, ...], Callable[..., Any]]


def declare(functions: list[Row], methods: list[Row]) -> list[Any]:
    """Function declarations of rows; several rows of one name are overloads of it.

    To the engine all messages are one type when it chooses among overloads. So overloads that only differ in
    them become one that takes anything, and looks for itself which is meant.
    """
    merged: dict[tuple[str, bool, tuple[str, ...]], list[Row]] = {}
    for is_member, rows in ((False, functions), (True, methods)):
        for row in rows:
            shape = tuple("message" if one.is_message() else one.name() for one in row[2])
            merged.setdefault((row[0], is_member, shape), []).append(row)
    overloads: dict[str, list[Any]] = {}
    for (name, is_member, _), same in merged.items():
        _, result, parameters, run = same[0]
        if len(same) > 1:
            parameters = tuple(T.DYN if one.is_message() else one for one in parameters)
            run = _choosing({row[2][0].name(): row[3] for row in same})
        known = overloads.setdefault(name, [])
        known.append(
            cel.Overload(
                f"navarch_{'m' if is_member else 'f'}_{name}_{len(known)}",
                return_type=result,
                parameters=list(parameters),
                is_member=is_member,
                impl=run,
            )
        )
    return [cel.FunctionDecl(name, found) for name, found in overloads.items()]


def _choosing(by_type: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    """The implementation for the type of the first argument."""

    def run(first: Any, *others: Any) -> Any:
        descriptor = getattr(first, "DESCRIPTOR", None)
        chosen = by_type.get(descriptor.full_name) if descriptor is not None else None
        if chosen is None or any(getattr(one, "DESCRIPTOR", None) is not descriptor for one in others):
            raise ValueError("no such overload")
        return chosen(first, *others)

    return run


def can(parse: Callable[..., object]) -> Callable[..., bool]:
    """Whether arguments can be parsed, as a function."""

    def check(*args: Any) -> bool:
        try:
            parse(*args)
        except (ValueError, ArithmeticError):
            return False
        return True

    return check
