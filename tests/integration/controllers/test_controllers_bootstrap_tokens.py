"""Bootstrap tokens in a cluster: they end, and sign cluster-info meanwhile."""

import time
from datetime import UTC, datetime
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.controller_manager.bootstrap_tokens.plan import Token, signature

SECRET = "0123456789abcdef"


async def make_token(cluster: Any, token_id: str, ends_in_s: float) -> None:
    secret = corev1.Secret(type="bootstrap.kubernetes.io/token")
    secret.metadata.name, secret.metadata.namespace = f"bootstrap-token-{token_id}", "kube-system"
    expiration = datetime.fromtimestamp(time.time() + ends_in_s, UTC).isoformat()
    data = {"token-id": token_id, "token-secret": SECRET, "usage-bootstrap-signing": "true", "expiration": expiration}
    for key, value in data.items():
        secret.data[key] = value.encode()
    await cluster.client.create(secret)


async def signers(cluster: Any) -> dict[str, str]:
    info = await cluster.client.get(corev1.ConfigMap, "cluster-info", "kube-public")
    return {key: value for key, value in info.data.items() if key != "kubeconfig"}


async def test_tokens_sign_cluster_info_until_they_end(cluster: Any) -> None:
    info = corev1.ConfigMap(data={"kubeconfig": "content"})
    info.metadata.name, info.metadata.namespace = "cluster-info", "kube-public"
    await cluster.client.create(info)
    await make_token(cluster, "aaaaaa", 3600)
    await make_token(cluster, "bbbbbb", 1)

    async def ended() -> bool:
        names = {one.metadata.name for one in (await cluster.client.list(corev1.Secret, "kube-system")).items}
        return "bootstrap-token-bbbbbb" not in names and "bootstrap-token-aaaaaa" in names

    await cluster.until(ended)
    wanted = {"jws-kubeconfig-aaaaaa": signature("content", Token("aaaaaa", SECRET))}

    async def signed() -> bool:
        return await signers(cluster) == wanted

    await cluster.until(signed)
    await cluster.client.delete(corev1.Secret, "bootstrap-token-aaaaaa", "kube-system")

    async def unsigned() -> bool:
        return not await signers(cluster)

    await cluster.until(unsigned)
