"""From windows and the strides of two arrays to the integers that `npool.cpu.spread` reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache as memoised
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.cpu import bounds, lanes, spread, tiling
from npool.cpu.binding import loops
from npool.cpu.compiling import Driver, address_of, compiled, copies, lock
from npool.cpu.drivers import assembled, gatherer
from npool.cpu.engine import launch
from npool.cpu.spread_axes import (
    Axis,
    alike,
    capacity,
    classes_of,
    divisors,
    first_flat,
    is_together,
    joined,
    tiled,
)
from npool.layout import memory_order
from npool.memory import address
from npool.reducers import REDUCERS, Reducer
from npool.scalars import divide

__all__ = ["Axis", "spread_sums"]

#: Bytes of a buffer of scratch that tiles are cut down to.
ROOM = 1 << 18
#: Taps that are summed while rows are written.
FEW = 4

_COLUMNS = (
    "LENGTH", "OUT", "STEP", "BEFORE", "BACK", "GAP", "IN_STRIDE", "OUT_STRIDE", "TILE",
    "GRID", "PHASES", "RUNS", "POOLED",
)  # fmt: skip
_HEAD = (
    "DEPTH", "CAP", "ITEM_BYTES", "PIVOT", "FLAT", "ZEROS", "RUNS_AT", "SUMMED", "DIRECT",
    "STREAM_BYTES", "RESULT_BYTES",
)  # fmt: skip
_ENV = (
    "GRADIENTS", "RESULT", "PARAMS", "SOURCE_ROWS", "SCRATCH_ROWS", "FILL", "STORE", "GATHER",
    "INTERLEAVE", "REPEAT", "STOP",
)  # fmt: skip
_PHASES = ("SHIFT", "TAPS", "OWNER", "PLACE", "TIMES")
_RUNS = ("STOP_AT", "WEIGHED")
_WORK = ("START", "SIZE", "LOW", "EXTENT", "FROM", "UNTIL", "INDEX", "SKIP")
_CONSTANTS = {
    name: i
    for names in (_COLUMNS, _HEAD, _ENV, _PHASES, _RUNS, _WORK)
    for i, name in enumerate(names)
} | {"WORK_WIDTH": len(_WORK)}


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
        _driver(), laid.tables, env, _CONSTANTS["STOP"], laid.tasks, laid.work, laid.scratch,
        memory,
    )  # fmt: skip


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
    dims = joined(dims)
    pooled = next((dim for dim in dims if dim.pooled), None)
    if pooled is not None and max(taps for _, taps in pooled.phases()) > FEW:
        # Summed before it is written, as others are: an axis before it is then the pivot.
        dims.insert(0, Axis(1, 1))
    counted = divisor != 0 or any(dim.runs for dim in dims)
    runs, at, params = divisors(dims, divisor)
    phases = [dim.phases() for dim in dims]
    backs = [max((s + (t - 1) * d.gap for s, t in p if t), default=0) for d, p in
             zip(dims, phases, strict=True)]  # fmt: skip
    pivot = min((i for i, dim in enumerate(dims) if dim.pooled), default=0)
    if max(taps for _, taps in phases[pivot]) > FEW:
        pivot -= 1
    pivot = min(pivot, len(dims) - 2)
    width = accumulator.itemsize
    tiles = tiled(dims, backs, ROOM // width)
    classes = classes_of(phases[-1])
    cap = capacity(dims, backs, tiles, len(set(phases[-1])))
    empty = any(taps == 0 for _, taps in phases[pivot])
    flat = first_flat(dims, tiles, pivot)
    together = is_together(dims, tiles, pivot, flat)
    sizes = prod(dim.length for dim in dims) * result.itemsize
    sizes += prod(dim.out for dim in dims) * dtype.itemsize
    streams = together and sizes > tiling.LARGEST_CACHE
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
        result.itemsize,
    ], np.int64)  # fmt: skip
    table = np.zeros((len(dims), len(_COLUMNS)), np.int64)
    rows: list[tuple[int, int, int, int, int]] = []
    for i, dim in enumerate(dims):
        table[i] = (
            dim.length, dim.out, dim.stride, dim.before, backs[i],
            dim.gap, dim.in_stride,
            dim.out_stride, tiles[i], -(-dim.length // tiles[i]), len(rows), at[i], dim.pooled,
        )  # fmt: skip
        last = i == len(dims) - 1
        its = classes if last else [(0, 0)] * len(phases[i])
        rows += [(*p, *c, n) for p, c, n in zip(phases[i], its, alike(phases[i]), strict=True)]
    phase_table = np.array(rows, np.int64)
    strided = dims[-1].out_stride != 1
    code = loops(_SHARES if counted else REDUCERS["sum"], dtype, accumulator, result, None, None)
    first = -(-len(dims) * len(_WORK) * 8 // 64) * 64
    line = -(-tiles[-1] - backs[-1] - 2) * dtype.itemsize
    scratch = first + 64 + (3 * cap + int(head[_HEAD.index("ZEROS")])) * width + line
    env = [
        0, 0, address(params),
        *map(code.compiled, ("source_rows", "scratch_rows", "fill", "store")),
        gatherer(dtype.itemsize) if strided else 0, *_movers(width),
        0,
    ]  # fmt: skip
    return _Laid(
        (table, head, phase_table, runs),
        (address(table), address(head), address(phase_table)),
        prod(int(grid) for grid in table[:, _COLUMNS.index("GRID")]),
        2 * prod(tiles), scratch, np.array(env, np.int64), params, first,
    )  # fmt: skip


@memoised
def _driver() -> Driver:
    widths = (
        ("dim", "", len(_COLUMNS)),
        ("phase", "", len(_PHASES)),
        ("run", "", len(_RUNS)),
        ("work_of", "set_work", len(_WORK)),
    )
    calls = {
        "call_rows": lanes.rows, "call_fill": lanes.fill, "call_store": lanes.store,
        "call_gather": lanes.gather, "call_interleave": spread.interleave,
        "call_repeat": spread.repeat,
    }  # fmt: skip
    templates = (
        spread.stopped, spread.product, spread.locate, spread.run_of, spread.fetch, spread.load,
        spread.summed, spread.lowest, spread.target_of, spread.spread_rows, spread.beginning,
        spread.spread_row, spread.again, spread.write, spread.deliver, spread.spread,
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
