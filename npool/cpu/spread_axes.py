"""The axes of sums that are handed back: which windows an element lies in, and how they are cut."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd, prod

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Axis", "alike", "capacity", "classes_of", "divisors", "first_flat", "is_together", "joined",
    "tiled",
]  # fmt: skip

#: Elements of a row of the result below which it is not cut any further, if it can be helped.
SHORT_ROW = 512
#: Distance of windows along the row up to which phases are put side by side.
NEAR = 1024


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a result: which windows its elements lie in, and where it is in memory.

    Window `o` holds the elements ``o * stride - before + j * dilation`` for ``j`` below
    `kernel`. `runs` are the divisors as ``(stop, count)``, of windows.
    """

    length: int
    out: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    before: int = 0
    runs: tuple[tuple[int, int], ...] = ()
    in_stride: int = 0
    out_stride: int = 0

    @property
    def pooled(self) -> bool:
        return (self.kernel, self.stride, self.before) != (1, 1, 0) or self.out != self.length

    @property
    def gap(self) -> int:
        """Distance of the windows that an element lies in."""
        return self.dilation // gcd(self.stride, self.dilation)

    def phases(self) -> list[tuple[int, int]]:
        """``(shift, taps)`` for each element modulo the stride (`npool.cpu.spread`)."""
        s, d, found = self.stride, self.dilation, []
        common = gcd(s, d)
        period = s // common
        inverse = pow(d // common, -1, period) if period > 1 else 0
        for e in range(min(s, self.length)):
            r = (e + self.before) % s
            j = r // common * inverse % period
            inside = r % common == 0 and j < self.kernel
            taps = -(-(self.kernel - j) // period) if inside else 0
            found.append(((j * d - r) // s, taps) if taps else (0, 0))
        return found


def joined(dims: list[Axis]) -> list[Axis]:
    """Neighbours that lie together as one axis, where both are treated alike; two at least."""
    merged: list[Axis] = []
    for dim in _whole(dims):
        if dim.length == dim.out == 1 and not dim.pooled and not dim.runs:
            continue
        last = merged[-1] if merged else None
        if last is not None and not last.pooled and len(last.runs) <= 1:
            # Windows side by side that fill the axis: more of them.
            fill = (
                dim.before == 0
                and dim.length == dim.out * dim.stride
                and dim.dilation * (dim.kernel - 1) < dim.stride
                and len(dim.runs) <= 1
            )
            if (
                fill
                and last.in_stride == dim.in_stride * dim.length
                and last.out_stride == dim.out_stride * dim.out
            ):
                # An axis that is summed later has its count here (npool.gradients.transposed).
                n, more = last.length, prod(count for _, count in last.runs)
                runs = dim.runs or (((dim.out, 1),) if last.runs else ())
                merged[-1] = replace(
                    dim,
                    length=dim.length * n,
                    out=dim.out * n,
                    runs=tuple((stop * n, count * more) for stop, count in runs),
                )
                continue
        merged.append(dim)
    if merged:
        row = merged[-1]
        if row.pooled and row.stride > min(NEAR, row.length):
            merged.append(Axis(1, 1, in_stride=1, out_stride=1))
    while len(merged) < 2:
        merged.insert(0, Axis(1, 1))
    return merged


def _whole(dims: list[Axis]) -> list[Axis]:
    """Neighbours that one window covers whole, and that lie together, as one axis."""
    found: list[Axis] = []
    for dim in dims:
        last = found[-1] if found else None
        if (
            last is not None
            and last.in_stride == dim.in_stride * dim.length
            and all(
                one.out == 1 and one.dilation == 1 and 0 <= one.before <= one.kernel - one.length
                for one in (last, dim)
            )
        ):
            n = last.length * dim.length
            count = prod(runs[0][1] for runs in (last.runs, dim.runs) if runs)
            runs = ((1, count),) if last.runs or dim.runs else ()
            found[-1] = replace(dim, length=n, out=1, kernel=n, stride=n, before=0, runs=runs)
        else:
            found.append(dim)
    return found


def divisors(
    dims: list[Axis], divisor: int
) -> tuple[NDArray[np.int64], list[int], NDArray[np.float64]]:
    """The runs of each dimension, where each one's begin, and the divisors that they name."""
    rows: list[tuple[int, int]] = []
    at = []
    params = np.array([float(divisor or 1)])
    for dim in dims:
        at.append(len(rows))
        runs = dim.runs or ((dim.out, 1),)
        rows += [(stop, k * params.size) for k, (stop, _) in enumerate(runs)]
        if dim.runs:
            params = np.multiply.outer([float(count) for _, count in runs], params).ravel()
    return np.array(rows, np.int64), at, params


def classes_of(phases: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of each phase, whether it is the first of its class, and the class."""
    known: dict[tuple[int, int], int] = {}
    found = []
    for phase in phases:
        first = phase not in known
        found.append((int(first), known.setdefault(phase, len(known))))
    return found


def alike(phases: list[tuple[int, int]]) -> list[int]:
    """Of each phase, how many from it on, round the period, are the same."""
    found = [1] * len(phases)
    # Twice round, backwards: what begins a run that goes on at the start is known the second time.
    for k in reversed(range(2 * len(phases))):
        i, following = k % len(phases), (k + 1) % len(phases)
        more = k < 2 * len(phases) - 1 and phases[i] == phases[following]
        found[i] = min(len(phases), found[following] + 1) if more else 1
    return found


def _extent(dim: Axis, back: int, tile: int) -> int:
    """The most windows that a tile needs."""
    return min((tile + dim.stride - 2) // dim.stride + 1, tile) + back


def tiled(dims: list[Axis], backs: list[int], room: int) -> list[int]:
    """Cut the result until a tile fits, where the fewest gradients are read twice."""
    tiles = [dim.length for dim in dims]
    while capacity(dims, backs, tiles, 1) > room:
        best: tuple[float, int, int] | None = None
        for i, dim in enumerate(dims):
            half = -(-tiles[i] // 2)
            if half > dim.stride:
                half = -(-half // dim.stride) * dim.stride
            if half < tiles[i]:
                cost = backs[i] * dim.stride / half
                if i == len(dims) - 1 and half < SHORT_ROW:
                    cost += SHORT_ROW / half
                if best is None or cost < best[0]:
                    best = (cost, i, half)
        if best is None:
            break
        tiles[best[1]] = best[2]
    return tiles


def capacity(dims: list[Axis], backs: list[int], tiles: list[int], classes: int) -> int:
    """The most elements that a buffer holds, from the gradients to the finished tile."""
    sizes = [_extent(*one) for one in zip(dims, backs, tiles, strict=True)]
    most = prod(sizes)
    row = dims[-1]
    periods = sizes[-1] - backs[-1]
    most = max(most, prod(sizes[:-1]) * periods * classes)
    for i in range(len(dims) - 1, -1, -1):
        sizes[i] = max(tiles[i], periods * row.stride) if i == len(dims) - 1 else tiles[i]
        most = max(most, prod(sizes))
    return -(-most // 16) * 16


def is_together(dims: list[Axis], tiles: list[int], pivot: int, flat: int) -> bool:
    """Whether the part of a tile from the pivot on is one stretch of the result."""
    inner = prod(tiles[flat:])
    lies = dims[-1].in_stride == 1 and not (dims[-1].before % dims[-1].stride)
    rows = tiles[pivot] == 1 or dims[pivot].in_stride == inner
    return lies and tiles[-1] % dims[-1].stride == 0 and flat == pivot + 1 and rows


def first_flat(dims: list[Axis], tiles: list[int], pivot: int) -> int:
    """The first of the last dimensions whose part of a tile lies together in the result."""
    flat, row = len(dims) - 1, dims[-1]
    if row.in_stride != 1 or row.before % row.stride or tiles[-1] % row.stride:
        return flat
    while (
        flat > pivot + 1
        and tiles[flat] == dims[flat].length
        and dims[flat - 1].in_stride == dims[flat].in_stride * dims[flat].length
    ):
        flat -= 1
    return flat
