"""May they: SubjectAccessReview, its local form, the caller's own, and the list of the caller's rules."""

from collections.abc import Iterator
from typing import Any

from navarch.protos.k8s.authorization import v1_pb2 as authorizationv1
from navarch.services.api.errors import BadRequest, FieldError, Invalid
from navarch.services.api.kinds import KINDS
from navarch.services.apiserver.auth.authorizer import Attributes
from navarch.services.apiserver.auth.roles import Rule
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.registry.core import Core, Target

SELF_KIND = KINDS.of(authorizationv1.SelfSubjectAccessReview)
RULES_KIND = KINDS.of(authorizationv1.SelfSubjectRulesReview)
_NOTHING_BUT_MANAGERS = "must be empty"


async def review_access(core: Core, user: User, target: Target, review: Any) -> Any:
    """Whether somebody may: the subject of the review, or (SelfSubjectAccessReview) the caller. Raises Invalid."""
    is_own = target.kind is SELF_KIND
    errors = list(_problems(target, review, is_own))
    if errors:
        raise Invalid(target.kind, "", errors)
    spec = review.spec
    is_resource = spec.HasField("resource_attributes")
    if target.kind.namespaced and spec.resource_attributes.namespace != target.namespace:
        raise BadRequest(f"spec.resourceAttributes.namespace must match namespace: {target.namespace}")
    subject = user if is_own else _subject(spec)
    wanted = _resource(spec.resource_attributes) if is_resource else _path(spec.non_resource_attributes)
    review.ClearField("status")
    review.status.allowed = core.authorizer.allows(subject, wanted)
    return review


async def review_rules(core: Core, user: User, review: Any) -> Any:
    """What the caller may do in a namespace, as far as it can be listed."""
    namespace = review.spec.namespace
    if not namespace:
        raise BadRequest("no namespace on request")
    review.ClearField("status")
    status = review.status
    for rule in core.authorizer.rules_of(user):
        if rule.namespaces and namespace not in rule.namespaces:
            continue
        _list(rule, status)
    status.incomplete = bool(user.node_name)
    if status.incomplete:
        status.evaluation_error = "node authorizer does not support user rule resolution"
    return review


def _list(rule: Rule, status: Any) -> None:
    verbs = sorted(rule.verbs)
    by_group: dict[str, list[str]] = {}
    for resource in rule.resources:
        name, _, group = resource.partition("@")
        is_of_every_group = resource == "*" or resource.startswith("*/")
        by_group.setdefault("*" if is_of_every_group else group, []).append(name)
    for group, names in by_group.items():
        status.resource_rules.add(verbs=verbs, api_groups=[group], resources=names, resource_names=sorted(rule.names))
    if rule.paths:
        urls = ["*"] if "/*" in rule.paths else rule.paths
        status.non_resource_rules.add(verbs=verbs, non_resource_urls=urls)


def _problems(target: Target, review: Any, is_own: bool) -> Iterator[FieldError]:
    spec = review.spec
    is_resource, is_path = spec.HasField("resource_attributes"), spec.HasField("non_resource_attributes")
    if is_resource and is_path:
        text = "cannot be specified in combination with resourceAttributes"
        yield FieldError.invalid("spec.nonResourceAttributes", _shown(spec.non_resource_attributes), text)
    elif not is_resource and not is_path:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        yield FieldError.invalid("spec.resourceAttributes", None, text)
    elif is_path and target.kind.namespaced:
        text = "disallowed on this kind of request"
        yield FieldError.invalid("spec.nonResourceAttributes", _shown(spec.non_resource_attributes), text)
    if not is_own and not spec.user and not spec.groups:
        yield FieldError.invalid("spec.user", "", "at least one of user or group must be specified")
    attributes = spec.resource_attributes
    for field, what in (("field_selector", "fieldSelector"), ("label_selector", "labelSelector")):
        selector = getattr(attributes, field)
        if not attributes.HasField(field):
            continue
        path = f"spec.resourceAttributes.{what}"
        if selector.raw_selector and selector.requirements:
            text = "may not specified at the same time as requirements"
            yield FieldError.invalid(f"{path}.rawSelector", selector.raw_selector, text)
        elif not selector.raw_selector and not selector.requirements:
            yield FieldError.required(
                f"{path}.requirements", f"when {path} is specified, requirements or rawSelector is required"
            )


def _shown(message: Any) -> str:
    return str(message).strip().replace("\n", " ")


def _subject(spec: Any) -> User:
    extra = tuple(sorted((key.lower(), tuple(value.items)) for key, value in spec.extra.items()))
    return User(spec.user, frozenset(spec.groups), spec.uid, extra)


def _resource(wanted: Any) -> Attributes:
    name, node = wanted.name, ""
    for requirement in wanted.field_selector.requirements:
        if requirement.operator == "In" and len(requirement.values) == 1:
            if requirement.key == "spec.nodeName":
                node = requirement.values[0]
            elif requirement.key == "metadata.name" and not name:
                name = requirement.values[0]
    return Attributes(wanted.verb, wanted.group, wanted.resource, wanted.subresource, wanted.namespace, name, node)


def _path(wanted: Any) -> Attributes:
    # An empty path is a path, too.
    return Attributes(wanted.verb, url=wanted.path or "/")
