"""Bad input: a clear error that names document, object and field; exit code 1; nothing half done; no traceback."""

import os
from pathlib import Path

import pytest

from navarch.cli import session
from navarch.cli.errors import UsageError

from .conftest import Cli

GOOD = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: good}
data: {a: "1"}
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 1
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: main
        image: registry.example/web:1
        resources:
          limits: {cpu: 100m}
"""

# (what is replaced, by what, all of which the message must have)
BROKEN: dict[str, tuple[str, str, list[str]]] = {
    "malformed": ("  replicas: 1", "  replicas: [1", ["manifest.yaml:", "document 1"]),
    "tab": ("  replicas: 1", "\treplicas: 1", ["manifest.yaml:6:1: document 1"]),
    "unknown-kind": ("kind: Deployment", "kind: Deployer", ['"Deployer" in version "apps/v1"', 'Deployer "web"']),
    "unknown-version": ("apps/v1", "apps/v9", ['no matches for kind "Deployment" in version "apps/v9"']),
    "no-kind": ("kind: Deployment\n", "", ["kind"]),
    "unknown-field": (
        "        image:",
        "        imagePullPolice: Never\n        image:",
        ["manifest.yaml:15:", 'Deployment "web"', 'unknown field "spec.template.spec.containers[0].imagePullPolice"'],
    ),
    "duplicate-field": ("  replicas: 1", "  replicas: 1\n  replicas: 2", ["manifest.yaml:7:", "replicas"]),
    "wrong-type": (
        "replicas: 1",
        "replicas: many",
        ["manifest.yaml:6:", 'Deployment "web"', "spec.replicas", "many"],
    ),
    "list-for-object": ("{cpu: 100m}", "[cpu]", ["spec.template.spec.containers[0].resources.limits"]),
    "invalid-quantity": (
        "100m",
        "100 apples",
        ['Deployment "web"', "spec.template.spec.containers[0].resources.limits", "100 apples"],
    ),
    "invalid-name": ("name: web", "name: Web_1", ["document 1", 'Deployment "Web_1"', "metadata.name", "lowercase"]),
    "missing-field": (
        "        image: registry.example/web:1\n",
        "",
        ['Deployment "web"', "spec.template.spec.containers[0].image: Required value"],
    ),
    "no-containers": (
        DEPLOYMENT[DEPLOYMENT.index("      containers:") :],
        "      containers: []\n",
        ["spec.template.spec.containers: Required value"],
    ),
    "selector-does-not-match": (
        "labels: {app: web}",
        "labels: {app: other}",
        ["spec.template.metadata.labels", "`selector` does not match template `labels`"],
    ),
    "negative": ("replicas: 1", "replicas: -1", ["spec.replicas: Invalid value: -1", "greater than or equal to 0"]),
    "too-large-a-number": ("replicas: 1", "replicas: 99999999999999", ["spec.replicas", "99999999999999"]),
}


@pytest.mark.parametrize("verb", ["apply", "create"])
@pytest.mark.parametrize("case", BROKEN)
def test_broken_manifest(cli: Cli, case: str, verb: str) -> None:
    old, new, expected = BROKEN[case]
    text = DEPLOYMENT.replace(old, new, 1)
    assert text != DEPLOYMENT
    result = cli(verb, "-f", cli.file(text))
    assert result.code == 1, result
    assert result.out == ""
    for part in [*expected, "manifest.yaml"]:
        assert part in result.err, result.err
    assert cli("get", "deployments", "-o", "name").ok().out == ""


def test_bad_document_among_good_ones(cli: Cli) -> None:
    second = GOOD.replace("good", "other")
    bad = DEPLOYMENT.replace("replicas: 1", "replica: 1")
    refused = DEPLOYMENT.replace("name: web", "name: web-").replace("apps/v1\n", "apps/v1\n")
    result = cli("apply", "-f", cli.file("---\n".join([GOOD, bad, refused, second])))
    assert result.code == 1
    assert result.out == "configmap/good created\nconfigmap/other created\n"
    unknown, invalid = result.err.splitlines()
    assert "document 2" in unknown
    assert 'Deployment "web"' in unknown
    assert '"spec.replica"' in unknown
    assert "document 3" in invalid
    assert "metadata.name: Invalid value" in invalid


def test_several_faults_are_all_told(cli: Cli) -> None:
    text = DEPLOYMENT.replace("name: main", "name: Main").replace("        image: registry.example/web:1\n", "")
    result = cli("apply", "-f", cli.file(text))
    head, *faults = result.err.splitlines()
    assert head.startswith("Error from server (Invalid): ")
    assert head.endswith('manifest.yaml:1: document 1, Deployment "web" is invalid:')
    assert [fault.partition(": ")[0] for fault in faults] == [
        "* spec.template.spec.containers[0].name",
        "* spec.template.spec.containers[0].image",
    ]


def test_one_faulty_file_of_a_directory(cli: Cli) -> None:
    cli.file(GOOD, "all/a.yaml")
    cli.file("a: [", "all/b.yaml")
    result = cli("apply", "-f", str(cli.directory / "all"))
    assert (result.code, result.out) == (1, "configmap/good created\n")
    assert "b.yaml:" in result.err


def test_immutable_field(cli: Cli) -> None:
    cli.apply(DEPLOYMENT)
    changed = DEPLOYMENT.replace("{app: web}", "{app: changed}")
    result = cli("apply", "-f", cli.file(changed))
    assert result.code == 1
    assert 'Deployment "web"' in result.err
    assert "spec.selector: Invalid value" in result.err
    assert "field is immutable" in result.err
    assert cli("get", "deploy/web", "-o", "jsonpath={.spec.selector.matchLabels.app}").out == "web"


def test_immutable_field_of_a_pod(cli: Cli) -> None:
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: one}\nspec: {containers: [{name: c, image: a}]}\n"
    cli.apply(pod)
    result = cli("apply", "-f", cli.file(pod.replace("name: c", "name: d")))
    assert result.code == 1
    assert "spec" in result.err
    assert "Forbidden" in result.err


def test_stale_resource_version(cli: Cli) -> None:
    cli.apply(GOOD)
    old = cli("get", "cm/good", "-o", "yaml").ok().out
    cli.apply(GOOD.replace('"1"', '"2"'))
    result = cli("apply", "-f", cli.file(old.replace("'1'", "'3'").replace('"1"', '"3"')))
    assert result.code == 1
    assert "Error from server (Conflict)" in result.err
    assert 'configmaps "good"' in result.err
    assert "the object has been modified" in result.err
    assert cli("get", "cm/good", "-o", "jsonpath={.data.a}").out == "2"


def test_duplicate_create(cli: Cli) -> None:
    path = cli.file(GOOD)
    cli("create", "-f", path).ok()
    result = cli("create", "-f", path)
    assert result.code == 1
    assert "Error from server (AlreadyExists)" in result.err
    assert 'configmaps "good" already exists' in result.err


@pytest.mark.parametrize("verb", ["apply", "create"])
def test_object_of_three_mebibytes(cli: Cli, verb: str) -> None:
    lines = "".join(f"  key{number}: {'x' * 1000}\n" for number in range(3 << 10))
    result = cli(verb, "-f", cli.file(GOOD.replace('data: {a: "1"}\n', f"data:\n{lines}")))
    assert result.code == 1
    assert 'ConfigMap "good"' in result.err
    assert "Too long" in result.err or "too large" in result.err
    assert len(result.err) < 2000
    assert cli("get", "cm/good").code == 1


@pytest.mark.parametrize("content", ["", "---\n---\n", "# nothing\n"])
def test_no_object_in_a_file(cli: Cli, content: str) -> None:
    result = cli("apply", "-f", cli.file(content))
    assert result.code == 1
    assert "no objects" in result.err


@pytest.mark.parametrize("content", ["just text", "[1, 2]", "42", "{}", "a: b", "kind: Pod", '{"kind": 1}'])
def test_something_else_in_a_file(cli: Cli, content: str) -> None:
    result = cli("apply", "-f", cli.file(content))
    assert result.code == 1
    assert "manifest.yaml:1:" in result.err
    assert "document 1" in result.err


def test_bytes_that_are_no_text(cli: Cli) -> None:
    result = cli("apply", "-f", "-", stdin=b"\xff\xfe\x00\x01")
    assert result.code == 1
    assert "UTF-8" in result.err


def test_unreadable_files(cli: Cli) -> None:
    assert "No such file or directory" in cli("apply", "-f", str(cli.directory / "none.yaml")).err
    empty = cli.directory / "empty"
    empty.mkdir()
    assert "no .yaml, .yml or .json files" in cli("apply", "-f", str(empty)).err
    both = cli("apply", "-f", str(cli.directory / "none.yaml"), "-f", cli.file(GOOD))
    assert (both.code, both.out) == (1, "configmap/good created\n")
    if os.geteuid():
        secret = Path(cli.file(GOOD, "secret.yaml"))
        secret.chmod(0)
        assert "Permission denied" in cli("apply", "-f", str(secret)).err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["apply"], 1, "name a file, a directory or - with -f"),
        (["frobnicate"], 2, "No such command"),
        (["get", "pods", "--frobnicate"], 2, "No such option: --frobnicate"),
        (["get", "pods", "--namespace"], 2, "requires an argument"),
        (["apply", "-f", "x.yaml", "--dry-run=maybe"], 1, "accepted are none, client, server"),
        (["delete", "pod", "x", "--grace-period=soon"], 2, "--grace-period"),
        (["rollout", "status", "deploy/x", "--timeout=soon"], 1, "is not a duration"),
        (["rollout", "frobnicate"], 2, "No such command"),
        (["scale", "deploy/x", "--replicas=lots"], 2, "--replicas"),
        (["logs", "x", "--tail=many"], 2, "--tail"),
        (["delete"], 1, "name what you mean"),
        (["delete", "pod", "x", "-f", "y.yaml"], 1, "not both"),
        (["describe", "pod", "x", "-l", "a=b"], 1, "exclude each other"),
        (["get", "pods", "-n", "Not_A_Namespace"], 0, "No resources found"),
    ],
)
def test_bad_command_line(cli: Cli, words: list[str], code: int, message: str) -> None:
    result = cli(*words)
    assert (result.code, message in result.err) == (code, True), result.err


class TestWithoutCluster:
    """What the command line says when there is no cluster to talk to."""

    def test_nothing_configured(self, cli: Cli) -> None:
        cli.monkeypatch.delenv("KUBECONFIG", raising=False)
        cli.monkeypatch.setattr(session, "default_data_dir", lambda: cli.directory)
        with pytest.raises(UsageError, match=r"no cluster found: .*/admin\.kubeconfig does not exist.* navarch up$"):
            session.find_kubeconfig(None)

    def test_kubeconfig_that_does_not_exist(self, cli: Cli) -> None:
        code, err = bare(cli, "get", "pods", "--kubeconfig", "/nonexistent/config")
        assert (code, "/nonexistent/config" in err, "No such file" in err) == (1, True, True)
        code, err = bare(cli, "get", "pods", KUBECONFIG="/nonexistent/config")
        assert (code, "$KUBECONFIG names /nonexistent/config" in err) == (1, True)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "incomplete"),
            ("a: [", "is not YAML"),
            ("apiVersion: v1\nkind: Config\n", "'current-context' is missing"),
            ("current-context: x\ncontexts: []\n", "no entry 'x' in contexts"),
            ("current-context: x\ncontexts: 5\n", "incomplete"),
        ],
    )
    def test_kubeconfig_that_is_none(self, cli: Cli, content: str, message: str) -> None:
        code, err = bare(cli, "get", "pods", "--kubeconfig", cli.file(content, "config"))
        assert code == 1
        assert message in err
        assert "config" in err

    def test_nobody_listens(self, cli: Cli) -> None:
        config = cli.kubeconfig.read_text()
        address = config.partition("address: ")[2].splitlines()[0]
        path = cli.file(config.replace(address, "127.0.0.1:1"), "config")
        code, err = bare(cli, "get", "pods", "--kubeconfig", path)
        assert code == 1
        assert "the API server at 127.0.0.1:1 does not answer" in err
        assert "navarch status" in err

    def test_certificate_of_another_cluster(self, cli: Cli) -> None:
        from navarch.services.base.kubeconfig import load_kubeconfig, write_kubeconfig
        from navarch.services.base.tls import CertificateAuthority

        address = load_kubeconfig(cli.kubeconfig).address
        stranger = CertificateAuthority.create("other", 1_700_000_000).issue("me", now=1_700_000_000)
        path = cli.directory / "config"
        write_kubeconfig(path, "https://127.0.0.1:1", stranger, grpc_address=address)
        code, err = bare(cli, "get", "pods", "--kubeconfig", str(path))
        assert code == 1
        assert f"the API server at {address} does not answer" in err


def bare(cli: Cli, *words: str, **environment: str) -> tuple[int, str]:
    """Exit code and error text of a process without this test's kubeconfig."""
    result = cli.process(*words, environment=environment)
    return result.code, result.err
