"""Which image of an index runs on which machine."""

import pytest

from navarch.runtime_shim.containerd.images.model import OCI_MANIFEST, Descriptor
from navarch.runtime_shim.containerd.images.platforms import ranked
from navarch.runtime_shim.errors import InvalidArgument


def entry(name: str) -> Descriptor:
    """ "linux/arm/v7" as an index has it; "" says nothing."""
    keys = ("os", "architecture", "variant")
    return Descriptor(
        OCI_MANIFEST, f"sha256:{'0' * 64}", 1, platform=dict(zip(keys, name.split("/"), strict=False)) if name else {}
    )


@pytest.mark.parametrize(
    ("machine", "offered", "expected"),
    [
        ("x86_64", ["linux/arm64", "linux/amd64"], ["linux/amd64"]),
        ("x86_64", ["linux/386", "linux/amd64"], ["linux/amd64", "linux/386"]),
        ("x86_64", ["linux/amd64/v3", "linux/amd64"], ["linux/amd64"]),
        ("x86_64", ["linux/amd64/v1"], ["linux/amd64/v1"]),
        ("x86_64", ["windows/amd64", "linux/amd64"], ["linux/amd64"]),
        ("x86_64", ["unknown/unknown", "linux/amd64"], ["linux/amd64"]),
        ("x86_64", ["linux/x86_64"], ["linux/x86_64"]),
        ("x86_64", ["", "linux/amd64"], ["linux/amd64"]),
        ("x86_64", ["linux/s390x", ""], [""]),
        ("i686", ["linux/amd64", "linux/386"], ["linux/386"]),
        ("aarch64", ["linux/arm64"], ["linux/arm64"]),
        (
            "aarch64",
            ["linux/arm/v6", "linux/arm/v7", "linux/arm64/v8"],
            ["linux/arm64/v8", "linux/arm/v7", "linux/arm/v6"],
        ),
        ("armv7l", ["linux/arm/v5", "linux/arm", "linux/arm/v8"], ["linux/arm", "linux/arm/v5"]),
        ("armv6l", ["linux/arm/v7", "linux/arm/v6"], ["linux/arm/v6"]),
        ("s390x", ["linux/s390x"], ["linux/s390x"]),
    ],
)
def test_the_best_match_comes_first(machine: str, offered: list[str], expected: list[str]) -> None:
    assert ["/".join(found.platform.values()) for found in ranked(map(entry, offered), machine)] == expected


@pytest.mark.parametrize(
    ("machine", "offered", "message"),
    [
        ("x86_64", ["linux/s390x", "linux/arm/v7"], "platform linux/amd64 .* offers linux/s390x, linux/arm/v7"),
        ("armv7l", ["linux/arm/v8"], "platform linux/arm/v7 "),
        ("x86_64", [], "offers nothing"),
    ],
)
def test_no_match_names_what_there_is(machine: str, offered: list[str], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        ranked(map(entry, offered), machine)
