"""Tables, descriptions and the words of a rollout."""

import re

import pytest
import yaml

from navarch.cli.commands.rollout import progress
from navarch.cli.errors import UsageError, explain
from navarch.cli.output.description.kinds import describe
from navarch.cli.output.printing import Format, Printer
from navarch.cli.output.table import Columns, format_rows
from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec, yaml_text
from navarch.services.api.errors import FieldError, Invalid, NotFound


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert format_rows(["A", "LONG"], [["1", "x"], ["333", ""]]) == "A     LONG\n1     x\n333\n"
    assert format_rows(["A", "LONG"], [["1", "x"]], with_header=False) == "1   x\n"
    assert format_rows(["A"], []) == "A\n"


def test_later_rows_stand_below_earlier_ones() -> None:
    columns = Columns()
    assert columns.format(["NAME", "S"], [["long-name", "a"]]) == "NAME        S\nlong-name   a\n"
    assert columns.format(["NAME", "S"], [["b", "c"]], with_header=False) == "b           c\n"


def test_the_header_comes_once() -> None:
    printer = Printer(Format())
    config_map = corev1.ConfigMap()
    config_map.metadata.name = "a"
    assert printer.render([config_map]).startswith("NAME ")
    assert printer.render([config_map]).startswith("a ")


def test_yaml_keeps_text_readable() -> None:
    document = {"script": "a\nb\n", "on": "yes", "empty": "", "number": "1", "tab": "a\tb\n"}
    text = yaml_text.dump(document)
    assert "script: |\n  a\n  b\n" in text
    assert yaml.safe_load(text) == document


def deployment(**status: int) -> appsv1.Deployment:
    found = appsv1.Deployment()
    found.metadata.name = "web"
    found.metadata.generation = 2
    found.spec.replicas = 3
    found.status.observed_generation = status.pop("observed", 2)
    for field, value in status.items():
        setattr(found.status, f"{field}_replicas" if field != "replicas" else field, value)
    return found


@pytest.mark.parametrize(
    ("found", "message", "done"),
    [
        (deployment(observed=1), "Waiting for deployment spec update to be observed...", False),
        (deployment(updated=1, replicas=3), "1 out of 3 new replicas have been updated...", False),
        (deployment(updated=3, replicas=4), "1 old replicas are pending termination...", False),
        (deployment(updated=3, replicas=3, available=2), "2 of 3 updated replicas are available...", False),
        (deployment(updated=3, replicas=3, available=3), 'deployment "web" successfully rolled out', True),
    ],
)
def test_progress_of_a_rollout(found: appsv1.Deployment, message: str, done: bool) -> None:
    said, ended = progress(found)
    assert said.endswith(message)
    assert ended is done


def test_a_rollout_that_missed_its_deadline() -> None:
    found = deployment(updated=1, replicas=3)
    found.status.conditions.add(type="Progressing", status="False", reason="ProgressDeadlineExceeded")
    with pytest.raises(UsageError, match="exceeded its progress deadline"):
        progress(found)


def test_errors_are_one_line_each() -> None:
    assert explain(UsageError("do this")) == "error: do this"
    assert explain(NotFound("pods", "x")) == 'Error from server (NotFound): pods "x" not found'
    assert explain(ExceptionGroup("", [NotFound("pods", "x")])) == explain(NotFound("pods", "x"))
    assert explain(PermissionError(13, "Permission denied", "/x")) == "error: Permission denied: /x"
    assert explain(KeyError("x")).startswith("error: this is a bug: KeyError: 'x'\n(where: set NAVARCH_DEBUG=1")
    two = Invalid("Pod", "x", [FieldError.required("spec.a"), FieldError.invalid("spec.b", 1, "is odd")])
    assert explain(two) == (
        'Error from server (Invalid): Pod "x" is invalid:\n* spec.a: Required value\n* spec.b: Invalid value: 1: is odd'
    )


def test_descriptions_show_fields_of_any_kind() -> None:
    lease = codec.from_json(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "l", "namespace": "n"},
            "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15},
        }
    )
    text = describe("coordination.k8s.io", "Lease", lease, ())
    assert re.search(r"Spec:\n  HolderIdentity: +me\n  LeaseDurationSeconds: +15\n", text)
    assert re.search(r"API Version: +coordination.k8s.io/v1\n", text)


def test_every_volume_probe_and_source_is_described() -> None:
    pod = codec.from_json(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "namespace": "n", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "containers": [
                    {
                        "name": "c",
                        "image": "i",
                        "envFrom": [{"configMapRef": {"name": "conf"}, "prefix": "P_"}, {"secretRef": {"name": "sec"}}],
                        "env": [
                            {"name": "A", "value": "1"},
                            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "k"}}},
                            {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                        ],
                        "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": True}],
                        "livenessProbe": {"httpGet": {"port": "web", "path": "/ok"}, "periodSeconds": 5},
                        "readinessProbe": {"tcpSocket": {"port": 80}},
                        "startupProbe": {"exec": {"command": ["a", "b"]}},
                    }
                ],
                "volumes": [
                    {"name": "v", "configMap": {"name": "conf"}},
                    {"name": "w", "secret": {"secretName": "sec"}},
                    {"name": "x", "hostPath": {"path": "/x"}},
                    {"name": "y", "emptyDir": {}},
                    {"name": "z", "persistentVolumeClaim": {"claimName": "claim"}},
                ],
            },
        }
    )
    text = describe("", "Pod", pod, ())
    for pattern in (
        r"Status: +Terminating \(since Thu, 01 Jan 2026",
        r"Liveness: +http-get http://:web/ok delay=0s timeout=0s period=5s",
        r"Readiness: +tcp-socket :80 ",
        r"Startup: +exec \[a b\] ",
        r"conf ConfigMap with prefix 'P_'\n +sec Secret\n",
        r"B: +<set to the key 'k' of config map 'conf'>",
        r"C: +\(limits.cpu\)",
        r"/v from v \(ro\)",
        r"ConfigMap\n +Name: +conf",
        r"SecretName: +sec",
        r"Path: +/x",
        r"Type: +EmptyDir",
        r"ClaimName: +claim",
    ):
        assert re.search(pattern, text), f"{pattern}\n{text}"
