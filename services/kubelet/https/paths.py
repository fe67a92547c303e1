"""What the paths that a kubelet serves are called in its metrics."""

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
