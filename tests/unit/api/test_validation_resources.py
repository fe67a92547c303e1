"""Which resources are Kubernetes' own, and which are other vendors'."""

import pytest

from navarch.services.api.validation.resources import is_extended


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cpu", False),
        ("hugepages-2Mi", False),
        ("example.com/gpu", True),
        ("kubernetes.io/batteries", False),
        ("sub.kubernetes.io/batteries", False),
        ("notkubernetes.io/batteries", False),
        ("requests.example.com/gpu", False),
        ("example.com/kubernetes.io", True),
    ],
)
def test_extended_resources(name: str, expected: bool) -> None:
    assert is_extended(name) is expected
