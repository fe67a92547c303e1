"""Masquerading: what Pods send out of the cluster leaves with the node's address.

Pods keep their own address towards Pods, as Kubernetes asks for, and towards nodes on one link with this one: those
have routes back. Towards nodes behind routers they do not: routers on the way need not let addresses pass that they
have not given out, and the answer would come another way than the question went.

One nftables table of our own, `inet NAME`, installed in one transaction through `nft -j`; nothing of it is
mixed with other people's rules, so removing it is removing the table.
"""

import asyncio
import hashlib
import ipaddress
import json
import subprocess
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from navarch.services.network.kernel import CIDR

NFT_TIMEOUT_S = 30.0
FAMILY = "inet"
CHAIN = "postrouting"
NO_SUCH_FILE = "No such file or directory"
COMMENT = "navarch: pods to the outside"
PROTOCOLS = {4: "ip", 6: "ip6"}
# To all of a multicast group an answer to the node's address would be lost. Link-local never leaves a link.
NEVER = {4: ("224.0.0.0/4",), 6: ("ff00::/8", "fe80::/10")}


class NftError(Exception):
    """nft refused."""


def ruleset(table: str, pods: Sequence[CIDR], keep: Iterable[CIDR]) -> list[dict[str, Any]]:
    """The commands of one transaction. pods: whose traffic it is. keep: where it keeps its address, beside `pods`."""
    named = {"family": FAMILY, "table": table}
    kept = sorted({*pods, *keep}, key=str)
    commands: list[dict[str, Any]] = [
        # Adding what may exist and deleting it makes the transaction hold in both cases.
        {"add": {"table": {"family": FAMILY, "name": table}}},
        {"delete": {"table": {"family": FAMILY, "name": table}}},
        {"add": {"table": {"family": FAMILY, "name": table}}},
        {
            "add": {
                "chain": {**named, "name": CHAIN, "type": "nat", "hook": "postrouting", "prio": 100, "policy": "accept"}
            }
        },
    ]
    comment = _comment(pods, kept)
    for version, protocol in PROTOCOLS.items():
        own = [cidr for cidr in pods if cidr.version == version]
        if not own:
            continue
        inside = _merged(cidr for cidr in kept if cidr.version == version)
        never = map(ipaddress.ip_network, NEVER[version])
        rule = [
            _match(protocol, "saddr", "==", own),
            _match(protocol, "daddr", "!=", inside),
            _match(protocol, "daddr", "!=", list(never)),
            {"masquerade": {"flags": ["fully-random"]}},
        ]
        commands.append({"add": {"rule": {**named, "chain": CHAIN, "comment": comment, "expr": rule}}})
    return commands


def _comment(pods: Sequence[CIDR], keep: Sequence[CIDR]) -> str:
    """Tells one ruleset from another, so that it can be seen whether the one that is there is the wanted one."""
    digest = hashlib.sha256(repr(([*map(str, pods)], [*map(str, keep)])).encode()).hexdigest()
    return f"{COMMENT} ({digest[:12]})"


def _merged(cidrs: Iterable[CIDR]) -> list[CIDR]:
    """nft refuses a set whose elements overlap."""
    return list(ipaddress.collapse_addresses(cidrs))  # type: ignore[type-var]


def _match(protocol: str, field: str, operator: str, cidrs: Sequence[CIDR]) -> dict[str, Any]:
    prefixes = [{"prefix": {"addr": str(cidr.network_address), "len": cidr.prefixlen}} for cidr in cidrs]
    left = {"payload": {"protocol": protocol, "field": field}}
    return {"match": {"op": operator, "left": left, "right": {"set": prefixes}}}


async def install(table: str, pods: Sequence[CIDR], keep: Collection[CIDR]) -> None:
    """Have the table, exactly as it should be. Atomic: packets see the old or the new rules. Raises NftError."""
    await _nft(json.dumps({"nftables": ruleset(table, pods, keep)}))


async def is_installed(table: str, pods: Sequence[CIDR], keep: Collection[CIDR]) -> bool:
    """Whether the table is there with these rules. Raises NftError."""
    try:
        listed = json.loads(await _nft("list", "table", FAMILY, table))
    except NftError as failure:
        if NO_SUCH_FILE in str(failure):
            return False
        raise
    added = [entry["add"] for entry in ruleset(table, pods, keep) if "add" in entry]
    wanted = [entry["rule"]["comment"] for entry in added if "rule" in entry]
    return wanted == [entry["rule"].get("comment") for entry in listed["nftables"] if "rule" in entry]


async def remove(table: str) -> None:
    """Take the table away. Idempotent. Raises NftError."""
    named = {"table": {"family": FAMILY, "name": table}}
    await _nft(json.dumps({"nftables": [{"add": named}, {"delete": named}]}))


async def _nft(*command: str) -> bytes:
    # In a thread, where Python starts programs by vfork: gRPC's handlers at a fork can end the child before it is nft.
    return await asyncio.to_thread(_run_nft, *command)


def _run_nft(*command: str) -> bytes:
    try:
        done = subprocess.run(
            ["nft", "-j", *command], stdin=subprocess.DEVNULL, capture_output=True, timeout=NFT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as failure:
        raise NftError(f"nft did not answer within {NFT_TIMEOUT_S:.0f} s") from failure
    if done.returncode != 0:
        raise NftError(done.stderr.decode(errors="replace").strip() or f"nft ended with {done.returncode}")
    return done.stdout
