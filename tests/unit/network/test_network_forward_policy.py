"""What is written into another program's firewall, and only where it has to be."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from navarch.services.network.forward_policy import TOOLS, IptablesError, changes, ensure

PODS = ip_network("10.244.0.0/16")
REST = ["-m", "comment", "--comment", "navarch Pod network t", "-j", "ACCEPT"]
FROM, TO = ["-s", "10.244.0.0/16", *REST], ["-d", "10.244.0.0/16", *REST]
SHOWN = '-m comment --comment "navarch Pod network t" -j ACCEPT'
DOCKER = "-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n"


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        pytest.param("-P FORWARD ACCEPT\n", [], id="nobody drops"),
        pytest.param(DOCKER, [["-I", "FORWARD", *FROM], ["-I", "FORWARD", *TO]], id="Docker drops"),
        pytest.param(
            f"{DOCKER}-A FORWARD -s 10.244.0.0/16 {SHOWN}\n", [["-I", "FORWARD", *TO]], id="one of ours is gone"
        ),
        pytest.param(
            f"{DOCKER}-A FORWARD -s 10.244.0.0/16 {SHOWN}\n-A FORWARD -d 10.244.0.0/16 {SHOWN}\n", [], id="all is there"
        ),
        pytest.param(
            f"-P FORWARD ACCEPT\n-A FORWARD -s 10.244.0.0/16 {SHOWN}\n",
            [["-D", "FORWARD", *FROM]],
            id="nobody drops any more",
        ),
        pytest.param(
            f"-P FORWARD ACCEPT\n-A FORWARD -s 10.9.0.0/16 {SHOWN}\n",
            [["-D", "FORWARD", "-s", "10.9.0.0/16", *REST]],
            id="of another Pod CIDR",
        ),
        pytest.param(
            "-P FORWARD ACCEPT\n-A FORWARD -s 10.244.0.0/16 -m comment --comment other -j ACCEPT\n",
            [],
            id="others' rules are theirs",
        ),
    ],
)
def test_changes(listed: str, expected: list[list[str]]) -> None:
    assert changes(listed, "t", [PODS]) == expected


def test_what_was_changed_needs_no_more_changes() -> None:
    listed = DOCKER
    for words in changes(listed, "t", [PODS]):
        source = " ".join(words[2:4])
        listed += f"-A FORWARD {source} {SHOWN}\n"
    assert changes(listed, "t", [PODS]) == []
    assert len(changes(listed, "t", [])) == 2


async def test_a_kernel_without_such_tables_needs_none_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tool in TOOLS.values():
        (tmp_path / tool).write_text("#!/bin/sh\necho 'can not initialize table' >&2\nexit 3\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert await ensure("t", [PODS]) is False
    monkeypatch.setenv("PATH", "/nonexistent")
    assert await ensure("t", [PODS]) is False


async def test_a_rule_that_is_refused_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "iptables"
    tool.write_text('#!/bin/sh\ncase "$3" in -S) echo "-P FORWARD DROP";; *) echo "no room" >&2; exit 4;; esac\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/nonexistent")
    with pytest.raises(IptablesError, match=r"iptables -w 5 -I FORWARD -s 10\.244\.0\.0/16 .*: no room"):
        await ensure("t", [PODS])
