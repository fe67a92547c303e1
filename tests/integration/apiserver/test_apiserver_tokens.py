"""Service account tokens: requested, shown at both doors, reviewed, and dead with what they are bound to."""

import asyncio
import base64
import json
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import jwt
import pytest

from navarch.protos.k8s.authentication import v1_pb2 as authenticationv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import objects_pb2, objects_pb2_grpc
from navarch.services.api import errors, rpc_status
from navarch.services.base.kubeconfig import write_kubeconfig
from navarch.services.base.tls_context import client_context

KUBECTL = Path(__file__).parents[3] / ".venv/bin/kubectl"
ISSUER = "https://kubernetes.default.svc.cluster.local"
TOKEN_PATH = "/api/v1/namespaces/default/serviceaccounts/robot/token"
TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


class Rest:
    """The Kubernetes door, with or without a certificate."""

    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        self.base = base
        self.session = session

    async def call(self, method: str, path: str, body: Any = None, token: str = "", **headers: str) -> tuple[int, Any]:
        if token:
            headers["Authorization"] = f"Bearer {token}"
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, self.base + path, json=body, headers=headers) as answer:
            data = await answer.read()
            is_json = answer.content_type.endswith("json")
            return answer.status, json.loads(data) if is_json else data.decode()


def tls_of(cluster: Any, user: str = "", *groups: str) -> ssl.SSLContext:
    if user:
        return client_context(cluster.credentials(user, *groups))
    return ssl.create_default_context(cadata=cluster.authority.cert_pem.decode())


@pytest.fixture
async def admin(cluster: Any) -> AsyncIterator[Rest]:
    connector = aiohttp.TCPConnector(ssl=tls_of(cluster, "kubernetes-admin", "system:masters"))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Rest(f"https://127.0.0.1:{cluster.server.rest_port}", session)


@pytest.fixture
async def nobody(cluster: Any) -> AsyncIterator[Rest]:
    """Without a certificate."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls_of(cluster))) as session:
        yield Rest(f"https://127.0.0.1:{cluster.server.rest_port}", session)


@pytest.fixture
async def robot(cluster: Any) -> corev1.ServiceAccount:
    account = corev1.ServiceAccount()
    account.metadata.name, account.metadata.namespace = "robot", "default"
    made: corev1.ServiceAccount = await cluster.client.create(account)
    return made


async def token_of(admin: Rest, **spec: Any) -> str:
    status, answer = await admin.call("POST", TOKEN_PATH, {"spec": spec})
    assert status == 201, answer
    token: str = answer["status"]["token"]
    return token


async def test_a_token_says_what_kubernetes_tokens_say(admin: Rest, robot: corev1.ServiceAccount) -> None:
    status, answer = await admin.call("POST", TOKEN_PATH, {"spec": {"expirationSeconds": 1200}})
    assert status == 201
    assert (answer["kind"], answer["apiVersion"]) == ("TokenRequest", "authentication.k8s.io/v1")
    assert answer["spec"]["audiences"] == [ISSUER]
    claims = jwt.decode(answer["status"]["token"], options={"verify_signature": False})
    assert claims["sub"] == "system:serviceaccount:default:robot"
    assert claims["iss"] == ISSUER
    assert claims["aud"] == [ISSUER]
    assert claims["exp"] - claims["iat"] == 1200
    assert claims["kubernetes.io"] == {
        "namespace": "default",
        "serviceaccount": {"name": "robot", "uid": robot.metadata.uid},
    }


async def test_the_keys_are_published(admin: Rest, robot: corev1.ServiceAccount) -> None:
    token = await token_of(admin)
    status, about = await admin.call("GET", "/.well-known/openid-configuration")
    assert status == 200
    assert about["issuer"] == ISSUER
    assert about["jwks_uri"].endswith("/openid/v1/jwks")
    status, keys = await admin.call("GET", "/openid/v1/jwks")
    key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key, algorithms=["ES256"], audience=ISSUER)


async def test_a_token_is_a_user_at_both_doors(
    cluster: Any, admin: Rest, nobody: Rest, robot: corev1.ServiceAccount
) -> None:
    token = await token_of(admin)
    status, answer = await nobody.call("GET", "/api/v1/namespaces/default/pods", token=token)
    assert status == 403
    robots = 'User "system:serviceaccount:default:robot" cannot list resource "pods"'
    assert answer["message"] == f'pods is forbidden: {robots} in API group "" in the namespace "default"'
    body = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    status, answer = await nobody.call("POST", path, body, token)
    assert status == 201
    user = answer["status"]["userInfo"]
    assert (user["username"], user["uid"]) == ("system:serviceaccount:default:robot", robot.metadata.uid)
    assert user["groups"] == ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]
    assert user["extra"]["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")
    assert (await nobody.call("GET", "/openid/v1/jwks", token=token))[0] == 200
    tls = grpc.ssl_channel_credentials(cluster.authority.cert_pem)
    async with grpc.aio.secure_channel(cluster.address, tls) as channel:
        pods = objects_pb2.ListRequest(resource=objects_pb2.Resource(version="v1", resource="pods"))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await objects_pb2_grpc.ObjectsStub(channel).List(pods, metadata=[("authorization", f"Bearer {token}")])
        assert robots in (refused.value.details() or "")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await objects_pb2_grpc.ObjectsStub(channel).List(pods, metadata=[("authorization", "Bearer nonsense")])
        assert isinstance(rpc_status.from_rpc(refused.value), errors.Unauthorized)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        pytest.param("Bearer nonsense", 401, id="no token"),
        pytest.param("Bearer a.b.c", 401, id="no JWT"),
        pytest.param("bearer e30.e30.e30", 401, id="no signature"),
        pytest.param("Bearer abcdef.0123456789abcdef", 401, id="unknown bootstrap token"),
        pytest.param("Bearer " + "x" * 20000, 401, id="long"),
        pytest.param("Basic YTpi", 403, id="another scheme is nobody"),
    ],
)
async def test_bad_tokens(nobody: Rest, header: str, status: int) -> None:
    assert (await nobody.call("GET", "/api/v1/nodes", Authorization=header))[0] == status


async def test_a_websocket_carries_its_token_among_the_protocols(
    admin: Rest, nobody: Rest, robot: corev1.ServiceAccount
) -> None:
    encoded = base64.urlsafe_b64encode((await token_of(admin)).encode()).decode().rstrip("=")
    header = f"base64url.bearer.authorization.k8s.io.{encoded}, v5.channel.k8s.io"
    status, answer = await nobody.call("GET", "/api/v1/nodes", Sec_WebSocket_Protocol=header)
    assert (status, "default:robot" in answer["message"]) == (403, True)
    header = "base64url.bearer.authorization.k8s.io.AAAA, v5.channel.k8s.io"
    assert (await nobody.call("GET", "/api/v1/nodes", Sec_WebSocket_Protocol=header))[0] == 401


async def test_a_stranger_sees_the_version_and_no_more(nobody: Rest) -> None:
    for path in ("/version", "/healthz", "/livez", "/readyz"):
        assert (await nobody.call("GET", path))[0] == 200
    status, answer = await nobody.call("GET", "/metrics")
    assert status == 403
    assert answer["message"] == 'forbidden: User "system:anonymous" cannot get path "/metrics"'
    status, answer = await nobody.call("GET", "/api/v1/namespaces/default/secrets/a")
    assert answer["message"] == (
        'secrets "a" is forbidden: User "system:anonymous" cannot get resource "secrets" in API group "" '
        'in the namespace "default"'
    )


async def review(admin: Rest, token: str, *audiences: str) -> Any:
    spec = {"token": token} | ({"audiences": list(audiences)} if audiences else {})
    status, answer = await admin.call("POST", TOKEN_REVIEWS, {"spec": spec})
    assert status == 201
    return answer["status"]


async def test_token_reviews(admin: Rest, robot: corev1.ServiceAccount) -> None:
    token = await token_of(admin, audiences=["vault", "web"])
    found = await review(admin, token, "web", "other")
    assert found["authenticated"]
    assert found["audiences"] == ["web"]
    assert found["user"]["username"] == "system:serviceaccount:default:robot"
    assert "audiences" in (await review(admin, token))["error"]
    assert (await review(admin, "nonsense"))["error"] == "invalid bearer token"
    status, answer = await admin.call("POST", TOKEN_REVIEWS, {"spec": {}})
    assert (status, answer["message"]) == (400, "token is required for TokenReview in authentication")


async def test_a_token_dies_with_its_pod(cluster: Any, admin: Rest, robot: corev1.ServiceAccount) -> None:
    pod = corev1.Pod()
    pod.metadata.name, pod.metadata.namespace = "web", "default"
    pod.spec.service_account_name = "robot"
    pod.spec.containers.add(name="main", image="example.org/image:1")
    pod = await cluster.client.create(pod)
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "web", "uid": pod.metadata.uid}
    token = await token_of(admin, boundObjectRef=reference)
    found = await review(admin, token)
    assert found["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["web"]
    await cluster.client.delete(corev1.Pod, "web", "default", grace_period_seconds=0)
    assert "pod default/web has been deleted" in (await review(admin, token))["error"]


async def test_a_token_dies_with_its_account(cluster: Any, admin: Rest, robot: corev1.ServiceAccount) -> None:
    token = await token_of(admin)
    await cluster.client.delete(corev1.ServiceAccount, "robot", "default")
    again = corev1.ServiceAccount()
    again.metadata.name, again.metadata.namespace = "robot", "default"
    await cluster.client.create(again)
    assert "does not match claim" in (await review(admin, token))["error"]


BAD_REQUESTS: list[tuple[str, dict[str, Any], int, str]] = [
    ("too short", {"expirationSeconds": 599}, 422, "may not specify a duration less than 10 minutes"),
    ("too long", {"expirationSeconds": 1 << 33}, 422, "may not specify a duration larger than 2^32 seconds"),
    ("strange object", {"boundObjectRef": {"kind": "Lease", "apiVersion": "v1", "name": "a"}}, 400, "cannot bind"),
    ("no such Pod", {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "a"}}, 404, "not found"),
    (
        "another Secret",
        {"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "s", "uid": "x"}},
        409,
        "the UID in the bound object reference (x) does not match",
    ),
]


@pytest.mark.parametrize(("spec", "code", "words"), [pytest.param(*row[1:], id=row[0]) for row in BAD_REQUESTS])
async def test_bad_token_requests(
    cluster: Any, admin: Rest, robot: corev1.ServiceAccount, spec: dict[str, Any], code: int, words: str
) -> None:
    secret = corev1.Secret()
    secret.metadata.name, secret.metadata.namespace = "s", "default"
    await cluster.client.create(secret)
    status, answer = await admin.call("POST", TOKEN_PATH, {"spec": spec})
    assert status == code
    assert words in answer["message"]


async def test_a_kubelet_gets_tokens_of_its_pods_only(cluster: Any, robot: corev1.ServiceAccount) -> None:
    uids = {}
    for name in ("n1", "n2"):
        pod = corev1.Pod()
        pod.metadata.name, pod.metadata.namespace = f"on-{name}", "default"
        pod.spec.service_account_name, pod.spec.node_name = "robot", name
        pod.spec.containers.add(name="main", image="example.org/image:1")
        uids[name] = (await cluster.client.create(pod)).metadata.uid
    connector = aiohttp.TCPConnector(ssl=tls_of(cluster, "system:node:n1", "system:nodes"))
    async with aiohttp.ClientSession(connector=connector) as session:
        kubelet = Rest(f"https://127.0.0.1:{cluster.server.rest_port}", session)

        async def ask(**reference: str) -> tuple[int, str]:
            spec = {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", **reference}} if reference else {}
            status, answer = await kubelet.call("POST", TOKEN_PATH, {"spec": spec})
            return status, answer.get("message", "")

        assert (await ask(name="on-n1", uid=uids["n1"]))[0] == 201
        status, message = await ask(name="on-n2", uid=uids["n2"])
        assert (status, "scheduled on a different node" in message) == (403, True)
        status, message = await ask()
        assert (status, "token not bound to a pod" in message) == (403, True)
        other = "/api/v1/namespaces/default/serviceaccounts/other/token"
        assert (await kubelet.call("POST", other, {"spec": {}}))[0] == 403


async def test_bootstrap_tokens(cluster: Any, nobody: Rest) -> None:
    secret = corev1.Secret(type="bootstrap.kubernetes.io/token")
    secret.metadata.name, secret.metadata.namespace = "bootstrap-token-abcdef", "kube-system"
    secret.data.update(
        {"token-id": b"abcdef", "token-secret": b"0123456789abcdef", "usage-bootstrap-authentication": b"true"}
    )
    await cluster.client.create(secret)
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    assert (await nobody.call("GET", path, token="abcdef.0123456789abcdef"))[0] == 200
    assert (await nobody.call("GET", path, token="abcdef.0123456789abcdeX"))[0] == 401
    assert (await nobody.call("GET", "/api/v1/nodes", token="abcdef.0123456789abcdef"))[0] == 403


async def test_impersonation(admin: Rest, nobody: Rest, robot: corev1.ServiceAccount) -> None:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    body: dict[str, Any] = {}
    headers = {"Impersonate_User": "jane", "Impersonate_Group": "staff", "Impersonate_Extra_Scopes": "view"}
    status, answer = await admin.call("POST", path, body, **headers)
    assert status == 201
    assert answer["status"]["userInfo"] == {
        "username": "jane",
        "groups": ["staff", "system:authenticated"],
        "extra": {"scopes": ["view"]},
    }
    token = await token_of(admin)
    status, answer = await nobody.call("POST", path, body, token, Impersonate_User="jane")
    assert answer["message"] == (
        'users "jane" is forbidden: User "system:serviceaccount:default:robot" cannot impersonate resource "users" '
        'in API group "" at the cluster scope'
    )
    assert (await admin.call("POST", path, body, Impersonate_Group="staff"))[0] == 400


ACCESS = "/apis/authorization.k8s.io/v1"
PODS = {"verb": "list", "resource": "pods"}


@pytest.mark.parametrize(
    ("path", "spec", "code", "found"),
    [
        pytest.param("subjectaccessreviews", {"user": "jane", "resourceAttributes": PODS}, 201, False, id="stranger"),
        pytest.param(
            "subjectaccessreviews",
            {"user": "jane", "groups": ["system:masters"], "resourceAttributes": PODS},
            201,
            True,
            id="master",
        ),
        pytest.param(
            "subjectaccessreviews",
            {
                "user": "a",
                "groups": ["system:unauthenticated"],
                "nonResourceAttributes": {"path": "/healthz", "verb": "get"},
            },
            201,
            True,
            id="path",
        ),
        pytest.param("selfsubjectaccessreviews", {"resourceAttributes": PODS}, 201, True, id="self"),
        pytest.param("subjectaccessreviews", {"resourceAttributes": PODS}, 422, "at least one of user", id="nobody"),
        pytest.param("selfsubjectaccessreviews", {}, 422, "exactly one of", id="nothing"),
        pytest.param(
            "selfsubjectaccessreviews",
            {"resourceAttributes": PODS, "nonResourceAttributes": {"path": "/", "verb": "get"}},
            422,
            "cannot be specified in combination",
            id="both",
        ),
        pytest.param(
            "namespaces/default/localsubjectaccessreviews",
            {"user": "jane", "resourceAttributes": PODS},
            400,
            "must match namespace",
            id="elsewhere",
        ),
        pytest.param(
            "namespaces/default/localsubjectaccessreviews",
            {"user": "jane", "resourceAttributes": {**PODS, "namespace": "default"}},
            201,
            False,
            id="local",
        ),
    ],
)
async def test_access_reviews(admin: Rest, path: str, spec: dict[str, Any], code: int, found: Any) -> None:
    status, answer = await admin.call("POST", f"{ACCESS}/{path}", {"spec": spec})
    assert status == code, answer
    if code == 201:
        assert answer["status"]["allowed"] is found
    else:
        assert found in answer["message"]


async def test_reviews_are_at_the_native_door_too(cluster: Any) -> None:
    request = objects_pb2.CreateRequest(
        resource=objects_pb2.Resource(group="authentication.k8s.io", version="v1", resource="selfsubjectreviews")
    )
    request.object.Pack(authenticationv1.SelfSubjectReview())
    answer = await objects_pb2_grpc.ObjectsStub(cluster.client.channel).Create(request)
    made = authenticationv1.SelfSubjectReview.FromString(answer.object.value)
    assert made.status.user_info.username == "kubernetes-admin"
    rules = objects_pb2.GetRequest(resource=request.resource, name="a")
    with pytest.raises(grpc.aio.AioRpcError):
        await objects_pb2_grpc.ObjectsStub(cluster.client.channel).Get(rules)


async def test_self_rules(admin: Rest) -> None:
    path = f"{ACCESS}/selfsubjectrulesreviews"
    status, answer = await admin.call("POST", path, {"spec": {"namespace": "default"}})
    assert status == 201
    assert {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]} in answer["status"]["resourceRules"]
    assert (await admin.call("POST", path, {"spec": {}}))[1]["message"] == "no namespace on request"


async def test_a_part_of_every_kind_is_shown_in_every_group(admin: Rest) -> None:
    path = f"{ACCESS}/selfsubjectrulesreviews"
    controller = "system:serviceaccount:kube-system:disruption-controller"
    status, answer = await admin.call("POST", path, {"spec": {"namespace": "default"}}, Impersonate_User=controller)
    assert status == 201, answer
    assert {"verbs": ["get"], "apiGroups": ["*"], "resources": ["*/scale"]} in answer["status"]["resourceRules"]


async def test_kubectl(cluster: Any, robot: corev1.ServiceAccount, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    server = f"https://127.0.0.1:{cluster.server.rest_port}"
    write_kubeconfig(
        kubeconfig,
        server=server,
        grpc_address=cluster.address,
        credentials=cluster.credentials("kubernetes-admin", "system:masters"),
    )
    authority = tmp_path / "ca.crt"
    authority.write_bytes(cluster.authority.cert_pem)
    as_admin = [str(KUBECTL), f"--kubeconfig={kubeconfig}", f"--cache-dir={tmp_path / 'cache'}"]

    async def run(*words: str) -> str:
        done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    token = (await run(*as_admin, "create", "token", "robot", "--duration=20m", "--audience=" + ISSUER)).strip()
    as_robot = [str(KUBECTL), "--kubeconfig=/dev/null", f"--server={server}", f"--certificate-authority={authority}"]
    as_robot += [f"--token={token}", f"--cache-dir={tmp_path / 'cache2'}"]
    assert "system:serviceaccount:default:robot" in await run(*as_robot, "auth", "whoami")
    assert (await run(*as_robot, "auth", "can-i", "list", "pods")).startswith("no")
    assert (await run(*as_admin, "auth", "can-i", "list", "pods")).startswith("yes")
    assert "selfsubjectreviews.authentication.k8s.io" in await run(*as_robot, "auth", "can-i", "--list")
    assert 'cannot list resource "pods"' in await run(*as_robot, "get", "pods")
    assert 'User "jane" cannot list' in await run(*as_admin, "--as=jane", "get", "pods")
    assert "deployments" in await run(*as_robot, "api-resources")
