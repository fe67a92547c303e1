"""The names of schemas: those under which Kubernetes publishes them, so that generated clients agree."""

from typing import Any, Final

from navarch.services.api.kinds import Kind

DELETE_OPTIONS: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
PATCH: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"
STATUS: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.Status"
WATCH_EVENT: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent"
LIST_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"
OBJECT_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
# Protobuf packages whose Go packages have a dash, or that publish under a shorter name.
_RENAMED: Final = {
    "k8s.io.apiextensions_apiserver.": "io.k8s.apiextensions-apiserver.",
    "k8s.io.kube_aggregator.": "io.k8s.kube-aggregator.",
    "k8s.io.": "io.k8s.",
}


def of_message(full_name: str) -> str:
    """The schema name of a protobuf message."""
    for prefix, replacement in _RENAMED.items():
        if full_name.startswith(prefix):
            return replacement + full_name.removeprefix(prefix)
    return full_name


def of_kind(kind: Kind) -> str:
    """The schema name of a kind; that of a custom resource begins with its group, last part first."""
    if kind.is_custom:
        return f"{_reversed(kind.group)}.{kind.version}.{kind.kind}"
    return of_message(kind.full_name)


def of_list(kind: Kind) -> str:
    """The schema name of a list of a kind."""
    if kind.is_custom:
        return f"{_reversed(kind.group)}.{kind.version}.{kind.list_kind}"
    return of_message(f"{kind.full_name}List")


def _reversed(group: str) -> str:
    return ".".join(reversed(group.split(".")))


def gvk(group: str, version: str, kind: str) -> dict[str, Any]:
    """The form in which documents say which kind something is about."""
    return {"group": group, "kind": kind, "version": version}
