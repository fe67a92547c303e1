"""Devices, the claims on them, and what nodes offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from navarch.services.api.printers.table import Cell, Table, age_of, columns

if TYPE_CHECKING:
    from navarch.protos.k8s.resource import v1_pb2 as resourcev1


def _claim(claim: resourcev1.ResourceClaim, now: float) -> tuple[Cell, ...]:
    is_deleted, status = claim.metadata.HasField("deletion_timestamp"), claim.status
    words = ["deleted"] if is_deleted else []
    if status.HasField("allocation"):
        words += ["allocated", *(["reserved"] if status.reserved_for else [])]
    elif not is_deleted:
        words.append("pending")
    return (claim.metadata.name, ",".join(words), age_of(claim, now))


def _slice(piece: resourcev1.ResourceSlice, now: float) -> tuple[Cell, ...]:
    spec = piece.spec
    return (piece.metadata.name, spec.node_name, spec.driver, spec.pool.name, age_of(piece, now))


CLAIM = Table(columns("State", "Age"), _claim)
SLICE = Table(columns("Node", "Driver", "Pool", "Age"), _slice)
