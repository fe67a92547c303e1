"""No RPC of the contract is without a test here."""

import re
from pathlib import Path

import pytest

from navarch.protos.cri import v1_pb2 as criv1

SOURCES = (*Path(__file__).parent.glob("*.py"), Path(__file__).parents[3] / "testing" / "cri_client.py")
RPCS = [m.name for service in criv1.DESCRIPTOR.services_by_name.values() for m in service.methods]


@pytest.mark.parametrize("rpc", RPCS)
def test_every_rpc_is_called(rpc: str) -> None:
    calls = re.compile(rf"\.(runtime|images)\.{rpc}\(")
    assert any(calls.search(path.read_text()) for path in SOURCES), f"no contract test calls {rpc}"
