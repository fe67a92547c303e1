"""What the kernel has after many transactions is what the state says it should have."""

import json
from random import Random
from typing import Any

from navarch.services.proxy import nft
from navarch.services.proxy.elements import Place
from navarch.services.proxy.state import ProxyState
from navarch.services.proxy.structure import Settings, base_chains, containers
from navarch.testing.proxy_lab import ProxyLab
from navarch.testing.proxy_objects import NODE, ServiceBuilder, SliceBuilder, a_node

SETTINGS = Settings(
    cluster_cidrs=("10.244.0.0/16", "fd00:244::/32"), service_cidrs=("10.96.0.0/16",), node_addresses=("0.0.0.0/0",)
)
NAMES = ("a", "b", "c", "d")
STEPS = 80


async def test_transactions_add_up() -> None:
    rng = Random(7)
    state = ProxyState(SETTINGS, NODE)
    state.set_node(a_node("192.0.2.1", zone="a"))
    async with ProxyLab(pods=0) as lab:
        lab.run("node", "nft", "-f", "-", input=state.whole()[0])
        for step in range(STEPS):
            change(state, rng)
            if step == STEPS // 2:
                # As after a refusal, or another's change.
                text = state.whole()[0]
            else:
                text = state.changes()[0].render(SETTINGS)
            lab.run("node", "nft", "-f", "-", input=text)
            if step % 10 == 9:
                check(state, lab)
        for name in NAMES:
            state.remove_service(f"default/{name}")
        lab.run("node", "nft", "-f", "-", input=state.changes()[0].render(SETTINGS))
        check(state, lab)
        assert dict(state.elements()) == {}


async def test_nft_says_of_a_table_whether_it_could_be() -> None:
    """Without making it: that is how a Service that cannot be is found among the others."""
    state = ProxyState(SETTINGS, NODE)
    for name in NAMES:
        state.set_service(ServiceBuilder(name, f"10.96.0.{NAMES.index(name) + 1}").port(80).object)
    text, _ = state.only(("default/a", "default/c")).whole()
    assert ("10.96.0.3 ." in text, "10.96.0.2 ." in text) == (True, False)
    assert not await nft.is_refused(text)
    assert await nft.is_refused(text.replace("10.96.0.3 .", "10.96.0.300 ."))
    assert state.is_dirty, "it was a copy"


def change(state: ProxyState, rng: Random) -> None:
    """Something happens to a Service or its endpoints."""
    name = rng.choice(NAMES)
    number = NAMES.index(name) + 1
    match rng.randrange(8):
        case 0:
            state.remove_service(f"default/{name}")
        case 1 | 2 | 3:
            built = ServiceBuilder(name, f"10.96.0.{number}", f"fd00:96::{number}")
            for protocol in rng.sample(["TCP", "UDP", "SCTP"], rng.randint(1, 3)):
                node_port = rng.choice([0, 30000 + number])
                built.port(80, name=protocol.lower(), protocol=protocol, node_port=node_port)
            built.external(f"198.51.100.{rng.randint(1, 2)}")
            if rng.random() < 0.5:
                built.load_balancer(
                    f"198.51.100.{10 + number}", ranges=rng.choice([[], ["203.0.113.0/24", "10.0.0.0/8"]])
                )
            if rng.random() < 0.5:
                built.external_local()
            if rng.random() < 0.5:
                built.internal_local()
            if rng.random() < 0.5:
                built.affinity(rng.choice([60, 3600]))
            state.set_service(built.object)
        case _:
            family = rng.choice([4, 6])
            slice = SliceBuilder(name, family=family, suffix=str(family))
            for protocol in ("TCP", "UDP", "SCTP"):
                slice.port(8080, name=protocol.lower(), protocol=protocol)
            for endpoint in rng.sample(range(1, 60), rng.choice([0, 1, 2, 3, 8, 40])):
                address = f"10.244.0.{endpoint}" if family == 4 else f"fd00:244::{endpoint}"
                slice.endpoint(address, node=rng.choice([NODE, "node-2"]), ready=rng.random() < 0.8)
            state.set_slice(slice.object)


def check(state: ProxyState, lab: ProxyLab) -> None:
    """The kernel's table against the state's."""
    listing = json.loads(lab.run("node", "nft", "-j", "list", "table", "inet", SETTINGS.table))["nftables"]
    fixed = {container.name for container in containers(SETTINGS) if container.elements}
    elements: dict[Place, str] = {}
    chains: dict[str, int] = {}
    for item in listing:
        for kind in ("set", "map"):
            if kind in item and item[kind]["name"] not in fixed:
                elements |= dict(read(item[kind]["name"], element) for element in item[kind].get("elem", []))
        if "chain" in item:
            chains.setdefault(item["chain"]["name"], 0)
        if "rule" in item:
            chains[item["rule"]["chain"]] += 1
    assert elements == dict(state.elements())
    wanted = {chain.name: len(chain.rules) for chain in (*state.chains.values(), *base_chains())}
    assert chains == wanted


def read(container: str, element: Any) -> tuple[Place, str]:
    if isinstance(element, list):
        key, value = element
        return Place(container, text(key)), text(value)
    return Place(container, text(element)), ""


def text(expression: Any) -> str:
    match expression:
        case {"concat": parts}:
            return " . ".join(text(part) for part in parts)
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case {"goto": {"target": chain}}:
            return f"goto {chain}"
        case {"drop": None}:
            return "drop"
    return str(expression)
