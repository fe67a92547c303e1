"""Rules for what is restarted when: of a single container, by exit code, when its resources change."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation.values import Errors, supported

_POLICIES = ("Always", "Never", "OnFailure")
_ACTIONS = ("Restart", "RestartAllContainers")
_OPERATORS = ("In", "NotIn")
_MAX_RULES = 20
_MAX_EXIT_CODES = 255
_RESIZABLE = ("cpu", "memory")


def validate_restarts(container: corev1.Container, path: str) -> Errors:
    """Check a container's own restart policy and the rules that override it."""
    here, rules = f"{path}.restartPolicyRules", container.restart_policy_rules
    if container.HasField("restart_policy"):
        yield from supported(f"{path}.restartPolicy", container.restart_policy, _POLICIES)
    elif rules:
        yield FieldError.required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used")
    if len(rules) > _MAX_RULES:
        yield FieldError.too_long(here, "", _MAX_RULES)
    for index, rule in enumerate(rules):
        yield from supported(f"{here}[{index}].action", rule.action, _ACTIONS)
        codes = f"{here}[{index}].exitCodes"
        if not rule.HasField("exit_codes"):
            yield FieldError.required(codes, "must be specified")
            continue
        yield from supported(f"{codes}.operator", rule.exit_codes.operator, _OPERATORS)
        if len(rule.exit_codes.values) > _MAX_EXIT_CODES:
            yield FieldError.too_long(f"{codes}.values", "", _MAX_EXIT_CODES)


def validate_resize_policy(container: corev1.Container, pod_policy: str, path: str) -> Errors:
    """Check what happens to a container when its resources change. Errors name the whole list, as in Kubernetes."""
    taken: set[str] = set()
    for index, policy in enumerate(container.resize_policy):
        if policy.resource_name in taken:
            yield FieldError.duplicate(f"{path}[{index}]", policy.resource_name)
        taken.add(policy.resource_name)
        for word, accepted in (
            (policy.resource_name, _RESIZABLE),
            (policy.restart_policy, ("NotRequired", "RestartContainer")),
        ):
            if not word:
                yield FieldError.required(path)
            else:
                yield from supported(path, word, accepted)
        if pod_policy == "Never" and policy.restart_policy != "NotRequired":
            text = "must be 'NotRequired' when `restartPolicy` is 'Never'"
            yield FieldError.invalid(path, policy.restart_policy, text)
