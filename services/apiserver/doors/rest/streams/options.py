"""What a request asks of a stream: query parameters, checked as Kubernetes checks them."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.codec.times import parse_moment
from navarch.services.api.errors import BadRequest, Invalid
from navarch.services.api.field_errors import FieldError
from navarch.services.apiserver.doors.rest.call import Call
from navarch.services.client.streams.serving import Wanted

DEFAULT_CONTAINER_ANNOTATION = "kubectl.kubernetes.io/default-container"
NOTHING_WANTED = "you must specify at least 1 of stdin, stdout, stderr"
LOG_STREAMS = ("All", "Stderr", "Stdout")


def container_names(pod: corev1.Pod) -> list[str]:
    """All containers of a Pod, in the order in which Kubernetes lists them."""
    spec = pod.spec
    names = [one.name for one in [*spec.init_containers, *spec.containers]]
    return names + [one.ephemeral_container_common.name for one in spec.ephemeral_containers]


def container_of(pod: corev1.Pod, name: str) -> str:
    """The container that is meant. Raises BadRequest where that is not clear, or there is none."""
    every = container_names(pod)
    if name and name not in every:
        raise BadRequest(f"container {name} is not valid for pod {pod.metadata.name}")
    if name:
        return name
    default = pod.metadata.annotations.get(DEFAULT_CONTAINER_ANNOTATION, "")
    if default in every:
        return default
    if len(pod.spec.containers) == 1:
        return pod.spec.containers[0].name
    raise BadRequest(
        f"a container name must be specified for pod {pod.metadata.name}, choose one of: [{' '.join(every)}]"
    )


def wanted_streams(call: Call, *, is_exec: bool) -> Wanted:
    """Which streams of a process are asked for. Raises BadRequest."""
    tty = call.flag("tty")
    # A terminal has one output.
    stderr = call.flag("stderr") and not tty
    wanted = Wanted(call.flag("stdin"), call.flag("stdout"), stderr, tty, is_exec)
    if not (wanted.stdin or wanted.stdout or wanted.stderr):
        raise BadRequest(NOTHING_WANTED)
    return wanted


def log_options(call: Call) -> corev1.PodLogOptions:
    """Which part of a log is asked for. Raises BadRequest or Invalid."""
    options = corev1.PodLogOptions(
        container=call.text("container"),
        follow=call.flag("follow"),
        previous=call.flag("previous"),
        timestamps=call.flag("timestamps"),
        insecure_skip_tls_verify_backend=call.flag("insecureSkipTLSVerifyBackend"),
    )
    for parameter, field in (
        ("sinceSeconds", "since_seconds"),
        ("tailLines", "tail_lines"),
        ("limitBytes", "limit_bytes"),
    ):
        if call.text(parameter):
            setattr(options, field, call.number(parameter))
    if call.text("stream"):
        options.stream = call.text("stream")
    if text := call.text("sinceTime"):
        try:
            options.since_time.seconds = parse_moment(text)[0]
        except ValueError:
            raise BadRequest(f"sinceTime: Invalid value: {text!r}: a time of RFC 3339 is accepted") from None
    if faults := list(_log_faults(options)):
        raise Invalid("PodLogOptions", call.path.name if call.path else "", faults)
    return options


def _log_faults(options: corev1.PodLogOptions) -> list[FieldError]:
    faults = []
    if options.HasField("tail_lines") and options.tail_lines < 0:
        faults.append(FieldError.invalid("tailLines", options.tail_lines, "must be greater than or equal to 0"))
    if options.HasField("limit_bytes") and options.limit_bytes < 1:
        faults.append(FieldError.invalid("limitBytes", options.limit_bytes, "must be greater than 0"))
    if options.HasField("since_seconds") and options.HasField("since_time"):
        faults.append(FieldError.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    elif options.HasField("since_seconds") and options.since_seconds < 1:
        faults.append(FieldError.invalid("sinceSeconds", options.since_seconds, "must be greater than 0"))
    if options.stream and options.stream not in LOG_STREAMS:
        faults.append(FieldError.not_supported("stream", options.stream, LOG_STREAMS))
    elif options.stream in ("Stdout", "Stderr") and options.HasField("tail_lines"):
        faults.append(FieldError.forbidden("", "`tailLines` and specific `stream` are mutually exclusive for now"))
    return faults


def ports_of(call: Call) -> list[int]:
    """The ports of a forward in the older form: ports=80,443 or ports=80&ports=443. Raises BadRequest."""
    texts = [text for value in call.request.query.getall("ports", []) for text in value.split(",")]
    if not texts:
        raise BadRequest('query parameter "ports" is required')
    for text in texts:
        if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
            raise BadRequest(f'unable to parse "{text}" as a port')
    return [int(text) for text in texts]
