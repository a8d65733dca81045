"""From windows and the strides of two arrays to the integers that `npool.cpu.spread` reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache as memoised
from functools import lru_cache
from math import gcd, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.cpu import bounds, lanes, schedule, spread
from npool.cpu.binding import loops
from npool.cpu.compiling import access, address_of, compiled, copies, instructions, lock
from npool.cpu.drivers import assembled, element, gatherer
from npool.cpu.engine import launch
from npool.layout import memory_order
from npool.memory import address
from npool.reducers import REDUCERS, Reducer
from npool.scalars import divide

__all__ = ["Axis", "spread_sums"]

#: Bytes of a buffer of scratch that tiles are cut down to.
ROOM = 1 << 18
#: Elements of a row of the result below which it is not cut any further, if it can be helped.
SHORT_ROW = 512
#: Distance of windows along the row up to which phases are put side by side.
NEAR = 1024
#: Taps that are summed while rows are written.
FEW = 4

_COLUMNS = (
    "LENGTH", "OUT", "STEP", "BEFORE", "BACK", "AHEAD", "GAP", "IN_STRIDE", "OUT_STRIDE", "TILE", "GRID",
    "PHASES", "RUNS", "POOLED",
)  # fmt: skip
_HEAD = (
    "DEPTH", "CAP", "ITEM_BYTES", "PIVOT", "FLAT", "ZEROS", "RUNS_AT", "SUMMED", "DIRECT",
    "STREAM_BYTES",
)  # fmt: skip
_ENV = (
    "GRADIENTS", "RESULT", "PARAMS", "SOURCE_ROWS", "SCRATCH_ROWS", "FILL", "STORE", "GATHER",
    "INTERLEAVE", "REPEAT", "COVER", "STOP",
)  # fmt: skip
_PHASES = ("SHIFT", "TAPS", "OWNER", "PLACE")
_RUNS = ("STOP_AT", "WEIGHED")
_WORK = ("START", "SIZE", "LOW", "EXTENT", "FROM", "UNTIL", "INDEX", "SKIP")
_CONSTANTS = {
    name: i
    for names in (_COLUMNS, _HEAD, _ENV, _PHASES, _RUNS, _WORK)
    for i, name in enumerate(names)
} | {"WORK_WIDTH": len(_WORK), "PHASE_BYTES": 8 * len(_PHASES)}


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a result: which windows its elements lie in, and where it is in memory.

    Window `o` holds the elements ``o * stride - before + j * dilation`` for ``j`` below
    `kernel`. `runs` are the divisors as ``(stop, count)``, of windows. Where windows differ in
    length, `cover` says of each element which is the first that it lies in, and how many are.
    """

    length: int
    out: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    before: int = 0
    runs: tuple[tuple[int, int], ...] = ()
    cover: tuple[tuple[int, int], ...] = ()
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
        if self.cover:
            return [(1 - first - count, count) for first, count in self.cover]
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


def _share(x: Any, count: Any) -> Any:
    return divide(x, count)


#: Gradients over their windows' counts, summed.
_SHARES = Reducer(
    "share", REDUCERS["sum"].combine, 0, lift=_share, accumulator="float", params=(1.0,)
)


@dataclass(frozen=True, slots=True)
class _Laid:
    """Integers of a call."""

    keep: tuple[NDArray[Any], ...]
    tables: tuple[int, int, int]
    tasks: int
    work: int
    scratch: int
    env: NDArray[np.int64]
    params: NDArray[np.float64]
    first: int


def spread_sums(
    gradients: NDArray[Any],
    result: NDArray[Any],
    axes: Sequence[Axis],
    accumulator: np.dtype[Any],
    divisor: int = 0,
) -> None:
    """Write to each element of `result` the sum of the gradients of the windows that it lies in.

    `axes` says of each axis of `result` how (their strides do not count). Each gradient is
    divided by the product of its counts in `runs`, where there are any, or by `divisor`.
    `gradients` must be readable in place, `result` writeable, aligned, in native byte order and
    apart from it.
    """
    pair = 2 if gradients.dtype.kind == "c" else 1
    kinds = [gradients.dtype, result.dtype, accumulator]
    if pair > 1:
        kinds = [np.dtype(f"f{kind.itemsize // 2}") for kind in kinds]
    laid = _laid(
        tuple(axes), gradients.strides, result.strides, pair, *kinds, divisor
    )  # fmt: skip
    env = laid.env.copy()
    env[_CONSTANTS["GRADIENTS"]] = address(gradients)
    env[_CONSTANTS["RESULT"]] = address(result)

    def memory(at: int) -> dict[str, tuple[int, int]]:
        return {
            "gradients": bounds.extent(gradients),
            "result": bounds.extent(result),
            "scratch": (at + laid.first, at + laid.scratch),
            "params": bounds.extent(laid.params),
        }

    launch(
        _driver(), env, _CONSTANTS["STOP"], laid.tables, laid.tasks, laid.work, laid.scratch, memory
    )


@lru_cache(maxsize=1024)
def _laid(
    axes: tuple[Axis, ...],
    g_strides: tuple[int, ...],
    r_strides: tuple[int, ...],
    pair: int,
    dtype: np.dtype[Any],
    result: np.dtype[Any],
    accumulator: np.dtype[Any],
    divisor: int,
) -> _Laid:
    dims = [
        replace(axis, in_stride=r // result.itemsize, out_stride=g // dtype.itemsize)
        for axis, r, g in zip(axes, r_strides, g_strides, strict=True)
    ]
    shape = tuple(axis.length for axis in axes)
    dims = [dims[i] for i in memory_order(shape, r_strides)]
    if pair > 1:
        dims.append(Axis(pair, pair, in_stride=1, out_stride=1))
    # The stride of an axis of one element says nothing: it is taken to lie with its neighbour.
    inside, outside = 1, 1
    for i, dim in reversed(list(enumerate(dims))):
        dims[i] = dim = replace(
            dim,
            in_stride=inside if dim.length == 1 else dim.in_stride,
            out_stride=outside if dim.out == 1 else dim.out_stride,
        )
        inside, outside = dim.in_stride * dim.length, dim.out_stride * dim.out
    dims = _joined(dims)
    first = next((dim for dim in dims if dim.pooled), None)
    if first is not None and max(taps for _, taps in first.phases()) > FEW:
        # Summed before it is written, as others are: an axis before it is then the pivot.
        dims.insert(0, Axis(1, 1))
    counted = divisor != 0 or any(dim.runs for dim in dims)
    runs, at, params = _counts(dims, divisor)
    phases = [dim.phases() for dim in dims]
    backs = [max((s + (t - 1) * d.gap for s, t in p if t), default=0) for d, p in
             zip(dims, phases, strict=True)]  # fmt: skip
    pivot = min((i for i, dim in enumerate(dims) if dim.pooled), default=0)
    if max(taps for _, taps in phases[pivot]) > FEW:
        pivot -= 1
    pivot = min(pivot, len(dims) - 2)
    width = accumulator.itemsize
    tiles = _tiles(dims, backs, ROOM // width)
    classes = _classes(phases[-1])
    cap = _capacity(dims, backs, tiles, len(set(phases[-1])))
    empty = any(taps == 0 for _, taps in phases[pivot])
    flat = _flat(dims, tiles, pivot)
    together = _is_together(dims, tiles, pivot, flat)
    sizes = prod(dim.length for dim in dims) * result.itemsize
    sizes += prod(dim.out for dim in dims) * dtype.itemsize
    streams = together and sizes > schedule.LARGEST_CACHE
    row = dims[-1]
    direct = (
        together
        and accumulator == result
        and row.stride > 1
        and not any(dim.pooled for dim in dims[:-1])
        and prod(tiles[:pivot]) == 1
    )
    head = np.array([
        len(dims), cap, width, pivot, flat, cap if empty else 0, address(runs),
        any(taps != 1 for _, taps in phases[-1]), direct, result.itemsize if streams else 0,
    ], np.int64)  # fmt: skip
    table = np.zeros((len(dims), len(_COLUMNS)), np.int64)
    rows: list[tuple[int, int, int, int]] = []
    for i, dim in enumerate(dims):
        table[i] = (
            dim.length, dim.out, dim.stride, dim.before, backs[i],
            dim.out - 1 if dim.cover else 0, dim.gap, dim.in_stride,
            dim.out_stride, tiles[i], -(-dim.length // tiles[i]), len(rows), at[i], dim.pooled,
        )  # fmt: skip
        last = i == len(dims) - 1
        rows += [(*p, *c) for p, c in zip(phases[i], classes if last else [(0, 0)] * len(phases[i]),
                                          strict=True)]  # fmt: skip
    phase_table = np.array(rows, np.int64)
    strided = dims[-1].out_stride != 1
    code = loops(
        _SHARES if counted else REDUCERS["sum"], dtype, accumulator, result, None, None
    )
    first = -(-len(dims) * len(_WORK) * 8 // 64) * 64
    line = -(-tiles[-1] - backs[-1] - 2) * dtype.itemsize
    scratch = first + 64 + (3 * cap + int(head[_HEAD.index("ZEROS")])) * width + line
    env = [
        0, 0, address(params), code.source_rows, code.scratch_rows, code.fill, code.store,
        gatherer(dtype.itemsize) if strided else 0, *_movers(width), _coverer(accumulator) if dims[-1].cover else 0, 0,
    ]  # fmt: skip
    return _Laid(
        (table, head, phase_table, runs),
        (address(table), address(head), address(phase_table)),
        prod(int(grid) for grid in table[:, _COLUMNS.index("GRID")]),
        2 * prod(tiles), scratch, np.array(env, np.int64), params, first,
    )  # fmt: skip


def _joined(dims: list[Axis]) -> list[Axis]:
    """Neighbours that lie together as one axis, where both are treated alike; two at least."""
    merged: list[Axis] = []
    for dim in _whole(dims):
        if dim.length == dim.out == 1 and not dim.pooled and not dim.runs:
            continue
        last = merged[-1] if merged else None
        if last is not None and not last.pooled and not last.runs:
            # Windows side by side that fill the axis: more of them.
            tiled = (
                not dim.cover
                and dim.before == 0
                and dim.length == dim.out * dim.stride
                and dim.dilation * (dim.kernel - 1) < dim.stride
                and len(dim.runs) <= 1
            )
            if (
                tiled
                and last.in_stride == dim.in_stride * dim.length
                and last.out_stride == dim.out_stride * dim.out
            ):
                n = last.length
                merged[-1] = replace(
                    dim,
                    length=dim.length * n,
                    out=dim.out * n,
                    runs=tuple((stop * n, count) for stop, count in dim.runs),
                )
                continue
        merged.append(dim)
    if merged:
        row = merged[-1]
        if row.pooled and row.stride > min(NEAR, row.length) and not row.cover:
            merged.append(Axis(1, 1, in_stride=1, out_stride=1))
    while len(merged) < 2:
        merged.insert(0, Axis(1, 1))
    return merged


def _whole(dims: list[Axis]) -> list[Axis]:
    """Neighbours that one window covers whole, and that lie together, as one axis."""
    found: list[Axis] = []
    for dim in dims:
        last = found[-1] if found else None
        if last is not None and last.in_stride == dim.in_stride * dim.length and all(
            one.out == 1 and one.dilation == 1 and 0 <= one.before <= one.kernel - one.length
            for one in (last, dim)
        ):
            n = last.length * dim.length
            count = prod(runs[0][1] for runs in (last.runs, dim.runs) if runs)
            runs = ((1, count),) if last.runs or dim.runs else ()
            found[-1] = replace(dim, length=n, out=1, kernel=n, stride=n, before=0, runs=runs)
        else:
            found.append(dim)
    return found


def _counts(
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


def _classes(phases: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of each phase, whether it is the first of its class, and the class."""
    known: dict[tuple[int, int], int] = {}
    found = []
    for phase in phases:
        first = phase not in known
        found.append((int(first), known.setdefault(phase, len(known))))
    return found


def _extent(dim: Axis, back: int, tile: int) -> int:
    """The most windows that a tile needs."""
    if dim.cover:
        return dim.out
    return min((tile + dim.stride - 2) // dim.stride + 1, tile) + back


def _tiles(dims: list[Axis], backs: list[int], room: int) -> list[int]:
    """Cut the result until a tile fits, where the fewest gradients are read twice."""
    tiles = [dim.length for dim in dims]
    while _capacity(dims, backs, tiles, 1) > room:
        best: tuple[float, int, int] | None = None
        for i, dim in enumerate(dims):
            half = -(-tiles[i] // 2)
            if half > dim.stride:
                half = -(-half // dim.stride) * dim.stride
            if half < tiles[i] and not dim.cover:
                cost = backs[i] * dim.stride / half
                if i == len(dims) - 1 and half < SHORT_ROW:
                    cost += SHORT_ROW / half
                if best is None or cost < best[0]:
                    best = (cost, i, half)
        if best is None:
            break
        tiles[best[1]] = best[2]
    return tiles


def _capacity(dims: list[Axis], backs: list[int], tiles: list[int], classes: int) -> int:
    """The most elements that a buffer holds, from the gradients to the finished tile."""
    sizes = [_extent(*one) for one in zip(dims, backs, tiles, strict=True)]
    most = prod(sizes)
    row = dims[-1]
    periods = 1 if row.cover else sizes[-1] - backs[-1]
    if not row.cover:
        most = max(most, prod(sizes[:-1]) * periods * classes)
    for i in range(len(dims) - 1, -1, -1):
        sizes[i] = max(tiles[i], periods * row.stride) if i == len(dims) - 1 else tiles[i]
        most = max(most, prod(sizes))
    return -(-most // 16) * 16


def _is_together(dims: list[Axis], tiles: list[int], pivot: int, flat: int) -> bool:
    """Whether the part of a tile from the pivot on is one stretch of the result."""
    inner = prod(tiles[flat:])
    lies = dims[-1].in_stride == 1 and not (dims[-1].before % dims[-1].stride)
    rows = tiles[pivot] == 1 or dims[pivot].in_stride == inner
    return lies and tiles[-1] % dims[-1].stride == 0 and flat == pivot + 1 and rows


def _flat(dims: list[Axis], tiles: list[int], pivot: int) -> int:
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


@memoised
def _driver() -> Any:
    widths = (
        ("dim", "", len(_COLUMNS)),
        ("phase", "", len(_PHASES)),
        ("run", "", len(_RUNS)),
        ("work_of", "set_work", len(_WORK)),
    )
    calls = {
        "call_rows": lanes.rows, "call_fill": lanes.fill, "call_store": lanes.store,
        "call_gather": lanes.gather, "call_interleave": spread.interleave,
        "call_repeat": spread.repeat, "call_cover": spread.cover,
    }  # fmt: skip
    templates = (
        spread.stopped, spread.product, spread.locate, spread.run_of, spread.fetch, spread.load,
        spread.summed, spread.lowest, spread.target_of, spread.spread_rows, spread.same, spread.beginning, spread.spread_row,
        spread.write, spread.deliver, spread.spread,
    )  # fmt: skip
    return assembled(templates, _CONSTANTS, widths, calls)


@memoised
def _movers(itemsize: int) -> tuple[int, int]:
    """Addresses of the loops that put rows side by side, and repeat what is in one."""
    with lock:
        kind = np.dtype(f"u{itemsize}")
        space = {
            "__name__": lanes.__name__,
            "interleave_row": copies.interleave_row(kind),
            "repeat_row": copies.repeat_row(kind),
        }
        return (
            address_of(compiled(spread.interleave, space, f"{itemsize}")),
            address_of(compiled(spread.repeat, space, f"{itemsize}")),
        )


@memoised
def _coverer(held: np.dtype[Any]) -> int:
    """Address of the loop that sums runs of gradients held as `held`."""
    with lock:
        space = {
            "__name__": lanes.__name__,
            "get": access.get,
            "value_at": element(held, f"cover-{held.name}"),
            "held": instructions.caster(held),
            "HELD": held.itemsize,
        }
        return address_of(compiled(spread.cover, space, held.name))
