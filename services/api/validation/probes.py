"""Rules for probes and life cycle hooks: exactly one way to act, and sane numbers."""

from navarch.protos.k8s import intstr_pb2
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.values import Errors, check, non_negative

Handler = corev1.ProbeHandler | corev1.LifecycleHandler

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


def validate_handler(handler: Handler, path: str) -> Errors:
    """Check what a probe or hook does."""
    present = [field.name for field, _ in handler.ListFields()]
    if not present:
        yield FieldError.required(path, "must specify a handler type")
    for extra in present[1:]:
        yield FieldError.forbidden(f"{path}.{_ACTIONS[extra]}", "may not specify more than 1 handler type")
    if "exec" in present and not handler.exec.command:
        yield FieldError.required(f"{path}.exec.command")
    if "http_get" in present:
        yield from _validate_http_get(handler.http_get, f"{path}.httpGet")
    if "tcp_socket" in present:
        yield from validate_port(handler.tcp_socket.port, f"{path}.tcpSocket.port")
    if isinstance(handler, corev1.ProbeHandler):
        if handler.HasField("grpc"):
            yield from check(f"{path}.grpc.port", handler.grpc.port, names.port_number(handler.grpc.port))
    elif handler.HasField("sleep"):
        yield from non_negative(f"{path}.sleep", handler.sleep.seconds)


def _validate_http_get(action: corev1.HTTPGetAction, path: str) -> Errors:
    if not action.path:
        yield FieldError.required(f"{path}.path")
    yield from validate_port(action.port, f"{path}.port")
    for index, header in enumerate(action.http_headers):
        yield from check(f"{path}.httpHeaders[{index}].name", header.name, names.http_header_name(header.name))


def validate_port(port: intstr_pb2.IntOrString, path: str) -> Errors:
    """Check a port given by number or by the name it has in the container."""
    if port.type == 1:
        yield from check(path, port.str_val, names.port_name(port.str_val))
    else:
        yield from check(path, port.int_val, names.port_number(port.int_val))
