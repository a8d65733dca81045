"""From a plan of bins, or of windows drawn at random, to the integers that the driver reads.

What `npool.cpu.schedule` is for ordinary windows. Nothing here depends on the number of threads.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.bins import Bins, Drawn
from npool.cpu.dimensions import FUSED, PLAIN, ROWS, SEGMENT, Dim, dimensions
from npool.cpu.schedule import SHORT, Schedule
from npool.cpu.tables import COLUMNS, CONSTANTS, DIMS_WIDTH, ENV, HEAD, SPANS, THREAD_ROWS
from npool.geometry import Plan, Window
from npool.memory import address

__all__ = ["bin_schedule", "bin_table", "drawn_table", "has_bins", "is_large"]

#: Elements of a bin of the row from which on it is folded in segments, while it is fetched.
LONG = 32
#: The longest bin, and the longest row whose bins are not known beforehand, to be fetched whole.
MOST_STAGED, MOST_ROW = 128 * 16, 1 << 16
#: Bytes of scratch of a row, and of all the rows that are folded together.
ROW_BYTES, BLOCK_BYTES = 1 << 12, 1 << 16
#: Bins along an axis past which a schedule is made anew for each call rather than kept.
MANY = 1 << 16


def has_bins(plan: Plan) -> bool:
    """Whether a plan is one for the driver `npool.cpu.bins`."""
    return any(isinstance(window, Bins | Drawn) for window in plan.windows)


def is_large(plan: Plan) -> bool:
    """Whether the tables of a plan take too much memory to be kept."""
    return sum(window.out for window in plan.windows) > MANY and has_bins(plan)


def bin_table(window: Window) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each output's taps begin, and how many there are, for bins or windows that tile."""
    i = np.arange(window.out, dtype=np.int64)
    if not isinstance(window, Bins):
        return i * window.stride, np.full(window.out, window.kernel, np.int64)
    # i * size // out, in parts that do not overflow.
    whole, part = divmod(window.size, window.out)
    starts = i * whole + i * part // window.out
    stops = (i + 1) * whole - (i + 1) * -part // window.out
    return starts, stops - starts


def drawn_table(plan: Plan, order: tuple[int, ...], starts: Any) -> NDArray[np.int64]:
    """The driver's table of windows drawn: for each axis of `plan.axes`, plane by plane.

    `starts` holds an array for each axis, of the lengths of the axes that are not pooled and of
    the axis' outputs.
    """
    apart = [axis for axis in range(len(plan.shape)) if axis not in plan.axes]
    turn = [apart.index(axis) for axis in order if axis in apart]
    flat = [np.transpose(each, (*turn, len(turn))).ravel() for each in starts]
    counts = [each.size for each in flat]
    table = np.zeros((sum(counts), len(SPANS)), np.int64)
    table[:, CONSTANTS["BASE"]] = np.concatenate(flat)
    taps = np.repeat([window.kernel for window in plan.windows], counts)
    table[:, CONSTANTS["DIVISORS"]] = table[:, CONSTANTS["INSIDE"]] = taps
    return table


@lru_cache(maxsize=1024)
def bin_schedule(
    plan: Plan,
    order: tuple[int, ...],
    in_strides: tuple[int, ...],
    out_strides: tuple[int, ...],
    pair: int,
    width: int,
    itemsize: int,
    counted: bool,
    placed: bool,
) -> Schedule:
    """Lay out one call; the parameters are those of `npool.cpu.schedule.schedule`."""
    drawn = any(isinstance(window, Drawn) for window in plan.windows)
    dims = dimensions(plan, order, in_strides, out_strides, pair, placed or drawn, False, True)
    inner_dim = Dim(1, 1, in_stride=1, out_stride=1)
    if drawn:
        dims.sort(key=lambda dim: dim.pooled)
    elif len(dims) > 1 and not dims[-1].pooled and dims[-1].length <= SHORT and dims[-2].pooled:
        inner_dim = dims.pop()
    inner = inner_dim.length
    row = dims.pop()
    # The planes that are folded together, unless each has windows of its own.
    apart = [] if drawn else [dim for dim in dims if not dim.pooled]
    group = max(apart, key=lambda dim: dim.length, default=Dim(1, 1))
    some = next((dim for dim in reversed(dims) if dim.pooled), Dim(1, 1))
    dims = [*(dim for dim in dims if dim is not group and dim is not some), some, group, row]

    tables: list[NDArray[np.int64]] = []
    places: dict[int, int] = {}
    if not drawn:
        for dim in dims:
            if dim.window is not None:
                starts, taps = bin_table(dim.window)
                places[id(dim)] = sum(map(len, tables))
                tables.append(np.stack([np.arange(1, dim.out + 1), taps, starts, taps], 1))
    else:
        planes, at = prod(dim.length for dim in dims if not dim.pooled), 0
        for window in plan.windows:
            # An axis is told by its window: of two that are alike, each takes its own place.
            dim = next(d for d in dims if d.window is window and id(d) not in places)
            places[id(dim)] = at
            at += planes * window.out
    table = np.concatenate(tables) if tables else np.zeros((1, len(SPANS)), np.int64)

    segment = 0
    fused = prod(dim.kernel for dim in dims[:-1] if dim.pooled)
    for dim in dims:
        dim.mode, dim.tile = FUSED if dim.pooled else PLAIN, 1
    if row.pooled and (row.window.shortest if isinstance(row.window, Bins) else row.kernel) >= LONG:
        # Once several rows have been folded into one, that is short work where it lies.
        staged = fused > 1 and row.kernel <= MOST_STAGED and not (drawn and row.length > MOST_ROW)
        row.mode = ROWS if staged else SEGMENT
        segment = min(128, 1 << (row.kernel // 2).bit_length() - 1)
    positions = _fit(row, table[places.get(id(row), 0) :], segment, inner * width, drawn)
    length = positions * inner
    bytes_each = length * width
    some.tile = min(some.out, max(1, BLOCK_BYTES // bytes_each))
    group.tile = min(group.out, max(1, BLOCK_BYTES // (some.tile * bytes_each)))
    rows = some.tile * group.tile
    strided = (
        (row.in_stride != 1 and row.length > 1)
        if inner == 1
        else inner_dim.in_stride != 1 or (row.in_stride != inner and row.length > 1)
    )
    results = row.tile * (segment if row.mode == ROWS else 1) * inner
    capacity = -(-rows * max(length, results) // 8) * 8
    counts = row.tile * inner if counted and row.pooled else 0
    values = {
        "INNER": inner, "IN_WITHIN": inner_dim.in_stride, "OUT_WITHIN": inner_dim.out_stride,
        "SEGMENT_LENGTH": segment, "CAP": capacity, "ITEM_BYTES": width, "BUFFERS": 2,
        "LINE_BYTES": -(-length * itemsize // 8) * 8 if strided else 0,
        "SIZE_COLS": length if placed else 0, "STRIDED": int(strided), "COUNTED": int(counted),
        "DEPTH": len(dims), "DRAWN": int(drawn), "SOURCE_BYTES": itemsize,
    }  # fmt: skip
    head = np.zeros(len(HEAD), np.int64)
    for name, value in values.items():
        head[CONSTANTS[name]] = value
    lines = np.zeros((len(dims), DIMS_WIDTH), np.int64)
    for line, dim in zip(lines, dims, strict=True):
        at = places.get(id(dim), 0)
        line[: len(COLUMNS)] = (
            dim.length, dim.out, dim.kernel, dim.stride, 1, 0, dim.in_stride, dim.out_stride,
            dim.place, dim.mode, dim.tile, -(-dim.out // dim.tile), at, at + dim.out,
        )  # fmt: skip
    reads = rows * fused * (row.tile * row.kernel if row.mode == SEGMENT else positions) * inner
    work = reads // 2 + rows * row.tile * inner * (row.kernel if row.mode in (FUSED, ROWS) else 1)
    scratch = (
        8 * (len(ENV) + (len(dims) + THREAD_ROWS) * CONSTANTS["WORK_SIZE"]) + 192
        + 2 * capacity * width + values["LINE_BYTES"] + 8 * (values["SIZE_COLS"] + counts)
    )  # fmt: skip
    return Schedule(
        lines, head, table, prod(-(-dim.out // dim.tile) for dim in dims), scratch, strided, "bins",
        max(1, work), None, (address(lines), address(head), address(table)),
    )  # fmt: skip


def _fit(row: Dim, table: NDArray[np.int64], segment: int, width: int, drawn: bool) -> int:
    """Choose the row's tile; return the positions of scratch that it takes, `width` bytes each."""
    row.tile = row.out
    if row.mode == SEGMENT:
        row.tile = min(row.out, max(1, ROW_BYTES // (segment * width)))
        return row.tile * segment
    if row.mode == PLAIN:
        row.tile = min(row.out, max(1, ROW_BYTES // width))
        return row.tile
    if drawn:
        return row.length
    starts, taps = table[: row.out, CONSTANTS["BASE"]], table[: row.out, CONSTANTS["INSIDE"]]
    stops = starts + taps
    while True:
        last = np.minimum(np.arange(row.tile, row.out + row.tile, row.tile), row.out) - 1
        extent = int((stops[last] - starts[:: row.tile]).max())
        if row.tile == 1 or max(extent, row.tile) * width <= ROW_BYTES:
            return extent
        row.tile = -(-row.tile // 2)
