"""Environments, the downward API and $(VAR)."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec
from navarch.services.kubelet.core.env_file import value_of
from navarch.services.kubelet.core.environment import environment, expand
from navarch.services.kubelet.core.references import CONFIG_MAP, SECRET, ConfigError, NodeContext, references

MakePod = Callable[..., corev1.Pod]
NODE = NodeContext("n1", ("192.0.2.1",), 4000, 8 << 30, api_host="192.0.2.9", api_port="7443")


class Objects:
    """A lookup over literals."""

    def __init__(self, *services: corev1.Service) -> None:
        self._services = services

    def config_map(self, namespace: str, name: str) -> corev1.ConfigMap | None:
        return corev1.ConfigMap(data={"A": "alpha", "B": "beta"}) if (namespace, name) == ("default", "conf") else None

    def secret(self, namespace: str, name: str) -> corev1.Secret | None:
        return corev1.Secret(data={"pw": b"hunter2"}) if (namespace, name) == ("default", "sec") else None

    def services(self) -> Sequence[corev1.Service]:
        return self._services


def variables(pod: MakePod, objects: Objects | None = None, **container: Any) -> dict[str, str]:
    made = pod(
        containers=[{"name": "main", "image": "a", **container}], enableServiceLinks=True, serviceAccountName="sa"
    )
    made.metadata.labels["app"] = "web"
    return environment(made, made.spec.containers[0], objects or Objects(), NODE, ("10.0.0.7",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$(A)", "1"),
        ("a$(A)b$(B)c", "a1b2c"),
        ("$(MISSING)", "$(MISSING)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A $ $(", "$A $ $("),
        ("$(A$(B))", "$(A2)"),
        ("", ""),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


def test_later_sources_win_and_see_earlier_ones(pod: MakePod) -> None:
    found = variables(
        pod,
        envFrom=[{"configMapRef": {"name": "conf"}}, {"prefix": "S_", "secretRef": {"name": "sec"}}],
        env=[{"name": "A", "value": "own"}, {"name": "C", "value": "$(A)-$(B)-$(S_pw)"}],
    )
    assert (found["A"], found["B"], found["C"]) == ("own", "beta", "own-beta-hunter2")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "default"),
        ("metadata.uid", "uid-web"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['none']", ""),
        ("spec.nodeName", "n1"),
        ("spec.serviceAccountName", "sa"),
        ("status.podIP", "10.0.0.7"),
        ("status.hostIP", "192.0.2.1"),
    ],
)
def test_fields(pod: MakePod, path: str, expected: str) -> None:
    assert variables(pod, env=[{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}])["X"] == expected


@pytest.mark.parametrize(
    ("resource", "divisor", "expected"),
    [
        ("limits.cpu", "0", "2"),
        ("limits.cpu", "1m", "1500"),
        ("requests.cpu", "1", "1"),
        ("limits.memory", "1Mi", "64"),
        ("limits.memory", "1Gi", "1"),
        ("requests.memory", "0", str(64 << 20)),
        ("limits.ephemeral-storage", "0", "0"),
    ],
)
def test_resources_round_up(pod: MakePod, resource: str, divisor: str, expected: str) -> None:
    limits = {"cpu": "1500m", "memory": "64Mi"}
    source = {"resourceFieldRef": {"resource": resource, "divisor": divisor}}
    found = variables(
        pod,
        resources={"limits": limits, "requests": {"cpu": "300m", "memory": "64Mi"}},
        env=[{"name": "X", "valueFrom": source}],
    )
    assert found["X"] == expected


def test_a_limit_that_is_not_set_is_the_nodes(pod: MakePod) -> None:
    source = {"resourceFieldRef": {"resource": "limits.cpu"}}
    assert variables(pod, env=[{"name": "X", "valueFrom": source}])["X"] == "4"


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"envFrom": [{"configMapRef": {"name": "no"}}]}, 'configmap "no" not found'),
        ({"envFrom": [{"secretRef": {"name": "no"}}]}, 'secret "no" not found'),
        (
            {"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "Z"}}}]},
            "couldn't find key Z in ConfigMap default/conf",
        ),
        (
            {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "Z"}}}]},
            "couldn't find key Z in Secret default/sec",
        ),
        ({"env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.nope"}}}]}, "unsupported fieldPath"),
    ],
)
def test_what_is_missing_is_named(pod: MakePod, container: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        variables(pod, **container)


def test_optional_references_may_be_missing(pod: MakePod) -> None:
    reference = {"name": "no", "key": "k", "optional": True}
    found = variables(
        pod,
        envFrom=[{"configMapRef": {"name": "no", "optional": True}}],
        env=[{"name": "X", "valueFrom": {"secretKeyRef": reference}}],
    )
    assert "X" not in found


def a_service(namespace: str, name: str, ip: str = "10.96.0.5") -> corev1.Service:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns-u", "port": 53, "protocol": "UDP"}]
    made = codec.from_json(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"clusterIP": ip, "ports": ports},
        }
    )
    assert isinstance(made, corev1.Service)
    return made


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A='1'", "1"),
        ("# comment\n\n \t\n  B='2'\n\tA='1' # why\n", "1"),
        ("A='first'\nA='second'", "first"),
        ("A='one\n two\n'\nB='2'", "one\n two\n"),
        ("B='A=2\n'\nA='$B # \\n \"'", '$B # \\n "'),
        ("A=''", ""),
        ("A= 'not this'", ""),
        ("B='2'", None),
        ("", None),
        ("A='1'\nno line", "1"),
        ("A=1", "line 1: the value must be enclosed in single quotes"),
        ('\n\nA="1"', "line 3: the value must be enclosed in single quotes"),
        ("A='1''2'", "line 1: the value must be enclosed"),
        ("A='1'$B", "line 1: the value must be enclosed"),
        ("A='1", "line 1: the value must be enclosed"),
        ("B='1\n2'\nA = '1'", "line 3: it must begin with NAME="),
        ("export", "line 1: it must begin with NAME="),
        ("='1'", "line 1: it must begin with NAME="),
    ],
)
def test_files_of_variables(text: str, found: str | None) -> None:
    if found is not None and found.startswith("line "):
        with pytest.raises(ConfigError, match=f"^couldn't parse env file: {found}"):
            value_of(text, "A")
    else:
        assert value_of(text, "A") == found


def test_variables_from_files(pod: MakePod) -> None:
    files = {("v", "a.env"): "A='1'"}

    def found(path: str, key: str, optional: bool) -> dict[str, str]:
        reference = {"volumeName": "v", "path": path, "key": key, "optional": optional}
        env = [{"name": "X", "valueFrom": {"fileKeyRef": reference}}, {"name": "Y", "value": "$(X)"}]
        made = pod(containers=[{"name": "main", "image": "a", "env": env}])
        return environment(
            made, made.spec.containers[0], Objects(), NODE, (), lambda volume, path: files.get((volume, path))
        )

    assert (found("a.env", "A", False)["X"], found("a.env", "A", False)["Y"]) == ("1", "1")
    for path, key in (("a.env", "B"), ("b.env", "A")):
        assert "X" not in found(path, key, True)
        with pytest.raises(ConfigError, match=f'environment variable key "{key}" not found in file "{path}"'):
            found(path, key, False)


def test_service_variables(pod: MakePod) -> None:
    objects = Objects(
        a_service("default", "my-db"),
        a_service("default", "headless", "None"),
        a_service("other", "hidden"),
        a_service("default", "kubernetes", "10.96.0.1"),
    )
    found = variables(pod, objects)
    assert found == {
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "KUBERNETES_SERVICE_PORT": "80",
        "KUBERNETES_SERVICE_PORT_HTTP": "80",
        "KUBERNETES_SERVICE_PORT_DNS_U": "53",
        "KUBERNETES_PORT": "tcp://10.96.0.1:80",
        "KUBERNETES_PORT_80_TCP": "tcp://10.96.0.1:80",
        "KUBERNETES_PORT_80_TCP_PROTO": "tcp",
        "KUBERNETES_PORT_80_TCP_PORT": "80",
        "KUBERNETES_PORT_80_TCP_ADDR": "10.96.0.1",
        "KUBERNETES_PORT_53_UDP": "udp://10.96.0.1:53",
        "KUBERNETES_PORT_53_UDP_PROTO": "udp",
        "KUBERNETES_PORT_53_UDP_PORT": "53",
        "KUBERNETES_PORT_53_UDP_ADDR": "10.96.0.1",
        **{
            key.replace("KUBERNETES", "MY_DB"): value.replace("10.96.0.1", "10.96.0.5")
            for key, value in found.items()
            if key.startswith("KUBERNETES")
        },
    }


def test_the_api_server_is_known_without_its_service(pod: MakePod) -> None:
    assert variables(pod) == {"KUBERNETES_SERVICE_HOST": "192.0.2.9", "KUBERNETES_SERVICE_PORT": "7443"}


def test_references_of_a_pod(pod: MakePod) -> None:
    made = pod(
        containers=[{"name": "m", "image": "a", "envFrom": [{"configMapRef": {"name": "c1"}}]}],
        volumes=[
            {"name": "v", "secret": {"secretName": "s1"}},
            {"name": "p", "projected": {"sources": [{"configMap": {"name": "c2"}}]}},
        ],
        imagePullSecrets=[{"name": "s2"}],
    )
    assert references(made) == {(CONFIG_MAP, "c1"), (CONFIG_MAP, "c2"), (SECRET, "s1"), (SECRET, "s2")}
