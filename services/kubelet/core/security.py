"""Security contexts, passed on to the runtime; a container's own settings win over its Pod's."""

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.references import ConfigError

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
LOCALHOST = "Localhost"
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def namespace_options(pod: corev1.Pod, users: criv1.UserNamespace | None = None) -> criv1.NamespaceOption:
    """Which namespaces the Pod shares, and with whom. users: its user namespace, where it has its own."""
    pid = criv1.POD if pod.spec.share_process_namespace else criv1.CONTAINER
    return criv1.NamespaceOption(
        network=criv1.NODE if pod.spec.host_network else criv1.POD,
        pid=criv1.NODE if pod.spec.host_pid else pid,
        ipc=criv1.NODE if pod.spec.host_ipc else criv1.POD,
        userns_options=users,
    )


def sandbox_security(pod: corev1.Pod, users: criv1.UserNamespace | None) -> criv1.LinuxSandboxSecurityContext:
    """The security context of the sandbox."""
    context = criv1.LinuxSandboxSecurityContext(
        namespace_options=namespace_options(pod, users),
        privileged=any(
            container.security_context.privileged for container in [*pod.spec.containers, *pod.spec.init_containers]
        ),
        seccomp=criv1.SecurityProfile(profile_type=criv1.SecurityProfile.RuntimeDefault),
        supplemental_groups=_groups(pod),
    )
    shared = pod.spec.security_context
    if shared.HasField("run_as_user"):
        context.run_as_user.value = shared.run_as_user
    if shared.HasField("run_as_group"):
        context.run_as_group.value = shared.run_as_group
    return context


def _groups(pod: corev1.Pod) -> list[int]:
    shared = pod.spec.security_context
    return [*shared.supplemental_groups, *([shared.fs_group] if shared.HasField("fs_group") else [])]


def container_security(
    pod: corev1.Pod,
    container: corev1.Container,
    image_uid: int | None,
    image_user: str,
    users: criv1.UserNamespace | None = None,
    seccomp_root: str = "",
) -> criv1.LinuxContainerSecurityContext:
    """The security context of a container. Raises ConfigError where runAsNonRoot is not kept.

    image_uid, image_user: whom the image runs as, where it says so. users: the Pod's own user namespace.
    seccomp_root: the directory of the node's seccomp profiles.
    """
    own, shared = container.security_context, pod.spec.security_context
    context = criv1.LinuxContainerSecurityContext(
        namespace_options=namespace_options(pod, users),
        privileged=own.privileged,
        readonly_rootfs=own.read_only_root_filesystem,
        no_new_privs=own.HasField("allow_privilege_escalation") and not own.allow_privilege_escalation,
        supplemental_groups=_groups(pod),
        supplemental_groups_policy=criv1.Strict if shared.supplemental_groups_policy == "Strict" else criv1.Merge,
    )
    context.capabilities.add_capabilities.extend(own.capabilities.add)
    context.capabilities.drop_capabilities.extend(own.capabilities.drop)
    _set_user(context, own, shared, image_uid, image_user)
    if own.proc_mount != "Unmasked" and not own.privileged:
        context.masked_paths.extend(MASKED_PATHS)
        context.readonly_paths.extend(READONLY_PATHS)
    seccomp = own.seccomp_profile if own.HasField("seccomp_profile") else shared.seccomp_profile
    if seccomp.type == LOCALHOST and not seccomp.localhost_profile:
        raise ConfigError("localhostProfile must be set if seccompProfile type is Localhost.")
    profile = f"{seccomp_root}/{seccomp.localhost_profile}" if seccomp.type == LOCALHOST else ""
    context.seccomp.CopyFrom(_profile(seccomp.type, profile))
    if own.HasField("app_armor_profile") or shared.HasField("app_armor_profile"):
        armor = own.app_armor_profile if own.HasField("app_armor_profile") else shared.app_armor_profile
        context.apparmor.CopyFrom(_profile(armor.type, armor.localhost_profile))
    return context


def _profile(type_: str, localhost: str) -> criv1.SecurityProfile:
    kinds = {"RuntimeDefault": criv1.SecurityProfile.RuntimeDefault, LOCALHOST: criv1.SecurityProfile.Localhost}
    return criv1.SecurityProfile(
        profile_type=kinds.get(type_, criv1.SecurityProfile.Unconfined), localhost_ref=localhost
    )


def _set_user(
    context: criv1.LinuxContainerSecurityContext,
    own: corev1.SecurityContext,
    shared: corev1.PodSecurityContext,
    image_uid: int | None,
    image_user: str,
) -> None:
    if own.HasField("run_as_user") or shared.HasField("run_as_user"):
        context.run_as_user.value = own.run_as_user if own.HasField("run_as_user") else shared.run_as_user
    elif image_user:
        context.run_as_username = image_user
    elif image_uid is not None:
        context.run_as_user.value = image_uid
    if own.HasField("run_as_group") or shared.HasField("run_as_group"):
        context.run_as_group.value = own.run_as_group if own.HasField("run_as_group") else shared.run_as_group
    must_not = own.run_as_non_root if own.HasField("run_as_non_root") else shared.run_as_non_root
    if not must_not:
        return
    if context.run_as_username:
        raise ConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({image_user}), cannot verify user is non-root"
        )
    if not context.HasField("run_as_user") or context.run_as_user.value == 0:
        cause = "image will run as root" if not own.HasField("run_as_user") else "run as user is root"
        raise ConfigError(f"container has runAsNonRoot and {cause}")
