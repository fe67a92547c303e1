"""Custom resources on the command line: as any other type, once their definition is there."""

import re

from navarch.services.api.kinds import KINDS

from .conftest import Cli

DEFINITION = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: crontabs.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{plural: crontabs, kind: CronTab, shortNames: [{short}]}}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {{status: {{}}, scale: {{specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}}}
    additionalPrinterColumns:
    - {{name: Spec, type: string, jsonPath: .spec.cronSpec}}
    - {{name: Replicas, type: integer, jsonPath: .spec.replicas}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              cronSpec: {{type: string, minLength: 3}}
              replicas: {{type: integer, default: 1}}
          status: {{type: object, properties: {{replicas: {{type: integer}}}}}}
"""
OBJECT = """\
apiVersion: {group}/v1
kind: CronTab
metadata: {{name: nightly}}
spec: {{cronSpec: "{spec}"}}
"""


def define(cli: Cli, group: str, short: str) -> None:
    cli.apply(DEFINITION.format(group=group, short=short))
    cli("wait", "--for=condition=Established", f"customresourcedefinition/crontabs.{group}").ok()


def test_custom_objects_are_like_any_other(cli: Cli) -> None:
    group = "cli.example.com"
    define(cli, group, "ctc")
    applied = cli.apply(OBJECT.format(group=group, spec="0 3 * * *")).out
    assert applied == f"crontab.{group}/nightly created\n"
    assert "configured" in cli.apply(OBJECT.format(group=group, spec="0 4 * * *")).out
    assert "unchanged" in cli.apply(OBJECT.format(group=group, spec="0 4 * * *")).out
    lines = cli("get", "ctc").ok().out.splitlines()
    assert lines[0].split() == ["NAME", "SPEC", "REPLICAS"]
    assert re.split(r"  +", lines[1].strip()) == ["nightly", "0 4 * * *", "1"]
    shown = cli.json("crontab", "nightly")
    assert shown["kind"] == "CronTab"
    assert shown["spec"] == {"cronSpec": "0 4 * * *", "replicas": 1}
    assert "cronSpec: 0 4 * * *" in cli("get", f"crontabs.{group}/nightly", "-o", "yaml").ok().out
    described = cli("describe", "crontab", "nightly").ok().out
    assert "nightly" in described
    assert "0 4 * * *" in described
    assert "deleted from" in cli("delete", "crontab", "nightly").ok().out
    assert cli("get", "crontab", "nightly").code == 1


def test_mistakes_in_custom_objects_are_told(cli: Cli) -> None:
    group = "wrong.example.com"
    define(cli, group, "ctw")
    short = cli("apply", "-f", cli.file(OBJECT.format(group=group, spec="x")))
    assert short.code == 1
    assert "spec.cronSpec in body should be at least 3 chars long" in short.err
    unknown = OBJECT.format(group=group, spec="0 3 * * *").replace("cronSpec", "cronspec")
    refused = cli("apply", "-f", cli.file(unknown))
    assert refused.code == 1
    assert 'unknown field "spec.cronspec"' in refused.err


def test_a_namespace_takes_its_custom_objects_along(cli: Cli) -> None:
    group = "gone.example.com"
    define(cli, group, "ctg")
    cli.apply(OBJECT.format(group=group, spec="0 3 * * *"))
    cli("delete", "namespace", cli.namespace, namespace="").ok()
    assert cli("get", f"crontabs.{group}", "-A", "-o", "name", namespace="").ok().out == ""


def test_custom_objects_own_and_are_owned(cli: Cli) -> None:
    group = "owner.example.com"
    define(cli, group, "cto")
    cli.apply(OBJECT.format(group=group, spec="0 3 * * *"))
    owner = cli.json("crontab." + group, "nightly")
    uid = owner["metadata"]["uid"]  # type: ignore[index]
    reference = f"[{{apiVersion: {group}/v1, kind: CronTab, name: nightly, uid: {uid}}}]"
    cli.apply(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: owned, ownerReferences: {reference}}}\n")
    dependent = OBJECT.format(group=group, spec="0 5 * * *").replace(
        "{name: nightly}", f"{{name: child, ownerReferences: {reference}}}"
    )
    cli.apply(dependent)
    cli("delete", "crontab." + group, "nightly").ok()
    cli("wait", "--for=delete", "configmap/owned", "--timeout=20s").ok()
    cli("wait", "--for=delete", f"crontab.{group}/child", "--timeout=20s").ok()


def test_a_cluster_is_forgotten_with_the_session(cli: Cli) -> None:
    define(cli, "known.example.com", "ctk")
    cli("get", "ctk").ok()
    assert not [kind for kind in KINDS if kind.is_custom]
