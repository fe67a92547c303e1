"""A cluster on this host with IPv6 beside IPv4, and with addresses for its load balancers."""

import asyncio
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1

if TYPE_CHECKING:
    from tests.e2e.cluster.conftest import RealCluster

# Documentation's (RFC 5737, RFC 3849): nobody else has them here.
POOL = "198.51.100.200-198.51.100.209,2001:db8:feed::/124"
HELLO = """
apiVersion: v1
kind: Pod
metadata: {name: hello, labels: {app: hello}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: navarch.dev/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "echo hello > index.html; exec httpd -f -p [::]:8080"]
---
apiVersion: v1
kind: Service
metadata: {name: hello}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  selector: {app: hello}
  ports: [{port: 80, targetPort: 8080}]
"""


def fetch(address: str) -> str:
    host = f"[{address}]" if ":" in address else address
    with urllib.request.urlopen(f"http://{host}/", timeout=5) as answer:
        return str(answer.read().decode())


async def test_services_answer_over_both_versions_of_ip_and_at_addresses_of_the_pool(
    a_cluster: Callable[..., AbstractContextManager["RealCluster"]],
) -> None:
    with a_cluster([f"--load-balancer-pool={POOL}"], dual_stack=True) as cluster:
        client = cluster.connect()
        try:
            cluster.navarch("apply", "-f", "-", stdin=HELLO)
            cluster.navarch("wait", "--for=condition=Ready", "pod/hello", "--timeout=60s")
            async with asyncio.timeout(60):
                while True:
                    service = await client.get(corev1.Service, "hello", "default")
                    slices = (await client.list(discoveryv1.EndpointSlice, "default")).items
                    given = [one.ip for one in service.status.load_balancer.ingress]
                    ready = {
                        one.address_type
                        for one in slices
                        if one.metadata.labels["kubernetes.io/service-name"] == "hello" and one.endpoints
                    }
                    if len(given) == 2 and ready == {"IPv4", "IPv6"}:
                        break
                    await asyncio.sleep(0.05)
            assert given == ["198.51.100.200", "2001:db8:feed::"]
            for address in (*service.spec.cluster_ips, *given):
                await answers(address)
        finally:
            await client.close()
        assert "announcer" in cluster.navarch("status", f"--data-dir={cluster.data_dir}")
        # Nobody lets go of the addresses then but `navarch down`.
        cluster.kill_everything(containers=True)


async def answers(address: str) -> None:
    """Wait for it: rules and addresses follow by and by."""
    failure: OSError | None = None
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await asyncio.to_thread(fetch, address) == "hello\n"
                    return
                except OSError as error:
                    failure = error
                    await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{address}: {failure}") from None
