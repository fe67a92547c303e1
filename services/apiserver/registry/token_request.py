"""TokenRequest: a token for a service account, for some audiences, maybe bound to an object."""

import uuid
from dataclasses import replace
from typing import Any

from navarch.protos.k8s.authentication import v1_pb2 as authenticationv1
from navarch.services.api import meta
from navarch.services.api.errors import BadRequest, Conflict, FieldError, Invalid, NotFound, ServiceUnavailable
from navarch.services.apiserver.admission.nodes import restrict_token, restrict_token_pod
from navarch.services.apiserver.auth.bound_objects import NODE, POD, SECRET
from navarch.services.apiserver.auth.service_account_tokens import Claims, Named
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.registry.core import Core, Target

DEFAULT_S = 3600
MIN_S = 600
MAX_S = 1 << 32
# A lifetime by which the kubelet asks for the token of a Pod's default volume. Old clients read such a token once; so
# one for this server lives long, and says when it should have been renewed.
KUBELET_S = 3607
EXTENDED_S = 365 * 24 * 3600
_KINDS = {("v1", "Pod"): POD, ("v1", "Secret"): SECRET, ("v1", "Node"): NODE}


async def request_token(core: Core, user: User, target: Target, request: Any) -> Any:
    """The request with its token. Raises NotFound for an unknown account or bound object, Invalid, Conflict."""
    core.admit_user(user, "create", target.named())
    if not isinstance(request, authenticationv1.TokenRequest):
        raise BadRequest(f"a token request was expected, not {request.DESCRIPTOR.name}")
    account = (await core.newest(target)).decode()
    _complete(core, target, request)
    spec = request.spec
    restrict_token(user, target, spec)
    lifetime_s = spec.expiration_seconds
    if core.tokens.config.lifetime_limit_s:
        lifetime_s = min(lifetime_s, core.tokens.config.lifetime_limit_s)
    now = int(core.clock.now())
    claims = Claims(
        namespace=target.namespace,
        account=Named(target.name, account.metadata.uid),
        audiences=tuple(spec.audiences),
        issued_at=now,
        expires_at=now + lifetime_s,
        id=str(uuid.UUID(int=core.rng.getrandbits(128), version=4)),
    )
    if spec.HasField("bound_object_ref"):
        claims = await _bound(core, user, target, claims, spec.bound_object_ref)
    is_ours = set(claims.audiences) <= set(core.tokens.audiences)
    if spec.expiration_seconds == KUBELET_S and claims.pod is not None and is_ours:
        claims = replace(claims, expires_at=now + EXTENDED_S, warn_after=now + KUBELET_S)
    if core.tokens.keys.signing is None:
        raise ServiceUnavailable("this server has no key for service account tokens (--service-account-key-file)")
    spec.expiration_seconds = lifetime_s
    request.ClearField("status")
    request.status.token = core.tokens.issue(claims)
    request.status.expiration_timestamp.CopyFrom(meta.time_from(now + lifetime_s))
    return request


def _complete(core: Core, target: Target, request: Any) -> None:
    """Defaults, then rules."""
    metadata, spec = request.metadata, request.spec
    for field, value in (("name", target.name), ("namespace", target.namespace)):
        if getattr(metadata, field) not in ("", value):
            raise BadRequest(f"the {field} of the provided object does not match the {field} sent on the request")
        setattr(metadata, field, value)
    metadata.creation_timestamp.CopyFrom(meta.time_from(core.clock.now()))
    if not spec.HasField("expiration_seconds"):
        spec.expiration_seconds = DEFAULT_S
    problem = ""
    if spec.expiration_seconds < MIN_S:
        problem = "may not specify a duration less than 10 minutes"
    elif spec.expiration_seconds > MAX_S:
        problem = "may not specify a duration larger than 2^32 seconds"
    if problem:
        error = FieldError.invalid("spec.expirationSeconds", spec.expiration_seconds, problem)
        raise Invalid("TokenRequest.authentication.k8s.io", target.name, [error])
    if not spec.audiences:
        spec.audiences.extend(core.tokens.audiences)


async def _bound(core: Core, user: User, target: Target, claims: Claims, reference: Any) -> Claims:
    """The claims with the object that a request binds them to."""
    kind = _KINDS.get((reference.api_version, reference.kind))
    if kind is None:
        group, _, version = reference.api_version.rpartition("/")
        raise BadRequest(f"cannot bind token to object of type {group}/{version}, Kind={reference.kind}")
    found = (await core.newest(Target(kind, target.namespace if kind.namespaced else "", reference.name))).decode()
    uid = found.metadata.uid
    if reference.uid not in ("", uid):
        detail = (
            f"the UID in the bound object reference ({reference.uid}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        raise Conflict(kind.kind, reference.name, detail)
    named = Named(reference.name, uid)
    if kind is SECRET:
        return replace(claims, secret=named)
    if kind is NODE:
        return replace(claims, node=named)
    restrict_token_pod(user, found)
    if found.spec.service_account_name != target.name:
        raise BadRequest(
            f'cannot bind token for serviceaccount "{target.name}" to pod running with different serviceaccount name.'
        )
    return replace(claims, pod=named, node=await _node_of(core, found))


async def _node_of(core: Core, pod: Any) -> Named | None:
    name = pod.spec.node_name
    if not name:
        return None
    try:
        return Named(name, (await core.newest(Target(NODE, "", name))).decode().metadata.uid)
    except NotFound:
        return Named(name, "")
