"""What a container finds around it: variables, names, resolvers, users, limits."""

from pathlib import Path
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.testing.kubelet_lab import Lab


def sleeper(**more: Any) -> dict[str, Any]:
    return {"name": "main", "command": ["sleep", "3600"], **more}


def cannot_be_configured(pod: corev1.Pod) -> bool:
    reasons = [one.state.waiting.reason for one in pod.status.container_statuses]
    return "CreateContainerConfigError" in reasons


async def variables(lab: Lab, name: str) -> dict[str, str]:
    text = await lab.exec(name, "cat", "/proc/1/environ")
    return dict(line.partition("=")[::2] for line in text.split("\0") if line)


async def test_variables_from_everywhere(lab: Lab) -> None:
    await lab.make(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"A": "1", "B": "2"}}
    )
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret"}, "stringData": {"P": "hidden"}}
    await lab.make(secret)
    service: Any = await lab.make(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "my-db"},
            "spec": {"ports": [{"name": "sql", "port": 5432}]},
        }
    )
    limits = {"limits": {"cpu": "1500m", "memory": "64Mi"}}
    env = [
        {"name": "PLAIN", "value": "x"},
        {"name": "BUILT", "value": "$(PLAIN)-$(A)-$$(PLAIN)-$(NOWHERE)"},
        {"name": "FROM_MAP", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "B"}}},
        {"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "P"}}},
        {"name": "ABSENT", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "B", "optional": True}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "COLOR", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['color']"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "MEBI", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]
    sources = [{"configMapRef": {"name": "config"}}, {"prefix": "S_", "secretRef": {"name": "secret"}}]
    await lab.create("told", labels={"color": "red"}, containers=[sleeper(env=env, envFrom=sources, resources=limits)])
    await lab.create("untold", enableServiceLinks=False, containers=[sleeper()])
    pod = await lab.running("told")
    found = await variables(lab, "told")
    expected = {
        "PLAIN": "x",
        "BUILT": "x-1-$(PLAIN)-$(NOWHERE)",
        "FROM_MAP": "2",
        "FROM_SECRET": "hidden",
        "NAME": "told",
        "COLOR": "red",
        "IP": pod.status.pod_ip,
        "CPUS": "2",
        "MEBI": "64",
        "A": "1",
        "S_P": "hidden",
        "MY_DB_SERVICE_HOST": service.spec.cluster_ip,
        "MY_DB_SERVICE_PORT_SQL": "5432",
        "MY_DB_PORT_5432_TCP": f"tcp://{service.spec.cluster_ip}:5432",
    }
    assert {name: found.get(name) for name in expected} == expected
    assert "ABSENT" not in found
    await lab.running("untold")
    untold = await variables(lab, "untold")
    assert "MY_DB_SERVICE_HOST" not in untold
    assert "KUBERNETES_SERVICE_HOST" in untold


async def test_variables_from_a_file_that_an_init_container_has_written(lab: Lab) -> None:
    def variable(name: str, key: str, path: str = "of/a.env", **more: Any) -> dict[str, Any]:
        reference = {"volumeName": "files", "path": path, "key": key, **more}
        return {"name": name, "valueFrom": {"fileKeyRef": reference}}

    async def create(name: str, script: str, *env: dict[str, Any]) -> None:
        mounts = [{"name": "files", "mountPath": "/files"}]
        await lab.create(
            name,
            initContainers=[{"name": "init", "command": ["sh", "-c", script], "volumeMounts": mounts}],
            containers=[sleeper(env=list(env))],
            volumes=[{"name": "files", "emptyDir": {}}],
        )

    write = "mkdir /files/of; printf \"# mine\\nA='1 \\$X'\\nB='two\\nlines'\\n\" > /files/of/a.env"
    absent = variable("NONE", "A", "b.env", optional=True)
    await create("told", write, variable("ONE", "A"), variable("TWO", "B"), absent)
    await create("untold", "true", variable("ONE", "A"))
    # A link of the Pod's does not lead to the node's files.
    await create("stray", "ln -s / /files/of", variable("ONE", "root", "of/etc/passwd"))
    await lab.running("told")
    found = await variables(lab, "told")
    assert (found["ONE"], found["TWO"], "NONE" in found) == ("1 $X", "two\nlines", False)
    for name, words in (("untold", 'key "A" not found in file "of/a.env"'), ("stray", "leads out of")):
        assert words in await lab.event(name, "Failed")
        await lab.when(name, cannot_be_configured)


async def test_names_and_resolvers(lab: Lab) -> None:
    dns = {"nameservers": ["192.0.2.53"], "searches": ["example.com"], "options": [{"name": "ndots", "value": "2"}]}
    await lab.create(
        "named",
        hostname="alpha",
        subdomain="web",
        setHostnameAsFQDN=True,
        hostAliases=[{"ip": "192.0.2.7", "hostnames": ["seven", "sept"]}],
        dnsPolicy="None",
        dnsConfig=dns,
        securityContext={"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "79"}]},
    )
    await lab.create("plain", hostNetwork=True, hostPID=True)
    pod = await lab.running("named")
    fqdn = f"alpha.web.{lab.namespace}.svc.cluster.local"
    assert await lab.exec("named", "hostname") == f"{fqdn}\n"
    hosts = await lab.exec("named", "cat", "/etc/hosts")
    assert f"{pod.status.pod_ip}\t{fqdn}\talpha\n" in hosts
    assert "192.0.2.7\tseven\tsept\n" in hosts
    resolver = (await lab.exec("named", "cat", "/etc/resolv.conf")).splitlines()
    assert sorted(resolver) == ["nameserver 192.0.2.53", "options ndots:2", "search example.com"]
    assert await lab.exec("named", "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start") == "79\n"
    await lab.running("plain")
    host_name = Path("/proc/sys/kernel/hostname").read_text()
    assert await lab.exec("plain", "hostname") == host_name
    assert await lab.exec("plain", "cat", "/proc/1/comm") != "sleep\n"


async def test_resolvers_and_names_beyond_their_limits(lab: Lab, tmp_path: Path) -> None:
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("nameserver 192.0.2.1\nsearch of.the.host.\noptions timeout:1\n")
    lab.kill_kubelet()
    await lab.start_kubelet(f"--resolv-conf={resolver}", "--cluster-dns=192.0.2.10")
    try:
        servers = [f"192.0.2.{number}" for number in (1, 2, 3, 4)]
        searches = [f"s{number}.example" for number in range(32)]
        dns = {"nameservers": servers[1:], "searches": searches}
        await lab.create("full", dnsPolicy="Default", dnsConfig=dns)
        await lab.create("cluster")
        await lab.create("long", hostname="a" * 63, subdomain="web", setHostnameAsFQDN=True)
        await lab.create("named", hostname="b", subdomain="web", hostnameOverride="over.ride.example")
        await lab.running("full")
        told = (await lab.exec("full", "cat", "/etc/resolv.conf")).split("\n")
        assert [line.split()[1] for line in told if line.startswith("nameserver")] == servers[:3]
        applied = ["of.the.host", *searches[:31]]
        assert next(line.split()[1:] for line in told if line.startswith("search")) == applied
        await lab.eventually(lambda: told_all(lab, {servers[2], applied[-1]}))
        await lab.running("cluster")
        text = await lab.exec("cluster", "cat", "/etc/resolv.conf")
        assert f"search {lab.namespace}.svc.cluster.local svc.cluster.local cluster.local of.the.host\n" in text
        assert "nameserver 192.0.2.10\n" in text
        assert "options ndots:5\n" in text
        assert "is too long (64 characters is the max, " in await lab.event("long", "FailedCreatePodSandBox")
        await lab.running("named")
        assert await lab.exec("named", "hostname") == "over.ride.example\n"
    finally:
        lab.kill_kubelet()
        await lab.start_kubelet()


async def told_all(lab: Lab, last_words: set[str]) -> bool:
    """Whether Events of the Pod tell what was left of its resolver, each line to its end."""
    events = [message for reason, message in await lab.events("full") if reason == "DNSConfigForming"]
    return {message.split()[-1] for message in events} == last_words


def status_line(text: str, field: str) -> str:
    return next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(f"{field}:"))


async def test_users_rights_and_limits(lab: Lab) -> None:
    own = {
        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    resources = {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "32Mi"}}
    await lab.create(
        "bound",
        securityContext={"runAsUser": 1000, "runAsGroup": 2000, "supplementalGroups": [3000], "fsGroup": 4000},
        containers=[sleeper(securityContext=own, resources=resources)],
    )
    guaranteed = {"limits": {"cpu": "200m", "memory": "32Mi"}}
    await lab.create("free", containers=[sleeper(securityContext={"privileged": True}, resources=guaranteed)])
    await lab.create(
        "root", containers=[sleeper(securityContext={"runAsNonRoot": True})], securityContext={"runAsUser": 0}
    )
    pod = await lab.running("bound")
    assert pod.status.qos_class == "Burstable"
    assert (await lab.exec("bound", "id", "-u"), await lab.exec("bound", "id", "-g")) == ("1000\n", "2000\n")
    assert set((await lab.exec("bound", "id", "-G")).split()) >= {"2000", "3000", "4000"}
    told = await lab.exec("bound", "cat", "/proc/1/status")
    assert int(status_line(told, "CapBnd"), 16) == 1 << 10
    assert (status_line(told, "NoNewPrivs"), status_line(told, "Seccomp")) == ("1", "2")
    assert "Read-only" in await lab.exec("bound", "sh", "-c", "touch /x 2>&1 || true")
    score = int(await lab.exec("bound", "cat", "/proc/1/oom_score_adj"))
    assert 2 < score < 1000
    pod = await lab.running("free")
    assert pod.status.qos_class == "Guaranteed"
    assert int(status_line(await lab.exec("free", "cat", "/proc/1/status"), "CapEff"), 16) > 1 << 20
    waiting = await lab.when("root", cannot_be_configured)
    assert "runAsNonRoot" in waiting.status.container_statuses[0].state.waiting.message
