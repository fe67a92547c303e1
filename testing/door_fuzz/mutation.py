"""What is valid, spoilt: values of JSON, texts and bytes."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

_LONG = 70_000
_DEEP = 3_000
# What can still be copied and written.
_DEEPEST = 240

_SCALARS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64,
    10**40, 1.5, -0.0, 1e308, 5e-324, float("nan"), float("inf"), float("-inf"), [], {}, [None], [[]], [{}],
    {"": ""}, {"": None},
    "", " ", "a", ".", "..", "../..", "/", "-", "a" * 64, "a" * 254, "A_B", "*", "0", "-1", "true", "null", "%2e%2e",
    "\x00", "\x7f", "\ud800", "\ufeff", "\u202eabc", "\u2028", "é", "e\u0301", "😀", "日本", "İ", "ﷺ" * 300, "\r\nX: y",
    "1e400", "1E9999999999", "9" * 400, "0x10", "1Ki", "-1m", "1e-99", "1.5Gi", "100n", "١٢", "Infinity", "NaN",
    "9999-12-31T23:59:59Z", "0000-00-00T00:00:00Z", "2020-02-30T00:00:00Z", "1-1-1", "2020-01-01T00:00:00.999999999Z",
    "0001-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "1h", "9" * 30 + "h", "-1ns", "P1D",
    "10.0.0.1", "::1", "0.0.0.0/0", "10.0.0.0/33", "::/129", "010.0.0.1", "fe80::1%eth0", "1.2.3.4:99999",
    "* * * * *", "@every 1s", "*/0 * * * *", "TZ=UTC * * * * *", "0 0 31 2 *",
    "self", "self.x", "self.all(x, self.all(y, true))", "1/0 == 1", "self == oldSelf", "(" * 400, "'", "has(self)",
    "[a-z]+", "(a+)+$", "(?<n>x)", "[", "\\", "(?i)x", "a{1,99999}", "{.spec", ".spec.containers[0]", ".a..b",
    "=", "a=b,c in (d,e),!f", "a in (", "metadata.name=x", "Zm9v", "====", "Zm9", "-----BEGIN CERTIFICATE-----\n",
    "http://[::1", "https://127.0.0.1:1/x?y#z", "ftp://x", "//", "javascript:0", "IfNotPresent", "ClusterIP", "Delete",
)  # fmt: skip
_KEYS = (
    "", "metadata", "spec", "status", "apiVersion", "kind", "name", "namespace", "uid", "resourceVersion", "generation",
    "ownerReferences", "finalizers", "managedFields", "deletionTimestamp", "deletionGracePeriodSeconds",
    "creationTimestamp", "generateName", "labels", "annotations", "$patch", "$retainKeys",
    "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers", "$deleteFromPrimitiveList/args",
    "$setElementOrder/ports", "x-kubernetes-int-or-string", "x-kubernetes-validations", "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys", "x-kubernetes-preserve-unknown-fields", "properties", "items", "type", "default",
    "additionalProperties", "anyOf", "not", "$ref", "enum", "pattern", "format", "nullable", "f:spec", ".", "k:{}",
    "v:1", "i:0", "__proto__", "\x00", "\ud800", "a/b", "a.b", "~0", "~1", "é", "x" * 400, "data", "containers",
    "conversion", "versions", "replicas", "template", "selector", "matchLabels", "ports", "value", "op", "path", "from",
)  # fmt: skip


def scalar(rng: random.Random) -> Any:
    """Something that hardly any field expects."""
    match rng.randrange(30):
        case 0:
            return rng.choice("aé\x00😀") * rng.choice((1_100, 10_000, _LONG))
        case 1:
            return nested(rng.choice((12, 70, 190, 400)), rng)
        case 2:
            return "".join(chr(rng.randrange(0x110000)) for _ in range(rng.randrange(1, 30)))
        case 3:
            return rng.randrange(-(2**70), 2**70)
    return copy.copy(rng.choice(_SCALARS))


def nested(depth: int, rng: random.Random) -> Any:
    """A value within values."""
    value: Any = 0
    key = rng.choice(_KEYS)
    for _ in range(depth):
        value = [value] if rng.random() < 0.5 else {key: value}
    return value


def value(rng: random.Random, original: Any) -> Any:
    """A copy of a JSON value with a few faults."""
    spoilt = copy.deepcopy(original)
    try:
        for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 8))):
            spoilt = _fault(rng, spoilt)
        json.dumps(spoilt)
    except RecursionError:
        # Deep things within deep things are beyond Python, here too; `json_text` and `yaml_text` write deeper ones.
        return nested(_DEEPEST, rng)
    return spoilt


def paths(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a value."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        keys = one.keys() if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        for key in keys:
            found.append((one, key))
            if isinstance(one[key], dict | list):
                waiting.append(one[key])
    return found


def pointers(tree: Any, before: str = "") -> list[str]:
    """Every JSON Pointer into a value."""
    found = [before]
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, item in pairs:
        found += pointers(item, f"{before}/{str(key).replace('~', '~0').replace('/', '~1')}")
    return found


def _fault(rng: random.Random, tree: Any) -> Any:
    places = paths(tree)
    if not places or rng.random() < 0.01:
        return scalar(rng)
    container, key = rng.choice(places)
    match rng.randrange(8):
        case 0:
            del container[key]
        case 1:
            other, other_key = rng.choice(places)
            if other_key in other if isinstance(other, dict) else other_key < len(other):
                container[key] = copy.deepcopy(other[other_key])
        case 2 if isinstance(container, list):
            container += [copy.deepcopy(container[key]) for _ in range(rng.choice((1, 2, 300)))]
        case 3 if isinstance(container, dict):
            container[rng.choice(_KEYS)] = scalar(rng)
        case 4 if isinstance(container, dict):
            container[rng.choice(_KEYS)] = container.pop(key)
        case 5:
            container[key] = [container[key]] if rng.random() < 0.5 else {rng.choice(_KEYS): container[key]}
        case _:
            container[key] = scalar(rng)
    return tree


def json_text(rng: random.Random, tree: Any) -> bytes:
    """A value as JSON that is not always JSON."""
    text = json.dumps(tree, ensure_ascii=rng.random() < 0.5)
    match rng.randrange(14):
        case 0:
            # The first member twice.
            text = text.replace("{", '{"metadata":{"name":"twice"},' if rng.random() < 0.5 else '{"a":1,"a":2,', 1)
        case 1:
            place = rng.randrange(len(text) + 1)
            hostile = rng.choice(("[" * _DEEP, '{"a":' * _DEEP, "NaN", "1e999", "-", "/*", "\\u0000", "1" * 5000))
            text = text[:place] + hostile + text[place:]
        case 2:
            text = text.replace('": ', f'": {"[" * 300}1{"]" * 300}, "', 1)
        case 3:
            text = "\ufeff" + text
    data = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.02:
        data = data.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-32")))
    return raw(rng, data) if rng.random() < 0.2 else data


def yaml_text(rng: random.Random, tree: Any) -> bytes:
    """A value as YAML, bombs included."""
    text = json.dumps(tree)
    match rng.randrange(8):
        case 0:
            lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
            lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
            text = "\n".join(lines)
        case 1:
            text = "- " * rng.choice((50, 1_000, 20_000)) + "x"
        case 2:
            text = "&a [*a]" if rng.random() < 0.5 else "a: &x {<<: *x}"
        case 3:
            text = (
                rng.choice(("%YAML 9.9\n---\n", "--- !!python/object:os.system\n", "---\n---\n", "!!binary ", "? "))
                + text
            )
        case 4:
            text = text.replace("{", "{1: 2, true: x, null: y, ", 1)
    return raw(rng, text.encode()) if rng.random() < 0.3 else text.encode()


def raw(rng: random.Random, data: bytes) -> bytes:
    """Bytes with a few faults."""
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        rng.choice(_BYTE_FAULTS)(rng, spoilt)
    return bytes(spoilt)


def _flip(rng: random.Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _insert(rng: random.Random, data: bytearray) -> None:
    place = rng.randrange(len(data) + 1)
    data[place:place] = rng.choice(
        (b"\x00", b"\xff" * 10, b"\xed\xa0\x80", b"\xc0\x80", rng.randbytes(8), b"\x80" * 12)
    )


def _repeat(rng: random.Random, data: bytearray) -> None:
    begin = rng.randrange(len(data) + 1)
    piece = bytes(data[begin : begin + rng.randrange(200)])
    data[begin:begin] = piece * rng.choice((1, 3, 40))


def _swap(rng: random.Random, data: bytearray) -> None:
    if len(data) > 2:
        one, other = rng.randrange(len(data)), rng.randrange(len(data))
        data[one], data[other] = data[other], data[one]


_BYTE_FAULTS: tuple[Callable[[random.Random, bytearray], None], ...] = (_flip, _flip, _cut, _insert, _repeat, _swap)


def protobuf(rng: random.Random, data: bytes) -> bytes:
    """An encoded message with faults of its own kind."""
    match rng.randrange(8):
        case 0:
            # Groups within groups; lengths beyond the end.
            return data + rng.choice((b"\x0b" * 5_000, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a" * 300, b"\xff" * 11))
        case 1:
            inner = data
            for _ in range(rng.choice((5, 99, 120))):
                inner = b"\x0a" + varint(len(inner)) + inner
            return inner
        case 2:
            return rng.randbytes(rng.choice((1, 4, 40, 4_000)))
        case 3:
            return data + data
        case 4:
            return data
    return raw(rng, data)


def varint(number: int) -> bytes:
    """Base 128."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
