"""From a review to its answer. Whoever may create one may ask."""

from typing import Any

from navarch.services.api.errors import BadRequest
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.registry.core import Core, Target
from navarch.services.apiserver.registry.reviews.access import review_access, review_rules
from navarch.services.apiserver.registry.reviews.subject import review_self, review_token

REVIEWS = frozenset(
    {
        ("authentication.k8s.io", "SelfSubjectReview"),
        ("authentication.k8s.io", "TokenReview"),
        ("authorization.k8s.io", "LocalSubjectAccessReview"),
        ("authorization.k8s.io", "SelfSubjectAccessReview"),
        ("authorization.k8s.io", "SelfSubjectRulesReview"),
        ("authorization.k8s.io", "SubjectAccessReview"),
    }
)


def is_review(target: Target) -> bool:
    """Whether creating one is asking."""
    return (target.kind.group, target.kind.kind) in REVIEWS


async def answer(core: Core, user: User, target: Target, review: Any) -> Any:
    """The review with its status."""
    if target.kind.namespaced:
        if not target.namespace:
            raise BadRequest("an empty namespace may not be set during creation")
        if review.metadata.namespace not in ("", target.namespace):
            raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
        review.metadata.namespace = target.namespace
    match target.kind.kind:
        case "TokenReview":
            return await review_token(core, review)
        case "SelfSubjectReview":
            return await review_self(core, user, review)
        case "SelfSubjectRulesReview":
            return await review_rules(core, user, review)
    return await review_access(core, user, target, review)
