"""Whether a container that ended is to run again."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.observed import Container

ALWAYS, ON_FAILURE, NEVER = "Always", "OnFailure", "Never"
RESTART, RESTART_ALL = "Restart", "RestartAllContainers"


def is_sidecar(container: corev1.Container) -> bool:
    """Whether an init container keeps running beside the others (KEP-753)."""
    return container.restart_policy == ALWAYS


def policy_of(pod: corev1.Pod, container: corev1.Container, *, init: bool) -> str:
    """The restart policy that holds for a container. An init container that succeeded never runs again."""
    if container.restart_policy:
        return container.restart_policy
    policy = pod.spec.restart_policy or ALWAYS
    return ON_FAILURE if init and policy == ALWAYS else policy


def restarts_all(container: corev1.Container, run: Container) -> bool:
    """Whether the end of a run makes all containers of its Pod start anew (KEP-5532)."""
    rules = [rule for rule in container.restart_policy_rules if _holds(rule, run)]
    return bool(rules) and rules[0].action == RESTART_ALL


def should_restart(policy: str, container: corev1.Container, run: Container) -> bool:
    """Whether the ended `run` is followed by another."""
    if any(_holds(rule, run) for rule in container.restart_policy_rules):
        return True
    if policy == ON_FAILURE:
        return run.exit_code != 0
    return policy == ALWAYS


def _holds(rule: corev1.ContainerRestartRule, run: Container) -> bool:
    codes = rule.exit_codes
    return rule.action in (RESTART, RESTART_ALL) and (run.exit_code in codes.values) == (codes.operator == "In")
