"""The operations that the server says it has, with data that fits and data that does not (schemathesis).

Its generator runs in a thread, example by example; requests go the way of all others here, and so are judged as they.
"""

import asyncio
import contextlib
import json
import random
import time
from typing import Any

import hypothesis
import requests
import schemathesis

# Loaded by schemathesis when it is first used, in the middle of a test; there CPython 3.11.2 cannot parse a module
# while it collects what other tests have left (gh-106905).
import schemathesis.specs.openapi.adapter.v2
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from navarch.testing.door_fuzz.http1 import Answer, Client
from navarch.testing.door_fuzz.subject import Subject
from navarch.testing.door_fuzz.tally import Tally, Turn

_EXAMPLES = 6
_BASE = "http://localhost"
_MODES = (GenerationMode.POSITIVE, GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


class _Enough(Exception):
    """The turn is over."""


async def operations(subject: Subject, turn: Turn) -> None:
    """Go on until the end of the turn: operations in any order, of all groups and versions."""
    client = Client(subject, turn.tally)
    loop = asyncio.get_running_loop()
    documents: dict[str, Any] = {}

    def ask(method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer | None:
        return asyncio.run_coroutine_threadsafe(client.ask(method, target, body, headers), loop).result()

    try:
        index = await _document(client, "/openapi/v3")
        served = {path: entry["serverRelativeURL"] for path, entry in index["paths"].items()}
        while turn.goes_on():
            path = turn.rng.choice(sorted(served))
            if path not in documents:
                documents[path] = _operations(await _document(client, served[path]), turn.tally)
            if documents[path]:
                operation = turn.rng.choice(documents[path])
                await asyncio.to_thread(_try, operation, turn, ask)
    finally:
        client.close()


async def _document(client: Client, path: str) -> Any:
    found = await client.ask("GET", path, b"", {"Accept": "application/json"})
    assert found is not None
    return json.loads(found.body)


def _operations(document: dict[str, Any], tally: Tally) -> list[Any]:
    schema = schemathesis.openapi.from_dict(document)
    operations = []
    for result in schema.get_all_operations():
        if isinstance(result, Ok):
            operations.append(result.ok())
        else:
            tally.find("an operation that is none", str(result.err()))
    return operations


def _try(operation: Any, turn: Turn, ask: Any) -> None:
    """Some examples of an operation; a generator that finds none is no finding."""
    rng = random.Random(turn.rng.random())
    strategy = operation.as_strategy(generation_mode=rng.choice(_MODES))

    @hypothesis.seed(rng.randrange(2**32))
    @hypothesis.settings(
        max_examples=_EXAMPLES,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=strategy)
    def examples(case: Any) -> None:
        if time.monotonic() > turn.end:
            raise _Enough
        _send(case, ask)

    with contextlib.suppress(_Enough, hypothesis.errors.HypothesisException, schemathesis.errors.SchemathesisError):
        examples()


def _send(case: Any, ask: Any) -> None:
    prepared = requests.Request(**_arguments(case)).prepare()
    path, _, query = (prepared.path_url or "/").partition("?")
    # The first one counts: no watch goes on.
    query = f"timeoutSeconds=1&{query}"
    if prepared.method == "DELETE" and path.endswith("/namespaces/default"):
        return
    body = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body or b""
    named = {str(name): _text(value) for name, value in prepared.headers.items()}
    headers = {name: value for name, value in named.items() if name not in ("Content-Length", "Transfer-Encoding")}
    ask(prepared.method or "GET", f"{path}?{query}", body if isinstance(body, bytes) else b"", headers)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _arguments(case: Any) -> dict[str, Any]:
    known = {"method", "url", "params", "json", "data", "headers", "cookies", "files"}
    return {name: value for name, value in case.as_transport_kwargs(base_url=_BASE).items() if name in known}
