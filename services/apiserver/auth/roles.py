"""What a role is: rules over resources and over paths, in a notation that reads like a sentence.

    get,list,watch   pods services endpointslices@discovery.k8s.io
    update           leases@coordination.k8s.io  name=kube-scheduler  in=kube-system
    get              */scale
    get              /healthz /openapi/*

A resource is written with its group; "*" stands for all of them in all groups, "*/scale" for that part of all, a path's
last "*" for whatever follows.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from navarch.services.apiserver.auth.authorizer import Attributes


@dataclass(frozen=True, slots=True)
class Rule:
    """Verbs on resources ("pods/status", "leases@coordination.k8s.io") or on paths.

    names: only these objects; namespaces: only there. Empty for all.
    """

    verbs: frozenset[str]
    resources: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()

    def covers(self, wanted: Attributes) -> bool:
        """Whether a request for one of the resources is what this rule allows."""
        if wanted.verb not in self.verbs and "*" not in self.verbs:
            return False
        if self.names and wanted.name not in self.names:
            return False
        return not self.namespaces or wanted.namespace in self.namespaces

    def covers_path(self, verb: str, path: str) -> bool:
        """Whether it allows a verb on a path that is no resource."""
        return (verb in self.verbs or "*" in self.verbs) and any(
            path.startswith(one[:-1]) if one.endswith("*") else path == one for one in self.paths
        )


class Role:
    """Rules, found by resource."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._by_resource: dict[str, list[Rule]] = {}
        for rule in self.rules:
            for resource in rule.resources:
                self._by_resource.setdefault(resource, []).append(rule)
        self._with_paths = [rule for rule in self.rules if rule.paths]
        self._for_all = self._by_resource.pop("*", [])
        for found in self._by_resource.values():
            found.extend(self._for_all)

    def allows(self, wanted: Attributes) -> bool:
        """Whether one of the rules does."""
        if wanted.url:
            return any(rule.covers_path(wanted.verb, wanted.url) for rule in self._with_paths)
        rules = self._by_resource.get(wanted.key, self._for_all)
        if any(rule.covers(wanted) for rule in rules):
            return True
        of_part = self._by_resource.get(f"*/{wanted.subresource}", ()) if wanted.subresource else ()
        return any(rule.covers(wanted) for rule in of_part)


def role(text: str) -> Role:
    """The role that a text in the notation above describes."""
    return Role(_rule(line.split()) for line in text.strip().splitlines())


def _rule(words: list[str]) -> Rule:
    verbs, *rest = words
    what = [word for word in rest if "=" not in word]
    conditions = [word.partition("=")[::2] for word in rest if "=" in word]
    return Rule(
        frozenset(verbs.split(",")),
        tuple(word for word in what if not word.startswith("/")),
        tuple(word for word in what if word.startswith("/")),
        frozenset(value for key, value in conditions if key == "name"),
        frozenset(value for key, value in conditions if key == "in"),
    )
