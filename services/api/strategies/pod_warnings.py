"""What in a Pod or a template is allowed and probably a mistake. A usual Pod is passed without a list being made."""

from collections.abc import Iterable, Iterator, Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.field_errors import quoted
from navarch.services.api.quantity import Quantity
from navarch.services.api.validation.pod_systems import ContainerLike, containers_of
from navarch.services.api.validation.resources import ResourceList, parsed

_OLD_LABELS = {
    "beta.kubernetes.io/arch": ("v1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": ("v1.14", "kubernetes.io/os"),
    "failure-domain.beta.kubernetes.io/region": ("v1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": ("v1.17", "topology.kubernetes.io/zone"),
    "beta.kubernetes.io/instance-type": ("v1.17", "node.kubernetes.io/instance-type"),
}
_OLD_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": ("v1.16+", "priorityClassName"),
    "security.alpha.kubernetes.io/sysctls": ("v1.11+", "sysctls"),
    "security.alpha.kubernetes.io/unsafe-sysctls": ("v1.11+", "sysctls"),
}
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_OLD_VOLUMES = {
    "photon_persistent_disk": "deprecated in v1.11, non-functional in v1.16+",
    "git_repo": "deprecated in v1.11",
    "scale_io": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
_IN_BYTES = ("memory", "ephemeral-storage")
_NO_SELECTOR = "a null labelSelector results in matching no pod"


def pod_warnings(pod: corev1.Pod) -> Sequence[str]:
    """What is worth telling about a Pod."""
    return template_warnings(pod, "")


def template_warnings(template: corev1.Pod | corev1.PodTemplateSpec, path: str) -> list[str]:
    """What is worth telling about a template; the path of a Pod is empty."""
    dot, spec = f"{path}." if path else "", template.spec
    here = f"{dot}spec"
    found: list[str] = []
    if spec.node_selector or spec.HasField("affinity") or spec.topology_spread_constraints:
        found += _placement(spec, here)
    if template.metadata.annotations:
        found += _annotations(template, f"{dot}metadata.annotations")
    if spec.volumes:
        found += _volumes(spec.volumes, f"{here}.volumes")
    if spec.host_aliases:
        found += _repeated([alias.ip for alias in spec.host_aliases], f"{here}.hostAliases", "ip")
    if spec.image_pull_secrets:
        found += _secrets([secret.name for secret in spec.image_pull_secrets], f"{here}.imagePullSecrets")
    if spec.overhead:
        found += _fractions(spec.overhead, f"{here}.overhead")
    containers = list(containers_of(spec, here))
    for container, place in containers:
        if container.HasField("resources"):
            found += _fractions(container.resources.limits, f"{place}.resources.limits")
            found += _fractions(container.resources.requests, f"{place}.resources.requests")
        if len(container.env) > 1:
            found += _hidden_variables(container.env, f"{place}.env")
    found += _ports(containers)
    if spec.termination_grace_period_seconds < 0:
        text = "must be >= 0; negative values are invalid and will be treated as 1"
        found.append(f"{here}.terminationGracePeriodSeconds: {text}")
    return found


def _placement(spec: corev1.PodSpec, path: str) -> Iterator[str]:
    for key in sorted(spec.node_selector):
        if key in _OLD_LABELS:
            yield f"{path}.nodeSelector[{key}]: {_old_label(key)}"
    node, here = spec.affinity.node_affinity, f"{path}.affinity.nodeAffinity"
    needed = node.required_during_scheduling_ignored_during_execution.node_selector_terms
    for index, term in enumerate(needed):
        where = f"{here}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[{index}]"
        yield from _node_term(term, where)
    for index, preferred in enumerate(node.preferred_during_scheduling_ignored_during_execution):
        where = f"{here}.preferredDuringSchedulingIgnoredDuringExecution[{index}].preference"
        yield from _node_term(preferred.preference, where)
    for index, constraint in enumerate(spec.topology_spread_constraints):
        where, key = f"{path}.topologySpreadConstraints[{index}]", constraint.topology_key
        if key in _OLD_LABELS:
            yield f"{where}.topologyKey: {key} is {_old_label(key)}"
        if not constraint.HasField("label_selector"):
            yield f"{where}.labelSelector: {_NO_SELECTOR}"
    for field, part in (
        ("podAffinity", spec.affinity.pod_affinity),
        ("podAntiAffinity", spec.affinity.pod_anti_affinity),
    ):
        here = f"{path}.affinity.{field}"
        for index, pods in enumerate(part.required_during_scheduling_ignored_during_execution):
            if not pods.HasField("label_selector"):
                yield f"{here}.requiredDuringSchedulingIgnoredDuringExecution[{index}].labelSelector: {_NO_SELECTOR}"
        for index, weighted in enumerate(part.preferred_during_scheduling_ignored_during_execution):
            if not weighted.pod_affinity_term.HasField("label_selector"):
                where = f"{here}.preferredDuringSchedulingIgnoredDuringExecution[{index}].podAffinityTerm"
                yield f"{where}.labelSelector: {_NO_SELECTOR}"


def _old_label(key: str) -> str:
    since, now = _OLD_LABELS[key]
    return f'deprecated since {since}; use "{now}" instead'


def _node_term(term: corev1.NodeSelectorTerm, path: str) -> Iterator[str]:
    for index, requirement in enumerate(term.match_expressions):
        if requirement.key in _OLD_LABELS:
            yield f"{path}.matchExpressions[{index}].key: {requirement.key} is {_old_label(requirement.key)}"


def _annotations(template: corev1.Pod | corev1.PodTemplateSpec, path: str) -> Iterator[str]:
    annotations, spec = template.metadata.annotations, template.spec
    for key, (since, field) in _OLD_ANNOTATIONS.items():
        if key in annotations:
            yield f'{path}[{key}]: non-functional in {since}; use the "{field}" field instead'
    gone = 'non-functional in v1.27+; use the "seccompProfile" field instead'
    if _SECCOMP_POD in annotations and not spec.security_context.HasField("seccomp_profile"):
        yield f"{path}[{_SECCOMP_POD}]: {gone}"
    has_profile = spec.security_context.HasField("app_armor_profile")
    for container, _ in containers_of(spec, ""):
        key, context = f"{_SECCOMP_CONTAINER}{container.name}", container.security_context
        if key in annotations and not context.HasField("seccomp_profile"):
            yield f"{path}[{key}]: {gone}"
        key = f"{_APP_ARMOR}{container.name}"
        if key in annotations and not has_profile and not context.HasField("app_armor_profile"):
            yield f'{path}[{key}]: deprecated since v1.30; use the "appArmorProfile" field instead'


def _volumes(volumes: Sequence[corev1.Volume], path: str) -> Iterator[str]:
    for index, volume in enumerate(volumes):
        source, here = volume.volume_source, f"{path}[{index}]"
        for field, _ in source.ListFields():
            if field.name in _OLD_VOLUMES:
                yield f"{here}.{field.json_name}: {_OLD_VOLUMES[field.name]}"
        if source.HasField("ephemeral"):
            claim = source.ephemeral.volume_claim_template.spec.resources
            where = f"{here}.ephemeral.volumeClaimTemplate.spec.resources"
            yield from _fractions(claim.limits, f"{where}.limits", ("storage",))
            yield from _fractions(claim.requests, f"{where}.requests", ("storage",))


def _secrets(names: Sequence[str], path: str) -> Iterator[str]:
    yield from _repeated(names, path, "name")
    for index, name in enumerate(names):
        if not name:
            yield f'{path}[{index}].name: invalid empty name ""'


def _repeated(values: Sequence[str], path: str, field: str) -> Iterator[str]:
    for index, value in enumerate(values):
        if value in values[:index]:
            yield f"{path}[{index}].{field}: duplicate {field} {quoted(value)}"


def _fractions(resources: ResourceList, path: str, names: Sequence[str] = _IN_BYTES) -> Iterator[str]:
    for name in names:
        if name not in resources or not resources[name].string.endswith(("m", "n", "u")):
            continue
        amount = parsed(resources[name])
        if amount is not None and Quantity.of(amount.value()) != amount:
            yield f"{path}[{name}]: fractional byte value {quoted(str(amount))} is invalid, must be an integer"


def _hidden_variables(env: Sequence[corev1.EnvVar], path: str) -> Iterator[str]:
    """Variables named twice, unless the later one builds on the earlier."""
    taken: set[str] = set()
    for index, variable in enumerate(env):
        name = variable.name
        if name in taken:
            reference = f"$({name})"
            if variable.HasField("value_from") or variable.value == reference or reference not in variable.value:
                text = f"hides previous definition of {quoted(name)}, which may be dropped when using apply"
                yield f"{path}[{index}]: {text}"
        taken.add(name)


def _ports(containers: Iterable[tuple[ContainerLike, str]]) -> Iterator[str]:
    known: dict[tuple[int, str], list[tuple[str, corev1.ContainerPort]]] = {}
    for container, path in containers:
        for index, port in enumerate(container.ports):
            here = f"{path}.ports[{index}]"
            if port.host_ip and not port.host_port:
                yield (
                    f"{here}: hostIP set without hostPort: {{Name:{port.name} HostPort:0 "
                    f"ContainerPort:{port.container_port} Protocol:{port.protocol} HostIP:{port.host_ip}}}"
                )
            others = known.setdefault((port.container_port, port.protocol), [])
            for where, other in others:
                if (port.host_ip, port.host_port) == (other.host_ip, other.host_port):
                    yield f"{here}: duplicate port definition with {where}"
                elif not port.host_port or not other.host_port:
                    yield f"{here}: overlapping port definition with {where}"
                elif port.host_port == other.host_port and bool(port.host_ip) != bool(other.host_ip):
                    yield f"{here}: dangerously ambiguous port definition with {where}"
            others.append((here, port))
