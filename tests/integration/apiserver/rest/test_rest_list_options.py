"""Options of lists and watches: which go together, and how a list goes on whose history is gone."""

from typing import Any

import pytest

MAPS = "/api/v1/namespaces/default/configmaps"
FORBIDDEN, UNSUPPORTED = "FieldValueForbidden", "FieldValueNotSupported"
MATCH = "resourceVersionMatch"
WITH_CONTINUE = f"Forbidden: {MATCH} is forbidden when continue is provided"
WATCH_ONLY = f"Forbidden: {MATCH} is forbidden for watch unless sendInitialEvents is provided"
NEEDS_MATCH = f"Forbidden: sendInitialEvents requires setting {MATCH} to NotOlderThan"
NEWEST_OF_A_WATCH = 'Unsupported value: "Newest": supported values: "NotOlderThan"'


@pytest.mark.parametrize(
    ("query", "causes"),
    [
        (f"{MATCH}=Exact", [(FORBIDDEN, MATCH, f"Forbidden: {MATCH} is forbidden unless resourceVersion is provided")]),
        (f"{MATCH}=Exact&resourceVersion=1&continue=x", [(FORBIDDEN, MATCH, WITH_CONTINUE)]),
        (
            f"{MATCH}=Exact&resourceVersion=0",
            [(FORBIDDEN, MATCH, f'Forbidden: {MATCH} "exact" is forbidden for resourceVersion "0"')],
        ),
        (
            f"{MATCH}=Newest&resourceVersion=1",
            [(UNSUPPORTED, MATCH, 'Unsupported value: "Newest": supported values: "Exact", "NotOlderThan", ""')],
        ),
        (
            "sendInitialEvents=false",
            [(FORBIDDEN, "sendInitialEvents", "Forbidden: sendInitialEvents is forbidden for list")],
        ),
        (f"watch=1&{MATCH}=NotOlderThan", [(FORBIDDEN, MATCH, WATCH_ONLY)]),
        ("watch=1&sendInitialEvents=true", [(FORBIDDEN, MATCH, NEEDS_MATCH)]),
        (
            f"watch=1&sendInitialEvents=true&{MATCH}=Newest",
            [(FORBIDDEN, MATCH, NEEDS_MATCH), (UNSUPPORTED, MATCH, NEWEST_OF_A_WATCH)],
        ),
        (
            f"watch=1&sendInitialEvents=true&{MATCH}=NotOlderThan&continue=x",
            [(FORBIDDEN, MATCH, WITH_CONTINUE)],
        ),
    ],
)
async def test_options_that_contradict_each_other(rest: Any, query: str, causes: list[tuple[str, str, str]]) -> None:
    refused = await rest.get(f"{MAPS}?{query}")
    assert (refused.status, refused.reason) == (422, "Invalid"), refused.body
    details = refused.json["details"]
    assert (details["group"], details["kind"]) == ("meta.k8s.io", "ListOptions")
    assert [(one["reason"], one["field"], one["message"]) for one in details["causes"]] == causes
    assert refused.json["message"].startswith('ListOptions.meta.k8s.io "" is invalid: ')


async def test_nothing_is_deleted_by_contradicting_options(rest: Any) -> None:
    await rest.make(MAPS, "a")
    refused = await rest.ask("DELETE", f"{MAPS}?sendInitialEvents=true")
    assert (refused.status, refused.reason) == (422, "Invalid")
    assert (await rest.get(f"{MAPS}/a")).status == 200


async def test_who_may_not_list_is_told_only_that(connect: Any) -> None:
    nobody = await connect("nobody")
    for method in ("GET", "DELETE"):
        assert (await nobody.ask(method, f"{MAPS}?sendInitialEvents=true")).status == 403


async def test_a_list_goes_on_without_its_history(rest: Any, cluster: Any) -> None:
    for name in "bdf":
        await rest.make(MAPS, name)
    token = (await rest.get(f"{MAPS}?limit=1")).json["metadata"]["continue"]
    await rest.make(MAPS, "a")
    await rest.make(MAPS, "c")
    await rest.ask("DELETE", f"{MAPS}/d")
    last = await rest.make(MAPS, "e")
    await cluster.compact(last["metadata"]["resourceVersion"])
    refused = await rest.get(f"{MAPS}?limit=2&continue={token}")
    assert (refused.status, refused.reason) == (410, "Expired")
    assert "use the continue token in this response" in refused.json["message"]
    # What came before the place in the meantime is missed; the pages from here on are of one moment again.
    page = (await rest.get(f"{MAPS}?limit=2&continue={refused.json['metadata']['continue']}")).json
    assert [item["metadata"]["name"] for item in page["items"]] == ["c", "e"]
    await rest.make(MAPS, "g")
    end = (await rest.get(f"{MAPS}?limit=2&continue={page['metadata']['continue']}")).json
    assert [item["metadata"]["name"] for item in end["items"]] == ["f"]
    assert end["metadata"]["resourceVersion"] == page["metadata"]["resourceVersion"]


async def test_an_exact_list_that_is_gone_offers_no_token(rest: Any, cluster: Any) -> None:
    first = await rest.make(MAPS, "a")
    last = await rest.make(MAPS, "b")
    await cluster.compact(last["metadata"]["resourceVersion"])
    query = f"resourceVersion={first['metadata']['resourceVersion']}&resourceVersionMatch=Exact"
    refused = await rest.get(f"{MAPS}?{query}")
    assert (refused.status, refused.json["metadata"]) == (410, {})
