"""Addresses, networks, and what the command line and the Node make of them."""

import pytest

from navarch.services.base.clock import VirtualClock
from navarch.services.client.client import Client
from navarch.services.proxy.families import Family, canonical, networks
from navarch.services.proxy.main import main
from navarch.services.proxy.service import Config, Proxy
from navarch.services.proxy.transaction import render_table
from navarch.testing.proxy_objects import a_node


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.1", (Family.V4, "10.0.0.1")),
        ("255.255.255.255", (Family.V4, "255.255.255.255")),
        ("fd00:0:0:0:0:0:0:1", (Family.V6, "fd00::1")),
        ("FD00::A", (Family.V6, "fd00::a")),
        ("0.0.0.0", None),
        ("::", None),
        ("fe80::1%eth0", None),
        ("10.0.0.256", None),
        ("10.0.0.01", None),
        ("10.0.0", None),
        ("10.0.0.1 ", None),
        ("None", None),
        ("", None),
        ("1.1.1.1 } ; flush ruleset ; #", None),
    ],
)
def test_addresses_have_one_form(text: str, found: tuple[Family, str] | None) -> None:
    assert canonical(text) == found


def test_networks_are_of_one_family_and_not_within_each_other() -> None:
    cidrs = ["10.1.0.0/16", "10.0.0.0/8", "fd00::1/64", " 192.0.2.1/32"]
    assert networks(cidrs, Family.V4) == ("10.0.0.0/8", "192.0.2.1/32")
    assert networks(cidrs, Family.V6) == ("fd00::/64",)
    with pytest.raises(ValueError, match="pods"):
        networks(["pods"], Family.V4)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--api-server is required"),
        (["--api-server=a:1", "--node-name=n", "--ca=c", "--cert=c"], "--key is required"),
        (
            ["--api-server=a:1", "--node-name=n", "--ca=c", "--cert=c", "--key=k", "--cluster-cidr=10.0.0.0/33"],
            "--cluster-cidr: '10.0.0.0/33'",
        ),
        (
            ["--api-server=a:1", "--node-name=n", "--ca=c", "--cert=c", "--key=k", "--nodeport-addresses=here"],
            "--nodeport-addresses: 'here'",
        ),
    ],
)
def test_a_command_line_that_cannot_work_is_refused(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wanted", "addresses"),
    [
        (("primary",), ("192.0.2.1/32", "2001:db8::1/128")),
        (("198.51.100.0/24",), ("198.51.100.0/24",)),
        (("primary", "198.51.100.0/24"), ("198.51.100.0/24", "192.0.2.1/32", "2001:db8::1/128")),
    ],
)
async def test_node_ports_are_open_where_they_should_be(wanted: tuple[str, ...], addresses: tuple[str, ...]) -> None:
    config = Config("127.0.0.1:1", None, "node-1", node_port_addresses=wanted, listen="", healthz="")
    client = Client.connect(config.api_server, None)
    proxy = Proxy(config, VirtualClock(), client)
    proxy._on_node(None, a_node("192.0.2.1", "192.0.2.2", "2001:db8::1"))
    assert proxy.state.settings.node_addresses == addresses
    text = render_table(proxy.state.settings, (), {})
    assert all(address in text for address in addresses)
    await client.close()


async def test_a_node_that_is_about_to_go_is_not_eligible() -> None:
    config = Config("127.0.0.1:1", None, "node-1", listen="", healthz="")
    client = Client.connect(config.api_server, None)
    proxy = Proxy(config, VirtualClock(), client)
    node = a_node("192.0.2.1")
    proxy._on_node(None, node)
    assert proxy._health.node_eligible
    node.spec.taints.add(key="ToBeDeletedByClusterAutoscaler", effect="NoSchedule")
    proxy._on_node(node, node)
    assert not proxy._health.node_eligible
    await client.close()
