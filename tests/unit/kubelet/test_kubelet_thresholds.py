"""Eviction thresholds: what the options say."""

import re

import pytest

from navarch.services.kubelet.core.eviction_signals import Signal
from navarch.services.kubelet.core.eviction_thresholds import (
    Amount,
    Threshold,
    ThresholdError,
    duration_s,
    hard_amount,
    thresholds,
)


def test_the_defaults() -> None:
    found = {one.signal: one.amount for one in thresholds()}
    assert found == {
        Signal.IMAGE_FS: Amount(share=0.15),
        Signal.IMAGE_FS_INODES: Amount(share=0.05),
        Signal.MEMORY: Amount(100 << 20),
        Signal.ALLOCATABLE_MEMORY: Amount(100 << 20),
        Signal.NODE_FS: Amount(share=0.1),
        Signal.NODE_FS_INODES: Amount(share=0.05),
    }
    assert all(one.hard for one in thresholds())
    assert hard_amount(thresholds(), Signal.NODE_FS, 1000) == 100
    assert hard_amount(thresholds(), Signal.PID, 1000) == 0


def test_soft_ones_with_grace_and_minimum_reclaim() -> None:
    found = thresholds(
        "memory.available<1Gi,nodefs.available<0%",
        "memory.available<2Gi",
        "memory.available=1m30s",
        "memory.available=10%",
    )
    reclaim = Amount(share=0.1)
    assert found == (
        Threshold(Signal.MEMORY, Amount(1 << 30), 0.0, reclaim),
        Threshold(Signal.MEMORY, Amount(2 << 30), 90.0, reclaim),
        Threshold(Signal.ALLOCATABLE_MEMORY, Amount(1 << 30), 0.0, reclaim),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("memory.available",), "invalid eviction threshold syntax memory.available, expected <signal><<value>"),
        (("memory<1Gi",), "unsupported eviction signal memory"),
        (("memory.available<1Gi,memory.available<2Gi",), "duplicate eviction threshold memory.available"),
        (("memory.available<-1Gi",), "eviction threshold memory.available must be positive: -1Gi"),
        (("memory.available<0",), "eviction threshold memory.available must be positive: 0"),
        (("memory.available<101%",), "eviction percentage threshold memory.available must be <= 100%: 101%"),
        (("memory.available<-1%",), "eviction percentage threshold memory.available must be >= 0%: -1%"),
        (("memory.available<much",), 'invalid quantity "much"'),
        (("memory.available<x%",), 'invalid percentage "x%"'),
        (("", "pid.available<1"), "grace period must be specified for the soft eviction threshold pid.available"),
        (("", "", "memory.available=-1s"), "invalid eviction grace period specified: -1s, must be a positive value"),
        (("", "", "memory.available=soon"), 'invalid duration "soon"'),
        (("", "", "", "memory.available=0%"), "eviction percentage minimum reclaim memory.available must be positive"),
        (("", "", "", "memory.available=-1"), "negative eviction minimum reclaim specified for memory.available"),
    ],
)
def test_what_makes_no_sense(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ThresholdError, match=re.escape(message)):
        thresholds(*arguments)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0.0), ("90s", 90.0), ("1m30s", 90.0), ("1.5h", 5400.0), ("100ms", 0.1)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)
