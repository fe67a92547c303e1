"""run, exec, attach, cp, logs, debug, port-forward, proxy: into real containers."""

import re
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.kubectl.conftest import Kubectl

# A terminal gets its size a moment after the program has begun.
SIZE = """tty; until size=$(stty size 2>/dev/null) && [ "$size" ]; do sleep 0.1; done; echo $size; exit 3"""
SERVE = "mkdir -p /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www"


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


@pytest.fixture
def pair(kubectl: "Kubectl") -> "Kubectl":
    """A Pod pair: an init container first, then a and b, of which b is meant when nothing is said."""
    b = {
        "name": "b",
        "command": ["sh", "-c", "echo b1; while read -r line; do echo got $line; done; sleep 1000"],
        "stdin": True,
    }
    a = {"name": "a", "command": ["sh", "-c", "echo a1; echo a2; sleep 1000"]}
    first = {"name": "first", "image": kubectl.latest, "imagePullPolicy": "IfNotPresent", "command": ["echo", "init"]}
    kubectl.pod("pair", a, b, initContainers=[first])
    kubectl("annotate", "pod/pair", "kubectl.kubernetes.io/default-container=b")
    return kubectl


def test_a_terminal(pair: "Kubectl") -> None:
    code, screen = pair.in_terminal("exec", "-it", "pair", "-c", "a", "--", "sh", "-c", SIZE)
    assert screen == "/dev/pts/0\n33 111\ncommand terminated with exit code 3\n"
    assert code == 3
    code, screen = pair.in_terminal(
        "run", "-it", "--rm", "once", *pair.image, "--restart=Never", "--", "sh", "-c", "tty"
    )
    assert code == 0, screen
    assert "/dev/" in screen
    assert 'pod "once" deleted' in screen


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("pair", "--", "sh", "-c", "exit 42"), 42, "command terminated with exit code 42\n"),
        (("pair", "--", "nope"), 1, r'"nope": executable file not found in \$PATH'),
        (("none", "--", "true"), 1, 'Error from server \\(NotFound\\): pods "none" not found'),
        (("pair", "-c", "zz", "--", "true"), 1, r"container zz is not valid for pod pair out of: a, b, first \(init\)"),
        (("deployment/none", "--", "true"), 1, 'deployments.apps "none" not found'),
        (("pair", "-c", "first", "--", "true"), 1, "container not found|is not running|not running"),
    ],
    ids=["exit code", "no program", "no pod", "no container", "no deployment", "ended"],
)
def test_commands_that_fail(pair: "Kubectl", words: tuple[str, ...], code: int, said: str) -> None:
    done = pair.run("exec", *words)
    assert done.returncode == code
    assert re.search(said, done.stderr), done.stderr


def test_which_container(pair: "Kubectl") -> None:
    for words, process in ((("pair",), "read -r"), (("pair", "-c", "a"), "sleep"), (("pod/pair", "-c", "a"), "sleep")):
        assert process in pair("exec", *words, "--", "cat", "/proc/1/cmdline")
    assert pair("exec", "-i", "pair", "--", "cat", stdin="through\n") == "through\n"


def test_logs_of_several_containers(pair: "Kubectl") -> None:
    assert pair("logs", "pair") == "b1\n"
    assert pair("logs", "pair", "-c", "first") == "init\n"
    # kubectl asks for one container after the other, in no order.
    assert sorted(pair("logs", "pair", "--all-containers").split()) == ["a1", "a2", "b1", "init"]
    prefixed = pair("logs", "-l", "app=pair", "--all-containers", "--prefix", "--tail=1")
    assert sorted(prefixed.splitlines()) == ["[pod/pair/a] a2", "[pod/pair/b] b1", "[pod/pair/first] init"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\S+Z b1\n", pair("logs", "pair", "--timestamps"))
    assert pair("logs", "pair", "-c", "a", "--limit-bytes=4") == "a1\na"
    assert pair("logs", "pair", "--since=1h") == pair("logs", "pair", "--since-time=2020-01-01T00:00:00Z") == "b1\n"
    assert pair("logs", "pair", "--since-time=2100-01-01T00:00:00Z") == ""
    assert "container zz is not valid for pod pair" in pair.fails("logs", "pair", "-c", "zz")
    assert 'pods "none" not found' in pair.fails("logs", "none")


def test_logs_as_they_are_written(pair: "Kubectl") -> None:
    with pair.beside("logs", "-f", "pair") as following:
        assert following.stdout.readline() == "b1\n"
        with pair.beside("attach", "-i", "pair") as attached:
            attached.stdin.write("one\n")
            attached.stdin.flush()
            assert following.stdout.readline() == attached.stdout.readline() == "got one\n"


def test_logs_of_what_ran_before(kubectl: "Kubectl") -> None:
    script = "[ -e /d/again ] && echo second && exec sleep 1000; touch /d/again; echo first; exit 4"
    mount = {"name": "main", "command": ["sh", "-c", script], "volumeMounts": [{"name": "d", "mountPath": "/d"}]}
    kubectl.pod("again", mount, volumes=[{"name": "d", "emptyDir": {}}])
    kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/again", "--timeout=60s")
    assert kubectl("logs", "again", "--previous") == "first\n", kubectl("describe", "pod", "again")
    described = kubectl("describe", "pod", "again")
    assert re.search(r"Last State: +Terminated\n +Reason: +Error\n +Exit Code: +4\n", described)
    assert re.search(r"Restart Count: +1\n", described)
    row = kubectl("get", "pod", "again", "--no-headers").split()
    assert row[3] == "1"


def test_logs_of_a_deployment(kubectl: "Kubectl") -> None:
    kubectl.deployment("web", 2, "echo started; exec sleep 1000")
    both = kubectl("logs", "deployment/web", "--all-pods", "--prefix")
    assert sorted(line.split()[1] for line in both.splitlines()) == ["started", "started"]
    one = kubectl.run("logs", "deployment/web")
    assert one.stdout == "started\n"
    assert "Found 2 pods, using pod/web-" in one.stderr
    assert kubectl("exec", "deployment/web", "--", "echo", "hi") == "hi\n"


def test_runs_that_end(kubectl: "Kubectl") -> None:
    space = kubectl.lab.namespace
    failed = kubectl.run("run", "-i", "--rm", "sh", *kubectl.image, "--restart=Never", "--", "sh", "-c", "exit 3")
    assert failed.returncode == 3
    assert f'pod "sh" deleted from {space} namespace' in failed.stdout
    assert f"pod {space}/sh terminated (Error)" in failed.stderr
    assert "not found" in kubectl.fails("get", "pod", "sh")
    words = ("run", "seen", *kubectl.image, "--port=80", "--expose", "--labels=a=b", "--env=X=1", "--", "sleep", "9")
    assert kubectl(*words) == "pod/seen created\nservice/seen created\n"
    assert kubectl.json("service", "seen")["spec"]["selector"] == {"a": "b"}
    assert "Invalid value" in kubectl.fails("run", "NO_", *kubectl.image)
    shown = kubectl("run", "dry", *kubectl.image, "--dry-run=server", "-o", "jsonpath={.spec.containers[*].name}")
    assert shown == "dry"


def test_folders_are_copied(pair: "Kubectl", tmp_path: Path) -> None:
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "file").write_text("text")
    (tmp_path / "out" / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "out" / "run.sh").chmod(0o755)
    pair("cp", str(tmp_path / "out"), "pair:/tmp/in", "-c", "a")
    assert pair("exec", "pair", "-c", "a", "--", "/tmp/in/run.sh") == "ran\n"
    pair("cp", "pair:/tmp/in", "-c", "a", str(tmp_path / "back"))
    assert (tmp_path / "back" / "deep" / "file").read_text() == "text"
    assert "doesn't exist in local filesystem" in pair.fails("cp", str(tmp_path / "none"), "pair:/tmp/x")


def test_ports_of_services_and_deployments(kubectl: "Kubectl") -> None:
    kubectl.deployment("web", 1, SERVE, ports=[{"name": "http", "containerPort": 8080}])
    kubectl("expose", "deployment", "web", "--port=80", "--target-port=http")
    for what, port in (("service/web", "80"), ("deployment/web", "8080"), ("deployment/web", "http")):
        with kubectl.beside("port-forward", "--address=127.0.0.1", what, f":{port}") as forwarding:
            line = forwarding.stdout.readline()
            local = re.fullmatch(r"Forwarding from 127\.0\.0\.1:(\d+) -> 8080\n", line)
            assert local, line
            assert read(f"http://127.0.0.1:{local[1]}/").startswith("web-")
    assert 'pods "none" not found' in kubectl.fails("port-forward", "pod/none", "1:1")
    assert "does not have a service port 81" in kubectl.fails("port-forward", "service/web", ":81")


def test_the_proxy(kubectl: "Kubectl") -> None:
    kubectl.deployment("web", 1, SERVE, ports=[{"name": "http", "containerPort": 8080}])
    kubectl("expose", "deployment", "web", "--port=80", "--target-port=http", "--name=web")
    with kubectl.beside("proxy", "--port=0") as proxy:
        line = proxy.stdout.readline()
        base = f"http://127.0.0.1:{line.split(':')[1].strip()}"
        assert '"gitVersion": "v1.36' in read(f"{base}/version")
        space = f"{base}/api/v1/namespaces/{kubectl.lab.namespace}"
        assert read(f"{space}/services/web:80/proxy/").startswith("web-")
        assert read(f"{space}/services/web/proxy/index.html").startswith("web-")
        pod = kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")
        assert read(f"{space}/pods/{pod}:8080/proxy/") == f"{pod}\n"


def test_debugging_with_a_copy(pair: "Kubectl") -> None:
    pair("debug", "pair", *pair.image, "--copy-to=copy", "--share-processes=false", "-c", "tools", "--", "sleep", "100")
    pair("wait", "--for=condition=Ready", "pod/copy", "--timeout=60s")
    assert pair("get", "pod", "copy", "-o", "jsonpath={.spec.containers[*].name}") == "a b tools"
    assert pair("exec", "copy", "-c", "tools", "--", "echo", "hi") == "hi\n"
    pair("debug", "pair", "--copy-to=other", f"--set-image=*={pair.next}", "--share-processes=false", "--replace")
    assert "not found" in pair.fails("get", "pod", "pair")
    pair("wait", "--for=condition=Ready", "pod/other", "--timeout=60s")
    assert pair("get", "pod", "other", "-o", "jsonpath={.spec.containers[*].image}") == f"{pair.next} {pair.next}"


def test_debugging_in_place(pair: "Kubectl") -> None:
    pair("debug", "pair", *pair.image, "-c", "look", "--target=a", "--profile=general", "--", "sleep", "100")
    pair("wait", "--for=jsonpath={.status.ephemeralContainerStatuses[0].state.running}", "pod/pair", "--timeout=60s")
    assert re.search(r"^ +1 root +sleep 1000$", pair("exec", "pair", "-c", "look", "--", "ps"), re.MULTILINE)
    described = pair("describe", "pod", "pair")
    assert re.search(r"^Ephemeral Containers:\n  look:\n", described, re.MULTILINE)
