"""A kopf operator for the tests: it writes what it did to the status of its Gadgets, and posts an event."""

import os
from typing import Any

import kopf

GROUP = os.environ["GADGET_GROUP"]
GADGETS = (GROUP, "v1", "gadgets")


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.peering.name = os.environ["GADGET_PEERING"]
    settings.peering.mandatory = True
    settings.persistence.finalizer = f"{GROUP}/finalizer"


@kopf.on.create(*GADGETS)
def created(body: kopf.Body, spec: kopf.Spec, patch: kopf.Patch, **_: Any) -> None:
    patch.status["seen"] = [f"created {spec['size']}"]
    kopf.info(body, reason="Built", message=f"a gadget of size {spec['size']}")


@kopf.on.update(*GADGETS, field="spec.size")
def resized(old: int, new: int, status: kopf.Status, patch: kopf.Patch, **_: Any) -> None:
    patch.status["seen"] = [*status["seen"], f"{old} to {new}"]


@kopf.on.delete(*GADGETS)
def deleted(name: str, namespace: str, **_: Any) -> None:
    # Where a test sees it: the object itself is about to go.
    print(f"deleted {namespace}/{name}", flush=True)
