"""Lets Pods' packets through where another program drops whatever is forwarded.

Docker, and firewalls by iptables, set the policy of the chain FORWARD to DROP. What one chain drops no other can
accept, so rules of ours have to stand in that very chain; they are put there by iptables itself, for its other users
count on finding only what it writes. Where the policy is ACCEPT nothing is done. A comment tells ours from all others.
"""

import asyncio
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Sequence

from navarch.services.network.kernel import CIDR

TOOLS = {4: "iptables", 6: "ip6tables"}
CHAIN = "FORWARD"
# Others hold its lock, too.
LOCK_S = 5
TIMEOUT_S = 30.0


class IptablesError(Exception):
    """iptables refused."""


def comment(table: str) -> str:
    """What our rules say. table: the name of the agent's nftables table, which tells clusters on one host apart."""
    return f"navarch Pod network {table}"


def changes(listed: str, table: str, cidrs: Iterable[CIDR]) -> list[list[str]]:
    """The commands, less the tool's name, that are to be run. listed: what `-S FORWARD` says. Pure."""
    lines = [shlex.split(line) for line in listed.splitlines()]
    ours = [line[2:] for line in lines if line[:2] == ["-A", CHAIN] and comment(table) in line]
    drops = ["-P", CHAIN, "DROP"] in lines
    wanted = [rule for cidr in cidrs for rule in _rules(table, cidr)] if drops else []
    stale = [["-D", CHAIN, *rule] for rule in ours if rule not in wanted]
    return stale + [["-I", CHAIN, *rule] for rule in wanted if rule not in ours]


def _rules(table: str, cidr: CIDR) -> list[list[str]]:
    rest = ["-m", "comment", "--comment", comment(table), "-j", "ACCEPT"]
    return [["-s", str(cidr), *rest], ["-d", str(cidr), *rest]]


async def ensure(table: str, cidrs: Sequence[CIDR]) -> bool:
    """Have Pods' packets pass. Returns whether rules were changed. Raises IptablesError."""
    return await asyncio.to_thread(_ensure, table, cidrs)


async def remove(table: str) -> None:
    """Take our rules away. Idempotent. Raises IptablesError."""
    await asyncio.to_thread(_ensure, table, ())


def _ensure(table: str, cidrs: Sequence[CIDR]) -> bool:
    changed = False
    for version, tool in TOOLS.items():
        # Without the tool nobody has set its policy.
        if shutil.which(tool) is None:
            continue
        own = [cidr for cidr in cidrs if cidr.version == version]
        try:
            listed = _run(tool, "-S", CHAIN)
        except IptablesError:
            # Its tables are not in this kernel, so no chain of theirs drops anything.
            continue
        for words in changes(listed, table, own):
            _run(tool, *words)
            changed = True
    return changed


def _run(tool: str, *words: str) -> str:
    command = [tool, "-w", str(LOCK_S), *words]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as failure:
        raise IptablesError(f"{tool} did not answer within {TIMEOUT_S:.0f} s") from failure
    if done.returncode != 0:
        raise IptablesError(f"{shlex.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout
