"""Rules for security contexts."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation.values import INT32_MAX, Errors, in_range


def validate_pod_security(spec: corev1.PodSpec, path: str) -> Errors:
    """Check what holds for all containers, and which namespaces of the host they share."""
    context = spec.security_context
    here = f"{path}.securityContext"
    for name, field in (("run_as_user", "runAsUser"), ("run_as_group", "runAsGroup"), ("fs_group", "fsGroup")):
        if context.HasField(name):
            yield from in_range(f"{here}.{field}", getattr(context, name), 0, INT32_MAX)
    for index, group in enumerate(context.supplemental_groups):
        yield from in_range(f"{here}.supplementalGroups[{index}]", group, 0, INT32_MAX)
    if context.HasField("seccomp_profile"):
        yield from _validate_seccomp(context.seccomp_profile, f"{here}.seccompProfile")
    taken: set[str] = set()
    for index, sysctl in enumerate(context.sysctls):
        if not sysctl.name:
            yield FieldError.required(f"{here}.sysctls[{index}].name")
        elif sysctl.name in taken:
            yield FieldError.duplicate(f"{here}.sysctls[{index}].name", sysctl.name)
        taken.add(sysctl.name)
    if spec.share_process_namespace and spec.host_pid:
        yield FieldError.invalid(
            f"{path}.shareProcessNamespace", True, "ShareProcessNamespace and HostPID cannot both be enabled"
        )


def validate_container_security(context: corev1.SecurityContext, path: str) -> Errors:
    """Check the security context of one container."""
    for name, field in (("run_as_user", "runAsUser"), ("run_as_group", "runAsGroup")):
        if context.HasField(name):
            yield from in_range(f"{path}.{field}", getattr(context, name), 0, INT32_MAX)
    if context.HasField("seccomp_profile"):
        yield from _validate_seccomp(context.seccomp_profile, f"{path}.seccompProfile")
    if context.HasField("allow_privilege_escalation") and not context.allow_privilege_escalation:
        if context.privileged:
            yield _contradiction(path, "`privileged` to true")
        if "CAP_SYS_ADMIN" in context.capabilities.add:
            yield _contradiction(path, "`capabilities.Add` CAP_SYS_ADMIN")


def _contradiction(path: str, other: str) -> FieldError:
    return FieldError.invalid(path, {}, f"cannot set `allowPrivilegeEscalation` to false and {other}")


def _validate_seccomp(profile: corev1.SeccompProfile, path: str) -> Errors:
    if not profile.type:
        yield FieldError.required(f"{path}.type", "type is required when seccompProfile is set")
    elif profile.type == "Localhost" and not profile.localhost_profile:
        yield FieldError.required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")
    elif profile.type != "Localhost" and profile.HasField("localhost_profile"):
        yield FieldError.invalid(
            f"{path}.localhostProfile", profile.localhost_profile, "can only be set when seccomp type is Localhost"
        )
