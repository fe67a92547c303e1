"""Rules for security contexts."""

import re

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.file_paths import validate_descending
from navarch.services.api.validation.values import INT32_MAX, Errors, check, in_range, shown, supported

_PATH_MAX = 4095
_GMSA_MAX_KIB = 64
_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = re.compile(rf"({_SEGMENT}[\\./])*{_SEGMENT}")
# Those of the namespace that shared memory, semaphores and message queues live in.
_IPC_SYSCTLS = ("fs.mqueue.", "kernel.msg", "kernel.sem", "kernel.shm")


def validate_pod_security(spec: corev1.PodSpec, path: str) -> Errors:
    """Check what holds for all containers, and which namespaces of the host they share."""
    context = spec.security_context
    here = f"{path}.securityContext"
    for name, field in (("run_as_user", "runAsUser"), ("run_as_group", "runAsGroup"), ("fs_group", "fsGroup")):
        if context.HasField(name):
            yield from in_range(f"{here}.{field}", getattr(context, name), 0, INT32_MAX)
    for index, group in enumerate(context.supplemental_groups):
        yield from in_range(f"{here}.supplementalGroups[{index}]", group, 0, INT32_MAX)
    yield from _validate_profiles(context, here)
    yield from _validate_sysctls(spec, f"{here}.sysctls")
    if context.HasField("se_linux_change_policy"):
        policies = ("MountOption", "Recursive")
        yield from supported(f"{here}.seLinuxChangePolicy", context.se_linux_change_policy, policies)
    if spec.share_process_namespace and spec.host_pid:
        yield FieldError.invalid(
            f"{path}.shareProcessNamespace", True, "ShareProcessNamespace and HostPID cannot both be enabled"
        )


def validate_container_security(context: corev1.SecurityContext, has_host_users: bool, path: str) -> Errors:
    """Check the security context of one container."""
    for name, field in (("run_as_user", "runAsUser"), ("run_as_group", "runAsGroup")):
        if context.HasField(name):
            yield from in_range(f"{path}.{field}", getattr(context, name), 0, INT32_MAX)
    if context.proc_mount == "Unmasked" and has_host_users:
        yield FieldError.invalid(f"{path}.procMount", "Unmasked", "`hostUsers` must be false to use `Unmasked`")
    yield from _validate_profiles(context, path)
    if context.HasField("allow_privilege_escalation") and not context.allow_privilege_escalation:
        if context.privileged:
            yield _contradiction(path, "`privileged` to true")
        if "CAP_SYS_ADMIN" in context.capabilities.add:
            yield _contradiction(path, "`capabilities.Add` CAP_SYS_ADMIN")


def _contradiction(path: str, other: str) -> FieldError:
    return FieldError.invalid(path, {}, f"cannot set `allowPrivilegeEscalation` to false and {other}")


def _validate_profiles(context: corev1.SecurityContext | corev1.PodSecurityContext, path: str) -> Errors:
    if context.HasField("seccomp_profile"):
        yield from _validate_seccomp(context.seccomp_profile, f"{path}.seccompProfile")
    if context.HasField("windows_options"):
        yield from _validate_windows(context.windows_options, f"{path}.windowsOptions")
    if context.HasField("app_armor_profile"):
        yield from _validate_app_armor(context.app_armor_profile, f"{path}.appArmorProfile")


def _validate_seccomp(profile: corev1.SeccompProfile, path: str) -> Errors:
    here = f"{path}.localhostProfile"
    if not profile.type:
        yield FieldError.required(f"{path}.type", "type is required when seccompProfile is set")
    elif profile.type != "Localhost":
        if profile.HasField("localhost_profile"):
            yield FieldError.invalid(here, shown(profile), "can only be set when seccomp type is Localhost")
    elif not profile.HasField("localhost_profile"):
        yield FieldError.required(here, "must be set when seccomp type is Localhost")
    else:
        yield from validate_descending(profile.localhost_profile, here)


def _validate_app_armor(profile: corev1.AppArmorProfile, path: str) -> Errors:
    here, name = f"{path}.localhostProfile", profile.localhost_profile
    if not profile.type:
        yield FieldError.required(f"{path}.type", "type is required when appArmorProfile is set")
    elif profile.type != "Localhost":
        if profile.HasField("localhost_profile"):
            yield FieldError.invalid(here, name, "can only be set when AppArmor type is Localhost")
    elif name != name.strip():
        yield FieldError.invalid(here, name, "must not be padded with whitespace")
    elif not name:
        yield FieldError.required(here, "must be set when AppArmor type is Localhost")
    elif len(name.encode()) > _PATH_MAX:
        yield FieldError.too_long(here, "", _PATH_MAX)


def _validate_windows(options: corev1.WindowsSecurityContextOptions, path: str) -> Errors:
    if options.HasField("gmsa_credential_spec_name"):
        name = options.gmsa_credential_spec_name
        yield from check(f"{path}.gmsaCredentialSpecName", name, names.dns_subdomain(name))
    if options.HasField("gmsa_credential_spec"):
        here, size = f"{path}.gmsaCredentialSpec", len(options.gmsa_credential_spec.encode())
        if not size:
            yield FieldError.invalid(here, "", "gmsaCredentialSpec cannot be an empty string")
        elif size > _GMSA_MAX_KIB * 1024:
            text = f"gmsaCredentialSpec size must be under {_GMSA_MAX_KIB} KiB"
            yield FieldError.invalid(here, options.gmsa_credential_spec, text)
    if options.HasField("run_as_user_name"):
        here, name = f"{path}.runAsUserName", options.run_as_user_name
        if not name:
            yield FieldError.invalid(here, name, "runAsUserName cannot be an empty string")
        elif any(ord(char) < 32 for char in name):
            yield FieldError.invalid(here, name, "runAsUserName cannot contain control characters")
        elif name.count("\\") > 1:
            yield FieldError.invalid(here, name, "runAsUserName cannot contain more than one backslash")


def _validate_sysctls(spec: corev1.PodSpec, path: str) -> Errors:
    taken: set[str] = set()
    for index, sysctl in enumerate(spec.security_context.sysctls):
        name, here = sysctl.name, f"{path}[{index}].name"
        if not name:
            yield FieldError.required(here)
        elif len(name) > names.SUBDOMAIN_MAX or not _SYSCTL.fullmatch(name):
            text = f"must have at most {names.SUBDOMAIN_MAX} characters and match regex ^{_SYSCTL.pattern}$"
            yield FieldError.invalid(here, name, text)
        elif name in taken:
            yield FieldError.duplicate(here, name)
        taken.add(name)
        dotted = name.replace("/", ".")
        if spec.host_network and dotted.startswith("net."):
            yield FieldError.invalid(here, name, "may not be specified when 'hostNetwork' is true")
        elif spec.host_ipc and dotted.startswith(_IPC_SYSCTLS):
            yield FieldError.invalid(here, name, "may not be specified when 'hostIPC' is true")
