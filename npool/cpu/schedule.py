"""From a plan and the strides of two arrays to the integers that `npool.cpu.tiles` reads.

Here it is decided which axis is folded where (while fetching, along whole rows, flat, or in
segments) and how large a tile is. Nothing here depends on the number of threads.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from npool.cpu import tiling
from npool.cpu.dimensions import (
    FLAT,
    FUSED,
    ROWS,
    SEGMENT,
    Dim,
    are_vectors,
    can_widen,
    choose_modes,
    dimensions,
    in_order,
    join_tiled,
    join_whole_axes,
    spans,
    widen,
)
from npool.cpu.laying import ROUND, Schedule, lay_planes, lay_wholes, lay_wide
from npool.cpu.tables import COLUMNS, CONSTANTS, DIMS_WIDTH, ENV, HEAD, SPANS, THREAD_ROWS
from npool.cpu.tiling import (
    CHUNK,
    fit_planes,
    fit_slides,
    fit_strips,
    fit_tiles,
    fit_van_herk,
    fit_wholes,
    fit_wide,
    is_direct,
    is_small,
    line_bytes,
    long_name,
    scratch_size,
    slid_ahead,
    slide_name,
    tall_name,
    tall_pitch,
    tall_rows,
)
from npool.geometry import Plan
from npool.memory import address

__all__ = ["CHUNK", "COLUMNS", "CONSTANTS", "LONG", "Schedule", "describe", "schedule"]

#: A trailing unpooled axis of at most this many elements is pooled along with the axis before.
SHORT = 32
#: Bytes of input from which on it is worth prefetching, and how far ahead.
PREFETCHED, AHEAD_BYTES = 1 << 20, 12 << 10
#: Bytes of a row that is folded where it lies: of a task, and at a time (`npool.cpu.binding`).
DIRECT_BYTES, PART = 1 << 17, 1 << 11
#: Bytes of a row of results whose first few are written apart, so that the others begin on a line.
LONG = 1 << 10
#: Taps from which on rows are folded along themselves in registers, each number by a loop of its
#: own: by passes over scratch 9 took 2 times as long, 16 and 63 1.2 to 2 times. Fewer slide.
LONG_TAPS = 9
#: Bytes of a row of which two are folded at once, where that saves but one fold in four.
PAIR_BYTES = 1 << 12


@lru_cache(maxsize=1024)
def schedule(
    plan: Plan,
    order: tuple[int, ...],
    in_strides: tuple[int, ...],
    out_strides: tuple[int, ...],
    pair: int,
    idempotent: bool,
    width: int,
    itemsize: int,
    out_itemsize: int,
    first_bytes: int,
    counted: bool,
    include_pad: bool,
    divisor: int,
    placed: bool,
    as_stored: bool,
    wholes: bool,
    lanes: int,
    strips: bool = True,
    widened: bool = False,
) -> Schedule:
    """Lay out one call.

    Parameters
    ----------
    plan : Plan
        The geometry.
    order : tuple of int
        Axes in memory order.
    in_strides, out_strides : tuple of int
        In elements, by axis.
    pair : int
        2 for complex arrays, seen as pairs of reals, else 1.
    idempotent, counted, placed : bool
        What the reducer is: windows may be covered twice; it needs divisors; it has positions.
    width, itemsize : int
        Bytes of an accumulator with all its parts, and of an element of the input.
    include_pad : bool
        Whether padding counts in the divisor.
    divisor : int
        The caller's own divisor, or 0.
    as_stored : bool
        Whether an accumulator is an element of the input.
    wholes : bool
        Whether the reducer combines whole vectors.
    lanes : int
        Elements of a vector where windows can slide in registers, else 0.
    strips : bool
        Whether another driver than `npool.cpu.tiles` may be chosen.
    widened : bool
        Whether a row of which every few elements are pooled is read whole.
    """
    dims = dimensions(plan, order, in_strides, out_strides, pair, placed, counted, include_pad)
    if widened:
        widen(dims[-1])
    elif lanes and strips and not placed and can_widen(dims[-1]):
        # Read along with what lies between, where windows then slide in registers.
        given = (plan, order, in_strides, out_strides, pair, idempotent, width, itemsize)
        more = (first_bytes, counted, include_pad, divisor, placed, as_stored, wholes, lanes)
        whole: Schedule = schedule.__wrapped__(*given, out_itemsize, *more, True, True)
        if whole.loop.endswith("slid"):
            return whole
    inner_dim = Dim(1, 1, in_stride=1, out_stride=1)
    if (
        len(dims) > 1
        and not dims[-1].pooled
        and dims[-2].pooled
        and not (dims[-1].length > SHORT or (strips and are_vectors(dims, lanes)))
    ):
        inner_dim = dims.pop()
    inner = inner_dim.length
    join_whole_axes(dims)
    if not placed:
        join_tiled(dims)
    row = dims[-1]
    if inner == 1:
        strided = row.in_stride != 1 and row.length > 1
    else:
        strided = inner_dim.in_stride != 1 or (row.in_stride != inner and row.length > 1)
    if strips and inner == 1 and not strided and not placed and fit_planes(dims, width, lanes):
        ahead = tiling.SLID_AHEAD // itemsize if itemsize * prod(plan.shape) >= PREFETCHED else 0
        return lay_planes(dims, width, counted, divisor, ahead)
    if strips and inner == 1 and not strided and wholes and fit_wholes(dims):
        return lay_wholes(dims, width, counted, divisor)
    moved = itemsize * prod(plan.shape) + out_itemsize * prod(plan.out_shape)
    beyond = moved > tiling.LARGEST_CACHE // 2
    if strips and inner == 1 and not strided and not placed and width == first_bytes:
        part = fit_wide(dims, lanes, width, idempotent)
        if part:
            ahead = AHEAD_BYTES // itemsize if itemsize * prod(plan.shape) >= PREFETCHED else 0
            return lay_wide(
                dims, width, idempotent, part, counted, divisor, ahead, int(beyond), itemsize
            )
    segment = choose_modes(dims, inner, lanes)
    block = 0
    if strips:
        block = fit_strips(dims, inner, width, itemsize if strided else 0)
    if not block:
        fit_tiles(dims, inner, segment, width)
    row, column = dims[-1], dims[-2] if block else dims[-1]
    ways = row.stride if row.mode == FLAT and 2 <= row.stride <= 4 and inner == 1 else 0
    fused = prod(dim.kernel for dim in dims if dim.mode == FUSED)
    driver = "strips" if block else "tiles"
    loop, paired, direct, sliding = "", False, False, False
    tall = bool(block and not strided) and fit_van_herk(dims, inner, width, idempotent)
    if tall:
        driver, block = "van_herk", tiling.TALL
    elif (
        block
        and (not strided or (row.in_stride == -1 and inner == 1))
        and inner_dim.out_stride == 1
        and fit_slides(dims, inner, lanes, itemsize)
    ):
        driver, sliding, block, strided = "pooled", True, 1, False
        loop, ways = slide_name(dims, inner, placed), 0
    elif block and not strided and is_small(dims, inner):
        driver, loop = "pooled", "pooled"
        direct = as_stored and inner == row.out_stride == 1 and is_direct(dims, ways)
        if direct:
            loop, block = "direct", 1
            row.tile = min(row.out, max(1, DIRECT_BYTES // (row.stride * itemsize)))
        elif (
            not placed
            and column.stride == column.dilation == 1 < column.kernel == fused
            and (column.kernel > 3 or row.extent(row.tile, 0) * inner * width <= PAIR_BYTES)
        ):
            paired, block = True, min(column.tile, max(2, block))
        if placed and in_order(dims):
            loop = f"ordered_{loop}"
        if max(fused, row.kernel) > 4:
            loop = f"wide_{loop}"
    if (tall or (driver == "strips" and row.kernel >= LONG_TAPS)) and inner == 1 and not placed:
        loop = long_name(row, lanes)
    row_length = row.extent(row.tile, segment) * inner
    spare = max(0, ways - 1)  # a row is made a multiple of so many positions
    capacity = scratch_size(dims, inner, segment)
    pitch, tall_loop = 0, ""
    if sliding:
        row_length = capacity = 0
    elif block:
        height = dims[-2].extent(dims[-2].tile, 0) if dims[-2].mode == FLAT else block
        if tall:
            height = tall_rows(column.kernel)
            tall_loop = tall_name(column.kernel)
            row_length = pitch = tall_pitch(row_length + spare + 64 // first_bytes, first_bytes)
        if direct:
            row_length = PART // itemsize + row.span
        capacity = height * (row_length + spare) + (max(2, ways) + 1) * ROUND
    elif ways:
        capacity += spare * (capacity // row.extent(row.tile, segment))
    row_length += spare
    pieces = row.kernel // max(segment, 1) + 1 if row.mode == SEGMENT else 1
    passes = any(dim.mode == ROWS or (dim.mode == FLAT and dim.kernel > 1) for dim in dims)
    flat = any(dim.mode == FLAT and dim.kernel > 1 for dim in dims)
    head = np.zeros(len(HEAD), np.int64)
    buffers = 1
    if (passes or ways or fused * pieces > CHUNK) and not (tall or sliding):
        buffers = 3 if flat and not idempotent else 2
    values = {
        "INNER": inner,
        "IN_WITHIN": inner_dim.in_stride,
        "OUT_WITHIN": inner_dim.out_stride,
        "SEGMENT_LENGTH": segment,
        # A multiple of 64 keeps the parts of a buffer aligned.
        "CAP": -(-capacity // 64) * 64,
        "ITEM_BYTES": width,
        "BUFFERS": buffers,
        "PITCH": pitch,
        "LINE_BYTES": -(-row_length * itemsize // 8) * 8 if strided else 0,
        "SIZE_COLS": row_length if placed and not sliding else 0,
        "STRIDED": int(strided),
        "COUNTED": (2 if divisor else 1) if counted else 0,
        "DIVISOR": divisor,
        "IDEMPOTENT": int(idempotent),
        "SPLIT_ROW": ways,
        "BLOCK": block,
        "REFILL": int(row.mode == FLAT and row.kernel > 4),
        "ROUND": max(1, ROUND // first_bytes) if block else ROUND,
        "DEPTH": len(dims),
        "ROW_BUFFERS": int(block > 0 and dims[-2].mode == FLAT),
        "FIRST_BYTES": first_bytes,
        "SOURCE_BYTES": itemsize,
        "AHEAD": 0,
        "STREAM_BYTES": 0,
        "DIRECT": 2 if sliding else int(direct),
        "RESULT_BYTES": out_itemsize,
        "PAST": 0,
        "PAIRED": int(paired),
        "PLACE_BYTES": min(8, width - first_bytes) if placed and driver == "pooled" else 8,
    }
    if (sliding or loop.endswith("long")) and beyond:
        values["PAST"] = 1 + int(itemsize * prod(plan.shape) > tiling.LARGEST_CACHE // 4)
    if sliding:
        if itemsize * prod(plan.shape) >= PREFETCHED:
            values["AHEAD"] = slid_ahead(column, itemsize, loop)
    elif block and strided:
        values["LINE_BYTES"] = -(-line_bytes(dims, inner, block, itemsize) // 8) * 8
    elif tall or (block and dims[-2].mode != FLAT):
        if itemsize * prod(plan.shape) < PREFETCHED:
            pass
        elif direct:
            values["AHEAD"] = AHEAD_BYTES // itemsize
        elif tall:
            values["AHEAD"] = block
        elif column.stride <= column.span:
            fresh = min(column.stride, column.kernel) * (fused // column.kernel)
            values["AHEAD"] = max(1, AHEAD_BYTES // max(1, row_length * itemsize * fresh))
        together = row.out_stride == inner and (inner == 1 or inner_dim.out_stride == 1)
        if together and not (placed or values["PAST"]) and beyond:
            values["STREAM_BYTES"] = out_itemsize
            length = 2 * PART // itemsize if direct else block * row.tile * inner
            values["LINE_BYTES"] = -(-length * out_itemsize // 8) * 8
    for name, value in values.items():
        head[CONSTANTS[name]] = value
    table = np.zeros((len(dims), DIMS_WIDTH), np.int64)
    found: list[tuple[int, int, int, int]] = []
    for line, dim in zip(table, dims, strict=True):
        its = spans(dim) if block else [(*run, 0, 0) for run in dim.runs]
        line[: len(COLUMNS)] = (
            dim.length, dim.out, dim.kernel, dim.stride, dim.dilation, dim.before,
            dim.in_stride, dim.out_stride, dim.place, dim.mode, dim.tile,
            -(-dim.out // dim.tile), len(found), len(found) + len(its),
        )  # fmt: skip
        found += its
    tasks = prod(-(-dim.out // dim.tile) for dim in dims)
    reads = prod(
        dim.tile * min(dim.kernel, dim.length)
        if dim.mode in (FUSED, SEGMENT)
        else dim.extent(dim.tile, segment)
        for dim in dims
    )
    # What slides in registers reads some 96 bytes a nanosecond, a third of that with positions.
    work = reads * inner * itemsize // (32 if placed else 96) if sliding else reads * inner
    work += 2 * capacity * sum(dim.mode in (ROWS, FLAT) for dim in dims)
    span_table = np.array(found, np.int64).reshape(-1, len(SPANS))
    scratch = (
        8 * (len(ENV) + (len(dims) + THREAD_ROWS) * 8)
        + 192
        + (buffers + 3 * values["ROW_BUFFERS"]) * int(head[CONSTANTS["CAP"]]) * width
        + int(head[CONSTANTS["LINE_BYTES"]])
        + 8 * int(head[CONSTANTS["SIZE_COLS"]])
    )
    tables = (address(table), address(head), address(span_table))
    return Schedule(
        table, head, span_table, tasks, scratch, strided, driver, max(1, work), None, tables, loop,
        tall_loop,
    )  # fmt: skip


def describe(dims: NDArray[np.int64]) -> list[dict[str, int]]:
    """The table as dictionaries, for people and documentation."""
    return [dict(zip(COLUMNS, map(int, line), strict=False)) for line in dims]
