"""What is an image's name, and what is none."""

import pytest

from navarch.services.kubelet.core import image_name

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "name",
    [
        "busybox",
        "busybox:1.36",
        "library/busybox",
        "localhost/a",
        "localhost:5000/a/b-c_d.e:x",
        "registry.example.com/a/b__c@" + DIGEST,
        "Registry.Example.com:443/a:B_1.x-y@" + DIGEST,
        "[::1]:5000/a",
    ],
)
def test_names(name: str) -> None:
    assert image_name.fault(name) == ""


@pytest.mark.parametrize(
    "name",
    ["", "no such image", "Busybox", "a:", "a@sha256:0", "-a", "a//b", "a/B", "http://a/b", "a:b:c", "é", "a" + "\n"],
)
def test_others(name: str) -> None:
    assert "invalid reference format" in image_name.fault(name)
