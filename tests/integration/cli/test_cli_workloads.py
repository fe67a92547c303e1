"""The verbs around running things: scale, rollout, wait, delete, logs, exec, describe, events, nodes."""

import json
import re

import pytest

from .conftest import Cli

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: "registry.example/web:1"}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""
POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{app: {name}}}
  annotations: {annotations}
spec:
  terminationGracePeriodSeconds: {grace}
  initContainers: [{{name: prepare, image: "registry.example/prepare:1"}}]
  containers:
  - name: main
    image: registry.example/web:1
    command: [serve, --all]
    env: [{{name: KEY, valueFrom: {{secretKeyRef: {{name: token, key: k, optional: true}}}}}}]
  - {{name: side, image: "registry.example/side:1"}}
"""


def pod(name: str, grace: int = 0, **annotations: str) -> str:
    quoted = {f"simulated.navarch.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    prepared = {"simulated.navarch.dev/exit-after-seconds.prepare": "0", **quoted}
    return POD.format(name=name, grace=grace, annotations=json.dumps(prepared))


@pytest.fixture
def web(cli: Cli) -> Cli:
    cli.apply(DEPLOYMENT)
    cli("rollout", "status", "deployment/web", "--timeout", "60s").ok()
    return cli


@pytest.fixture
def one(cli: Cli) -> Cli:
    cli.apply(pod("one", log="line 1\nline 2\nline 3"))
    cli("wait", "--for=condition=Ready", "pod/one").ok()
    return cli


def replicas(cli: Cli) -> str:
    return cli("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}").ok().out


def test_scale(web: Cli) -> None:
    assert web("scale", "deploy/web", "--replicas=4").ok().out == "deployment.apps/web scaled\n"
    assert web("scale", "deployment", "web", "--replicas=1", "--current-replicas=4").ok()
    assert replicas(web) == "1"
    refused = web("scale", "deploy/web", "--replicas=2", "--current-replicas=4")
    assert (refused.code, replicas(web)) == (1, "1")
    assert "has 1 replicas, not 4" in refused.err
    assert "cannot be scaled" in web("scale", "service/web", "--replicas=2").err
    assert "which deployments?" in web("scale", "deploy", "--replicas=2").err
    assert web("scale", "deploy/nosuch", "--replicas=2").code == 1
    assert web("scale", "deploy/web").code == 2
    assert web("scale", "deploy/web", "--replicas=-1").code == 2


def test_rollout_history_undo_and_status(web: Cli) -> None:
    web.apply(DEPLOYMENT.replace("web:1", "web:2"))
    status = web("rollout", "status", "deploy", "web", "--timeout=60s").ok()
    assert status.out.endswith('deployment "web" successfully rolled out\n')
    history = web("rollout", "history", "deploy/web").ok().out.splitlines()
    assert history[0] == "deployment.apps/web"
    assert [line.split()[0] for line in history[1:]] == ["REVISION", "1", "2"]
    assert "registry.example/web:1" in web("rollout", "history", "deploy/web", "--revision=1").ok().out
    assert "it has 1, 2" in web("rollout", "history", "deploy/web", "--revision=7").err
    assert web("rollout", "undo", "deploy/web").ok().out == "deployment.apps/web rolled back\n"
    web("rollout", "status", "deploy/web", "--timeout=60s").ok()
    web("wait", "--for=jsonpath={.status.replicas}=2", "deploy/web").ok()
    used = "jsonpath={.items[?(@.spec.replicas>0)].spec.template.spec.containers[0].image}"
    assert web("get", "rs", "-o", used).ok().out == "registry.example/web:1"
    assert "current template already matches" in web("rollout", "undo", "deploy/web", "--to-revision=3").ok().out
    assert web("rollout", "undo", "deploy/web", "--to-revision=9").code == 1


def test_pause_resume_restart(web: Cli) -> None:
    assert web("rollout", "pause", "deploy/web").ok().out == "deployment.apps/web paused\n"
    assert "is already paused" in web("rollout", "pause", "deploy/web").err
    assert "resume it first" in web("rollout", "undo", "deploy/web").err
    assert "resume it first" in web("rollout", "restart", "deploy/web").err
    assert web("rollout", "resume", "web").ok().out == "deployment.apps/web resumed\n"
    assert "is not paused" in web("rollout", "resume", "web").err
    before = web("get", "pods", "-l", "app=web", "-o", "name").out
    assert web("rollout", "restart", "deploy/web").ok().out == "deployment.apps/web restarted\n"
    web("rollout", "status", "deploy/web", "--timeout=60s").ok()
    after = web("get", "pods", "-l", "app=web", "-o", "name").out
    assert before != after


def test_rollout_status_waits_for_a_change_and_gives_up(cli: Cli) -> None:
    cli.apply(DEPLOYMENT.replace("terminationGrace", "nodeSelector: {no: such}\n      terminationGrace"))
    cli("wait", "--for=jsonpath={.status.updatedReplicas}=2", "deploy/web").ok()
    assert "0 of 2 updated replicas are available" in cli("rollout", "status", "deploy/web", "--no-watch").ok().out
    late = cli("rollout", "status", "deploy/web", "--timeout=200ms")
    assert late.code == 1
    assert f"navarch describe deployment.apps/web -n {cli.namespace}" in late.err
    assert "not served yet" in cli("rollout", "status", "rs/web").err
    assert cli("rollout", "status", "deploy/nosuch").code == 1


def test_wait(one: Cli) -> None:
    assert one("wait", "--for=condition=Ready", "pod/one").ok().out == "pod/one condition met\n"
    assert one("wait", "--for=condition=ready=true", "pods", "--all").ok()
    assert one("wait", "--for=jsonpath={.status.phase}=Running", "pod", "-l", "app=one").ok()
    assert one("wait", "--for=jsonpath={.status.podIP}", "pod/one").ok()
    assert one("wait", "--for=create", "pod/one").ok()
    assert one("wait", "--for=jsonpath={.status.conditions[?(@.type=='Ready')].status}=True", "pod/one").ok()
    assert one("wait", "--for=condition=Ready", "pod/one", "--timeout=0").ok()


@pytest.mark.parametrize("timeout", ["0", "100ms"])
def test_wait_times_out(one: Cli, timeout: str) -> None:
    for condition in ("condition=Ready=false", "delete", "jsonpath={.status.phase}=Failed", "condition=NoSuch"):
        late = one("wait", f"--for={condition}", "pod/one", "--timeout", timeout)
        assert (late.code, late.err) == (1, "error: timed out waiting for the condition on pods/one\n")


def test_wait_refuses(one: Cli) -> None:
    assert 'pods "two" not found' in one("wait", "--for=condition=Ready", "pod/two").err
    assert "no matching resources found" in one("wait", "--for=condition=Ready", "pod", "-l", "a=b").err
    assert "accepted are condition=NAME" in one("wait", "--for=ready", "pod/one").err
    assert "which pods?" in one("wait", "--for=delete", "pods").err
    assert "is not a duration" in one("wait", "--for=delete", "pod/one", "--timeout=soon").err
    # A kind without conditions has none that could be met.
    assert one("wait", "--for=condition=Ready", "cm/kube-root-ca.crt", "--timeout=0").code == 1
    assert one("wait", "pod/one").code == 2


def test_wait_for_deletion_and_creation(one: Cli) -> None:
    with one.start("wait", "--for=delete", "pod/one", "--timeout=30s") as gone:
        with one.start("wait", "--for=create", "cm/later", "--timeout=30s") as made:
            one("delete", "pod", "one").ok()
            one.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: later}\n")
            made.until(lambda line: line == "configmap/later condition met")
        gone.until(lambda line: line == "pod/one condition met")


def test_delete(one: Cli) -> None:
    result = one("delete", "pod", "one", "two")
    assert result.code == 1
    assert result.out == f'pod "one" deleted from {one.namespace} namespace\n'
    assert 'pods "two" not found' in result.err
    assert one("get", "pods", "-o", "name").out == ""
    assert one("delete", "pod/one", "--ignore-not-found").ok().out == ""


def test_delete_selected(cli: Cli) -> None:
    maps = "".join(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{of: {of}}}}}\n---\n"
        for name, of in (("a", "first"), ("b", "first"), ("c", "second"), ("d", "third"))
    )
    cli.apply(maps)
    assert cli("delete", "cm", "-l", "of=first").ok().out.count("deleted") == 2
    assert "which configmaps?" in cli("delete", "cm").err
    assert cli("delete", "cm", "--field-selector", "metadata.name=c").ok().out.count("deleted") == 1
    assert '"d" deleted' in cli("delete", "cm", "--all").ok().out
    assert cli("delete", "cm", "-l", "of=first").ok().err == "No resources found\n"
    path = cli.file(maps)
    cli("apply", "-f", path).ok()
    assert cli("delete", "-f", path).ok().out.count("deleted") == 4
    assert cli("delete", "-f", path).code == 1
    assert "accepted are background" in cli("delete", "cm/a", "--cascade=up").err


def test_delete_waits_unless_told_otherwise(cli: Cli) -> None:
    cli.apply(pod("slow", grace=60, ignore_sigterm="true"))
    cli("wait", "--for=condition=Ready", "pod/slow").ok()
    cli("delete", "pod/slow", "--wait=false").ok()
    assert "Terminating" in cli("get", "pod", "slow").ok().out
    late = cli("delete", "pod/slow", "--timeout=100ms")
    assert late.code == 1
    assert "timed out after 0.1 s" in late.err
    forced = cli("delete", "pod/slow", "--force").ok()
    assert "force deleted" in forced.out
    assert "Warning: a forced deletion" in forced.err
    assert cli("get", "pod", "slow").code == 1


def test_delete_leaves_or_takes_dependents(web: Cli) -> None:
    web("delete", "deploy/web", "--cascade=orphan").ok()
    orphan = web("get", "rs", "-o", "name").ok().out.strip()
    assert orphan
    assert web("delete", orphan, "--cascade=foreground").ok()
    assert web("get", "pods", "-o", "name").ok().out == ""


def test_logs(one: Cli) -> None:
    plain = one("logs", "one").ok()
    assert plain.out.endswith("line 3\n")
    assert 'Defaulted container "main" out of: prepare, main, side' in plain.err
    assert one("logs", "pod/one", "-c", "side", "--tail=1").ok().out == "line 3\n"
    assert one("logs", "one", "side", "--tail", "1").ok().out == "line 3\n"
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z line 1\n", one("logs", "one", "-c", "main", "--timestamps").ok().out)
    prefixed = one("logs", "-l", "app=one", "--all-containers", "--prefix").ok().out
    assert "[pod/one/prepare] line 1\n" in prefixed
    assert "[pod/one/side] line 3\n" in prefixed
    assert (
        "container nosuch is not valid for pod one; it has prepare, main, side"
        in one("logs", "one", "-c", "nosuch").err
    )
    assert one("logs", "one", "--since=1h").ok().out == plain.out
    assert "is not a duration" in one("logs", "one", "--since=yesterday").err
    assert "whose logs?" in one("logs").err
    assert 'pods "two" not found' in one("logs", "two").err
    assert "has no Pods of its own" in one("logs", "cm/kube-root-ca.crt").err
    missing = one("logs", "one", "-c", "main", "--previous")
    assert missing.code == 1
    assert "previous terminated container" in missing.err


def test_logs_of_a_deployment(web: Cli) -> None:
    found = web("logs", "deploy/web").ok()
    assert re.match(r"Found 2 pods, using pod/web-\S+\n", found.err)
    assert found.out == "main: simulated, no process runs\n"
    assert web("logs", "svc/web").ok().out == found.out
    assert web("logs", "deploy/web", "--all-pods").ok().out.count("[pod/web-") == 2


def test_logs_follow_until_the_container_ends(cli: Cli) -> None:
    cli.apply(pod("brief", exit_after_seconds="1").replace("spec:", "spec:\n  restartPolicy: Never", 1))
    cli("wait", "--for=jsonpath={.status.phase}=Running", "pod/brief").ok()
    assert "simulated" in cli("logs", "-f", "brief", "-c", "main").ok().out
    cli("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/brief").ok()


def test_previous_logs(cli: Cli) -> None:
    cli.apply(pod("again", **{"exit_after_seconds.main": "0.1", "exit_code.main": "1"}))
    cli("wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/again").ok()
    assert cli("logs", "again", "-c", "main", "--previous").ok().out == "main: simulated, no process runs\n"


def test_exec(one: Cli) -> None:
    assert one("exec", "one", "-c", "main", "--", "ls", "-l").ok().out == "ls -l\n"
    assert (
        one.process("exec", "pod/one", "-it", "-c", "side", "--", "sh", "-c", "echo $X").ok().out == "sh -c 'echo $X'\n"
    )
    failed = one("exec", "one", "--", "exit", "3")
    assert failed.code == 3
    assert failed.err.endswith("command terminated with exit code 3\n")
    assert "which command?" in one("exec", "one").err
    assert "is not valid for pod one" in one("exec", "one", "-c", "x", "--", "ls").err
    assert 'pods "two" not found' in one("exec", "two", "--", "ls").err


def test_exec_passes_input_on(one: Cli) -> None:
    result = one.process("exec", "-i", "one", "-c", "main", "--", "cat", input="some\ninput\n").ok()
    assert result.out == "cat\nsome\ninput\n"
    assert one.process("exec", "-i", "one", "-c", "main", "--", "cat").ok().out == "cat\n"


def test_describe(web: Cli) -> None:
    web.apply(pod("one"))
    web("wait", "--for=condition=Ready", "pod/one").ok()
    text = web("describe", "pod", "one").ok().out
    for pattern in (
        r"Name: +one\n",
        r"Node: +node-[12]/127.0.0.1\n",
        r"Status: +Running\n",
        r"Init Containers:\n  prepare:\n",
        r"State: +Terminated\n +Reason: +Completed\n",
        r"Command:\n +serve\n +--all\n",
        r"KEY: +<set to the key 'k' in secret 'token'>",
        r"Conditions:\n",
        r"QoS Class: +BestEffort\n",
        r"Normal +Scheduled +\S+ +default-scheduler +Successfully assigned",
    ):
        assert re.search(pattern, text), f"{pattern}\n{text}"
    deployment = web("describe", "deploy/we").ok().out
    assert re.search(r"NewReplicaSet: +web-\w+ \(2/2 replicas created\)", deployment)
    assert re.search(r"Replicas: +2 desired \| 2 updated \| 2 total \| 2 available \| 0 unavailable", deployment)
    assert "last-applied" not in deployment
    assert re.search(r"Endpoints: +10\.244\.\d\.\d+:8080, 10\.244", web("describe", "svc", "web").ok().out)
    assert re.search(r"Controlled By: +Deployment/web", web("describe", "rs", "-l", "app=web").ok().out)
    node = web("describe", "node", "node-1").ok().out
    assert re.search(r"Ready +True +KubeletReady", node)
    assert "Non-terminated Pods (" in node
    assert re.search(r"Kind: +Namespace\n", web("describe", "ns", web.namespace).ok().out)
    missing = web("describe", "pod", "nosuch", "one")
    assert missing.code == 1
    assert "Name:" in missing.out
    assert 'pods "nosuch" not found' in missing.err


def test_describe_tells_why_a_pod_does_not_run(cli: Cli) -> None:
    cli.apply(pod("lost", pull_error="manifest unknown").replace("registry.example/", "lost.example/"))
    condition = "jsonpath={.status.initContainerStatuses[0].state.waiting.reason}=ImagePullBackOff"
    cli("wait", f"--for={condition}", "pod/lost").ok()
    text = cli("describe", "pod/lost").ok().out
    assert re.search(r"State: +Waiting\n +Reason: +ImagePullBackOff\n", text)
    assert "manifest unknown" in text


def test_describe_keeps_secrets(cli: Cli) -> None:
    cli.apply(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: token}\nstringData: {k: hidden}\n---\n"
        'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: text}\ndata: {poem: "roses\\nviolets"}\n'
    )
    secret = cli("describe", "secret", "token").ok().out
    assert re.search(r"k: +6 bytes", secret)
    assert "hidden" not in secret
    assert "  poem:\n    roses\n    violets\n" in cli("describe", "cm", "text").ok().out


def test_events(one: Cli) -> None:
    lines = one("events").ok().out.splitlines()
    assert lines[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert any("Scheduled" in line for line in lines)
    only = one("events", "--for", "pod/one", "--types=Normal").ok().out
    assert "pod/one" in only
    assert one("events", "--for", "pod/other").ok().err == f"No events found in {one.namespace} namespace.\n"
    assert "accepted are Normal, Warning" in one("events", "--types=Bad").err
    with one.start("events", "-w", "--for=pod/next") as following:
        one.apply(pod("next"))
        following.until(lambda line: "Started" in line)


def test_cordon_and_drain(cli: Cli) -> None:
    node = "node-2"
    pinned = DEPLOYMENT.replace(
        "terminationGrace", f"nodeSelector: {{kubernetes.io/hostname: {node}}}\n      terminationGrace"
    )
    try:
        cli.apply(pinned)
        cli("rollout", "status", "deploy/web", "--timeout=60s").ok()
        assert cli("cordon", node, namespace="").ok().out == f"node/{node} cordoned\n"
        assert cli("cordon", f"node/{node}", namespace="").ok().out == f"node/{node} already cordoned\n"
        assert "SchedulingDisabled" in cli("get", "node", node).ok().out
        cli.apply(
            pod("bare").replace("spec:", f"spec:\n  nodeName: {node}\n  volumes: [{{name: v, emptyDir: {{}}}}]", 1)
        )
        refused = cli("drain", node, namespace="")
        assert refused.code == 1
        assert f"{cli.namespace}/bare has no controller that makes it anew (--force)" in refused.err
        assert "--delete-emptydir-data" in cli("drain", node, "--force", namespace="").err
        drained = cli("drain", node, "--force", "--delete-emptydir-data", "--timeout=60s", namespace="").ok()
        assert f"evicting pod {cli.namespace}/bare\n" in drained.out
        assert drained.out.endswith(f"node/{node} drained\n")
        assert cli("get", "pods", "-o", "name", "--field-selector", f"spec.nodeName={node}").ok().out == ""
    finally:
        cli("uncordon", node, namespace="").ok()
    assert (
        cli("uncordon", "-l", f"kubernetes.io/hostname={node}", namespace="").ok().out
        == f"node/{node} already uncordoned\n"
    )
    assert 'nodes "nosuch" not found' in cli("cordon", "nosuch", namespace="").err
    assert "which node?" in cli("drain", namespace="").err
    assert "is not a node" in cli("cordon", "pod/x", namespace="").err


def test_version_and_help(cli: Cli) -> None:
    assert "Kubernetes API v1.36" in cli.process("version", environment={}).ok().out
    assert "Show objects." in cli("get", "--help", namespace="").ok().out
    overview = cli.process("--help", environment={}).ok().out
    assert all(verb in overview for verb in ("apply", "rollout", "drain", "image"))
