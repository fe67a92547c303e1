"""Paths of requests: as they came, since they are authorized and served by their words, and as metrics call them."""

from multidict import MultiDictProxy
from yarl import URL

DOCUMENTS = frozenset(
    {"checkpoint", "configz", "flagz", "healthz", "logs", "metrics", "pods", "runningpods", "stats", "statusz"}
)
STREAMS = frozenset({"attach", "containerLogs", "exec", "portForward", "run"})
PAGES = frozenset(
    {
        "healthz/log",
        "healthz/ping",
        "healthz/syncloop",
        "metrics/cadvisor",
        "metrics/probes",
        "metrics/resource",
        "stats/summary",
    }
)


def served_path(path: str) -> str:
    """A path without the names of Pods; "other" for what is not served: callers cannot make series."""
    page = path.strip("/")
    word = page.partition("/")[0]
    if page in PAGES:
        return page
    return word if word in DOCUMENTS | STREAMS else "other"


def raw_path(target: str) -> str:
    """The path of a request's target as it came: nothing is decoded, and no dots are resolved."""
    return target.partition("?")[0]


def query_of(target: str) -> MultiDictProxy[str]:
    """The parameters of a request's target, decoded."""
    return URL.build(query_string=target.partition("?")[2], encoded=True).query
