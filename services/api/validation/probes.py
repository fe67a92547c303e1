"""Rules for probes and life cycle hooks: exactly one way to act, and sane numbers."""

from navarch.protos.k8s import intstr_pb2
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.values import Errors, check, non_negative, supported

Handler = corev1.ProbeHandler | corev1.LifecycleHandler

_LINUX_SIGNALS = """
    ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP
    TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX
"""
_SIGNALS = {
    "linux": (
        *(f"SIG{name}" for name in _LINUX_SIGNALS.split()),
        *(f"SIGRTMIN+{number}" for number in range(1, 16)),
        *(f"SIGRTMAX-{number}" for number in range(1, 15)),
    ),
    "windows": ("SIGKILL", "SIGTERM"),
}
_ACTIONS = {"exec": "exec", "http_get": "httpGet", "tcp_socket": "tcpSocket", "grpc": "grpc", "sleep": "sleep"}


def validate_probe(probe: corev1.Probe, path: str) -> Errors:
    """Check a probe of any of the three sorts."""
    yield from validate_handler(probe.handler, path)
    for field, value in (
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ):
        yield from non_negative(f"{path}.{field}", value)
    if probe.HasField("termination_grace_period_seconds") and probe.termination_grace_period_seconds <= 0:
        value = probe.termination_grace_period_seconds
        yield FieldError.invalid(f"{path}.terminationGracePeriodSeconds", value, "must be greater than 0")


def validate_single_success(probe: corev1.Probe, path: str) -> Errors:
    """Check that liveness and startup are settled by one success."""
    if probe.success_threshold != 1:
        yield FieldError.invalid(f"{path}.successThreshold", probe.success_threshold, "must be 1")


def validate_lifecycle(lifecycle: corev1.Lifecycle, spec: corev1.PodSpec, path: str) -> Errors:
    """Check what happens when a container starts and stops."""
    for name, field in (("post_start", "postStart"), ("pre_stop", "preStop")):
        if not lifecycle.HasField(name):
            continue
        handler, here = getattr(lifecycle, name), f"{path}.{field}"
        yield from validate_handler(handler, here)
        most = spec.termination_grace_period_seconds
        if handler.HasField("sleep") and not 0 <= handler.sleep.seconds <= most:
            text = f"must be non-negative and less than terminationGracePeriodSeconds ({most})"
            yield FieldError.invalid(f"{here}.sleep", handler.sleep.seconds, text)
    if lifecycle.HasField("stop_signal"):
        here, word = f"{path}.stopSignal", lifecycle.stop_signal
        if not spec.HasField("os"):
            yield FieldError.forbidden(here, "may not be set for containers with empty `spec.os.name`")
        elif spec.os.name in _SIGNALS:
            yield from supported(here, word, _SIGNALS[spec.os.name])


def validate_handler(handler: Handler, path: str) -> Errors:
    """Check what a probe or hook does."""
    present = [field.name for field, _ in handler.ListFields()]
    if not present:
        yield FieldError.required(path, "must specify a handler type")
        return
    for extra in present[1:]:
        yield FieldError.forbidden(f"{path}.{_ACTIONS[extra]}", "may not specify more than 1 handler type")
    match present[0]:
        case "exec" if not handler.exec.command:
            yield FieldError.required(f"{path}.exec.command")
        case "http_get":
            yield from _validate_http_get(handler.http_get, f"{path}.httpGet")
        case "tcp_socket":
            yield from validate_port(handler.tcp_socket.port, f"{path}.tcpSocket.port")
        case "grpc" if isinstance(handler, corev1.ProbeHandler):
            yield from check(f"{path}.grpc.port", handler.grpc.port, names.port_number(handler.grpc.port))


def _validate_http_get(action: corev1.HTTPGetAction, path: str) -> Errors:
    if not action.path:
        yield FieldError.required(f"{path}.path")
    yield from validate_port(action.port, f"{path}.port")
    for header in action.http_headers:
        yield from check(f"{path}.httpHeaders", header.name, names.http_header_name(header.name))


def validate_port(port: intstr_pb2.IntOrString, path: str) -> Errors:
    """Check a port given by number or by the name it has in the container."""
    if port.type == 1:
        yield from check(path, port.str_val, names.port_name(port.str_val))
    else:
        yield from check(path, port.int_val, names.port_number(port.int_val))
