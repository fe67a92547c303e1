# ruff: noqa: E501 -- tables of messages
"""Which families Services get."""

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.apiserver.allocation.families import settle_families

V4, V6, BOTH, SWAPPED = ["IPv4"], ["IPv6"], ["IPv4", "IPv6"], ["IPv6", "IPv4"]
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
POLICY = "spec.ipFamilyPolicy: Invalid value: "


def a_service(
    *ips: str, policy: str = "", families: list[str] | None = None, selects: bool = True, type: str = "ClusterIP"
) -> corev1.Service:
    made = corev1.Service()
    made.spec.type = type
    if selects:
        made.spec.selector["app"] = "web"
    if ips:
        made.spec.cluster_ip, made.spec.cluster_ips[:] = ips[0], ips
    if policy:
        made.spec.ip_family_policy = policy
    made.spec.ip_families[:] = families or []
    return made


@pytest.mark.parametrize(
    ("asked", "offered", "policy", "families"),
    [
        (a_service(), V4, SINGLE, V4),
        (a_service(), BOTH, SINGLE, V4),
        (a_service(), SWAPPED, SINGLE, V6),
        (a_service("fd00::1"), BOTH, SINGLE, V6),
        (a_service(families=V6), BOTH, SINGLE, V6),
        (a_service(policy=PREFER), V4, PREFER, V4),
        (a_service(policy=PREFER), BOTH, PREFER, BOTH),
        (a_service(policy=PREFER), SWAPPED, PREFER, SWAPPED),
        (a_service(policy=PREFER, families=V6), BOTH, PREFER, SWAPPED),
        (a_service("fd00::1", policy=PREFER), BOTH, PREFER, SWAPPED),
        (a_service(policy=REQUIRE), BOTH, REQUIRE, BOTH),
        (a_service("fd00::1", "10.0.0.1", policy=REQUIRE), BOTH, REQUIRE, SWAPPED),
        (a_service("None"), BOTH, SINGLE, V4),
        (a_service("None", policy=PREFER), V4, PREFER, V4),
        (a_service("None", policy=PREFER), BOTH, PREFER, BOTH),
        (a_service("None", selects=False), V4, REQUIRE, BOTH),
        (a_service("None", selects=False), V6, REQUIRE, SWAPPED),
        (a_service("None", selects=False, families=V6), V4, REQUIRE, SWAPPED),
        (a_service("None", selects=False, policy=SINGLE), BOTH, SINGLE, V4),
        (a_service(type="ExternalName"), BOTH, "", []),
    ],
)
def test_new_services(asked: corev1.Service, offered: list[str], policy: str, families: list[str]) -> None:
    assert settle_families(asked, None, offered) == []
    assert (asked.spec.ip_family_policy, list(asked.spec.ip_families)) == (policy, families)


@pytest.mark.parametrize(
    ("asked", "offered", "expected"),
    [
        (a_service(policy=REQUIRE), V4, [f'{POLICY}"{REQUIRE}": this cluster is not configured for dual-stack services']),
        (a_service(families=V6), V4, ['spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster']),
        (a_service("fd00::1"), V4, ['spec.clusterIPs[0]: Invalid value: ["fd00::1"]: IPv6 is not configured on this cluster']),
        (a_service("None", policy=REQUIRE), V4, [f'{POLICY}"{REQUIRE}": this cluster is not configured for dual-stack services']),
        (a_service(families=BOTH), BOTH, [f"{POLICY}\"{SINGLE}\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"]),
        (a_service("10.0.0.1", "fd00::1"), BOTH, [f"{POLICY}\"{SINGLE}\": must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified"]),
        (a_service("10.0.0.1", families=V6), BOTH, ['spec.clusterIPs[0]: Invalid value: "10.0.0.1": expected an IPv6 value as indicated by `ipFamilies[0]`']),
    ],
)  # fmt: skip
def test_refused(asked: corev1.Service, offered: list[str], expected: list[str]) -> None:
    assert list(map(str, settle_families(asked, None, offered))) == expected


ONE = a_service("10.0.0.1", policy=SINGLE, families=V4)
TWO = a_service("10.0.0.1", "fd00::1", policy=PREFER, families=BOTH)


@pytest.mark.parametrize(
    ("old", "new", "offered", "policy", "families", "ips"),
    [
        pytest.param(ONE, a_service("10.0.0.1", policy=PREFER), BOTH, PREFER, BOTH, ["10.0.0.1"], id="upgrade"),
        pytest.param(ONE, a_service("10.0.0.1"), BOTH, SINGLE, V4, ["10.0.0.1"], id="the old policy"),
        pytest.param(
            TWO,
            a_service(*TWO.spec.cluster_ips, policy=SINGLE, families=BOTH),
            BOTH,
            SINGLE,
            V4,
            ["10.0.0.1"],
            id="down",
        ),
        pytest.param(
            TWO, a_service("10.0.0.1", policy=SINGLE, families=V4), BOTH, SINGLE, V4, ["10.0.0.1"], id="down by hand"
        ),
        pytest.param(
            a_service("10.0.0.1", policy=PREFER, families=V4),
            a_service("10.0.0.1", policy=PREFER, families=V4),
            BOTH,
            PREFER,
            V4,
            ["10.0.0.1"],
            id="no upgrade because the cluster has",
        ),
        pytest.param(TWO, TWO, V4, PREFER, BOTH, list(TWO.spec.cluster_ips), id="no downgrade because the cluster has"),
        pytest.param(a_service(type="ExternalName"), a_service(), BOTH, SINGLE, V4, [], id="from an external name"),
    ],
)
def test_changes(
    old: corev1.Service, new: corev1.Service, offered: list[str], policy: str, families: list[str], ips: list[str]
) -> None:
    changed = corev1.Service()
    changed.CopyFrom(new)
    assert settle_families(changed, old, offered) == []
    spec = changed.spec
    assert (spec.ip_family_policy, list(spec.ip_families), list(spec.cluster_ips)) == (policy, families, ips)


def test_a_second_address_is_only_released_by_the_policy() -> None:
    errors = settle_families(a_service("10.0.0.1", policy=PREFER, families=V4), TWO, BOTH)
    assert list(map(str, errors)) == [
        f"{POLICY}\"{PREFER}\": must be 'SingleStack' to release the secondary {word}"
        for word in ("cluster IP", "IP family")
    ]
