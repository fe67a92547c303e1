"""Who is this: TokenReview and SelfSubjectReview."""

from typing import Any

from navarch.protos.k8s.authentication import v1_pb2 as authenticationv1
from navarch.services.api import meta
from navarch.services.api.errors import BadRequest
from navarch.services.apiserver.auth.service_account_tokens import InvalidToken
from navarch.services.apiserver.auth.user import AUTHENTICATED, User
from navarch.services.apiserver.registry.core import Core


async def review_token(core: Core, review: authenticationv1.TokenReview) -> authenticationv1.TokenReview:
    """Whom a token stands for, if it is good at one of the audiences (by default this server's own)."""
    if not review.spec.token:
        raise BadRequest("token is required for TokenReview in authentication")
    review.ClearField("status")
    try:
        bearer = await core.tokens.review(review.spec.token, list(review.spec.audiences) or core.tokens.audiences)
    except InvalidToken as failure:
        text = str(failure)
        review.status.error = text if text == "invalid bearer token" else f"[invalid bearer token, {text}]"
        return review
    review.status.authenticated = True
    describe(bearer.user, review.status.user)
    review.status.audiences.extend(bearer.audiences)
    return review


async def review_self(
    core: Core, user: User, review: authenticationv1.SelfSubjectReview
) -> authenticationv1.SelfSubjectReview:
    """Who the caller is."""
    review.metadata.creation_timestamp.CopyFrom(meta.time_from(core.clock.now()))
    review.ClearField("status")
    describe(user, review.status.user_info)
    return review


def describe(user: User, info: Any) -> None:
    """Fill a UserInfo."""
    info.username, info.uid = user.name, user.uid
    # What the credentials say first, then what every user is.
    info.groups.extend(sorted(user.groups, key=lambda group: (group == AUTHENTICATED, group)))
    for key, values in user.extra:
        info.extra[key].items.extend(values)
