"""Checking answers and timing calls: every implementation once a round, in turn; medians."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import Call, Peer
from benchmarks.workloads import Workload

__all__ = ["Row", "check", "measure", "timed", "wrong_answer"]

Array = NDArray[Any]
#: Relative tolerance of an answer, by itemsize of the result.
TOLERANCE = {1: 0.01, 2: 0.02, 4: 2e-4, 8: 1e-6}


@dataclass
class Row:
    """What was measured of a workload: seconds by implementation, and of a copy."""

    workload: Workload
    threads: int
    seconds: dict[str, float] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    copy: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0

    @property
    def best_peer(self) -> str | None:
        """The fastest implementation but npool."""
        peers = {name: t for name, t in self.seconds.items() if name != "npool"}
        return min(peers, key=peers.__getitem__) if peers else None

    def ratio(self, peer: str | None) -> float | None:
        """How many times npool's speed is that of `peer`."""
        if peer is None or peer not in self.seconds:
            return None
        return self.seconds[peer] / self.seconds["npool"]

    @property
    def roofline(self) -> float:
        """Share of the bytes that a copy moves in the same time."""
        floor = self.copy * (self.bytes_in + self.bytes_out) / (2 * self.bytes_in)
        return floor / self.seconds["npool"]


def plain(y: Any) -> Array:
    """The values of an answer as a NumPy array."""
    if isinstance(y, (tuple, list)):
        y = y[0]
    if type(y).__module__.partition(".")[0] == "torch":
        y = y.float() if "bfloat16" in str(y.dtype) else y
        y = y.numpy()
    return np.asarray(y)


def wrong_answer(w: Workload, got: Any, expected: Any) -> str | None:
    """What is wrong with an answer, or None. A peer may have other unit axes."""
    y, z = plain(got), plain(expected)
    if y.size != z.size:
        return f"shape {y.shape}, not {z.shape}"
    shape = [n for n in z.shape if n > 1]
    y = y.reshape(shape) if [n for n in y.shape if n > 1] == shape else np.moveaxis(y, 1, -1)
    tolerance = TOLERANCE[min(z.dtype.itemsize, y.dtype.itemsize)]
    a, b = y.reshape(-1).astype(np.float64), z.reshape(-1).astype(np.float64)
    # Roundings of an integer average differ among peers by one.
    slack = 1.0 if z.dtype.kind in "iu" and w.reduce == "avg" else tolerance
    if not np.allclose(a, b, rtol=tolerance, atol=slack, equal_nan=True):
        return f"differs by up to {np.nanmax(np.abs(a - b)):.3g}"
    return None


def prepared(w: Workload, x: Array, peers: list[Peer], row: Row) -> tuple[dict[str, Call], Any]:
    """The calls whose answer is right, warm, npool's the first."""
    calls: dict[str, Call] = {}
    expected: Any = None
    for peer in peers:
        if peer.set_threads:
            peer.set_threads(row.threads)
        call = peer.prepare(w, x)
        if call is None:
            continue
        try:
            answer = call()
        except Exception as error:  # a peer that has no kernel for a dtype says so here
            row.wrong[peer.name] = f"{type(error).__name__}"
            continue
        if expected is None:
            expected = answer
        fault = wrong_answer(w, answer, expected)
        if fault:
            row.wrong[peer.name] = fault
        else:
            calls[peer.name] = call
    return calls, expected


def measure(w: Workload, peers: list[Peer], threads: int, rounds: int, budget: float = 20.0) -> Row:
    """Time every implementation of `w`, interleaved with a copy of the input."""
    x = w.array()
    row = Row(w, threads, bytes_in=x.nbytes)
    calls, expected = prepared(w, x, peers, row)
    answers = expected if isinstance(expected, tuple) else (expected,)
    row.bytes_out = sum(plain(y).nbytes for y in answers)
    source = np.ascontiguousarray(x)
    target = source.copy()
    times: dict[str, list[float]] = {name: [] for name in calls}
    copies: list[float] = []
    dropped: set[str] = set()
    spent: dict[str, float] = dict.fromkeys(calls, 0.0)
    for _ in range(rounds):
        copies.append(timed(lambda: np.copyto(target, source)))
        for name, call in calls.items():
            if name in dropped:
                continue
            times[name].append(timed(call))
            spent[name] += times[name][-1]
            # A peer that takes long is not asked again: its median is of fewer rounds.
            far_behind = times[name][-1] > 20 * times["npool"][-1] and spent[name] > budget / 40
            if name != "npool" and (far_behind or spent[name] > budget / 4):
                dropped.add(name)
    row.copy = median(copies)
    row.seconds = {name: median(t) for name, t in times.items() if t}
    return row


def timed(call: Call) -> float:
    """Seconds of one call; short calls are repeated to take half a millisecond."""
    began = time.perf_counter()
    call()
    took = time.perf_counter() - began
    if took > 5e-4:
        return took
    repeats = int(5e-4 / max(took, 1e-7)) + 1
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - began) / repeats


def check(w: Workload, peers: list[Peer]) -> Iterator[tuple[str, str | None]]:
    """Compare every implementation, and npool first, with the oracle on a small `w`."""
    from npool.testing import oracle

    small = w.small()
    x = small.array()
    options: dict[str, Any] = {"dtype": small.result} if small.result else {}
    expected = oracle.pool(
        np.ascontiguousarray(x), small.kernel, small.stride, small.padding, small.dilation,
        small.ceil_mode, reduce=small.reduce, axes=small.axes, **options,
    )  # fmt: skip
    for peer in peers:
        if peer.set_threads:
            peer.set_threads(1)
        call = peer.prepare(small, x)
        if call is None:
            continue
        try:
            yield peer.name, wrong_answer(small, call(), expected)
        except Exception as error:  # as in `prepared`
            if peer.name == "npool":
                raise
            yield peer.name, f"{type(error).__name__}"
