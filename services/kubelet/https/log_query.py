"""The options of a log in the query of /containerLogs, read and checked as the genuine kubelet does."""

from collections.abc import Mapping

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.codec.times import parse_moment
from navarch.services.api.errors import ApiError

STREAMS = ("", "All", "Stdout", "Stderr")
# The least that a number may be.
NUMBERS = {
    "sinceSeconds": ("since_seconds", 1),
    "tailLines": ("tail_lines", 0),
    "limitBytes": ("limit_bytes", 1),
}


class BadLogQuery(ApiError):
    """A query that cannot be read, or asks for what there is not."""

    reason = "Invalid"
    code = 422

    def __init__(self, message: str) -> None:
        super().__init__(f'{{"message": "{message}"}}')


def log_options(query: Mapping[str, str], container: str) -> corev1.PodLogOptions:
    """The options. Raises BadLogQuery."""
    options = corev1.PodLogOptions(
        container=container,
        follow=_truth(query, "follow"),
        previous=_truth(query, "previous"),
        timestamps=_truth(query, "timestamps"),
        stream=query.get("stream", ""),
    )
    try:
        for name, (field, _) in NUMBERS.items():
            if text := query.get(name, ""):
                setattr(options, field, int(text))
        if text := query.get("sinceTime", ""):
            options.since_time.seconds, micros = parse_moment(text)
            options.since_time.nanos = micros * 1000
    except ValueError as failure:
        raise BadLogQuery("Unable to decode query.") from failure
    if not _is_valid(options):
        raise BadLogQuery("Invalid request.")
    return options


def _is_valid(options: corev1.PodLogOptions) -> bool:
    given = {field.name: value for field, value in options.ListFields()}
    return (
        all(given.get(field, least) >= least for field, least in NUMBERS.values())
        and not {"since_seconds", "since_time"} <= given.keys()
        and options.stream in STREAMS
        # The last lines of one stream alone are not to be found without reading all.
        and not ("tail_lines" in given and options.stream not in ("", "All"))
    )


def _truth(query: Mapping[str, str], name: str) -> bool:
    return name in query and query[name].lower() not in ("false", "0")
