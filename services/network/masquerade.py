"""Masquerading: what Pods send out of the cluster leaves with the node's address.

One nftables table of our own, `ip NAME`, installed in one transaction through `nft -j`; nothing of it is
mixed with other people's rules, so removing it is removing the table.
"""

import asyncio
import ipaddress
import json
import subprocess
from typing import Any

NFT_TIMEOUT_S = 30.0
CHAIN = "postrouting"
NO_SUCH_FILE = "No such file or directory"


class NftError(Exception):
    """nft refused."""


def ruleset(table: str, pod_cidr: str, cluster_cidrs: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The commands of one transaction. cluster_cidrs: where Pods keep their own address, beside the Pod CIDR."""
    source = ipaddress.ip_network(pod_cidr)
    if source.version != 4:
        raise ValueError(f"pod CIDR {pod_cidr} is not IPv4")
    family = {"family": "ip", "table": table}
    inside = [_prefix(cidr) for cidr in dict.fromkeys((pod_cidr, *cluster_cidrs))]
    rule = [
        _match("saddr", "==", _prefix(pod_cidr)),
        _match("daddr", "!=", {"set": inside}),
        # To all of a multicast group an answer to the node's address would be lost.
        _match("daddr", "!=", _prefix("224.0.0.0/4")),
        {"masquerade": {"flags": ["fully-random"]}},
    ]
    return [
        # Adding what may exist and deleting it makes the transaction hold in both cases.
        {"add": {"table": {"family": "ip", "name": table}}},
        {"delete": {"table": {"family": "ip", "name": table}}},
        {"add": {"table": {"family": "ip", "name": table}}},
        {
            "add": {
                "chain": {
                    **family,
                    "name": CHAIN,
                    "type": "nat",
                    "hook": "postrouting",
                    "prio": 100,
                    "policy": "accept",
                }
            }
        },
        {"add": {"rule": {**family, "chain": CHAIN, "comment": "navarch: pods to the outside", "expr": rule}}},
    ]


def _prefix(cidr: str) -> dict[str, Any]:
    network = ipaddress.ip_network(cidr)
    return {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}


def _match(field: str, operator: str, right: dict[str, Any]) -> dict[str, Any]:
    return {"match": {"op": operator, "left": {"payload": {"protocol": "ip", "field": field}}, "right": right}}


async def install(table: str, pod_cidr: str, cluster_cidrs: tuple[str, ...] = ()) -> None:
    """Have the table, exactly as it should be. Atomic: packets see the old or the new rules. Raises NftError."""
    await _nft(json.dumps({"nftables": ruleset(table, pod_cidr, cluster_cidrs)}))


async def exists(table: str) -> bool:
    """Whether the table is there. Raises NftError."""
    try:
        await _nft("list", "table", "ip", table)
    except NftError as failure:
        if NO_SUCH_FILE in str(failure):
            return False
        raise
    return True


async def remove(table: str) -> None:
    """Take the table away. Idempotent. Raises NftError."""
    named = {"table": {"family": "ip", "name": table}}
    await _nft(json.dumps({"nftables": [{"add": named}, {"delete": named}]}))


async def _nft(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "nft", "-j", *command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _, err = await asyncio.wait_for(process.communicate(), NFT_TIMEOUT_S)
    except TimeoutError as failure:
        process.kill()
        raise NftError(f"nft did not answer within {NFT_TIMEOUT_S:.0f} s") from failure
    if process.returncode != 0:
        raise NftError(err.decode(errors="replace").strip() or f"nft ended with {process.returncode}")
