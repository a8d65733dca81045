"""What a call is laid out as, and the two drivers that need little of it: stretches and planes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from npool.cpu.dimensions import PLAIN, Dim
from npool.cpu.tables import COLUMNS, CONSTANTS, DIMS_WIDTH, ENV, HEAD, THREAD_ROWS
from npool.cpu.tiling import TALL, tall_name
from npool.memory import address

__all__ = ["ROUND", "Schedule", "lay_planes", "lay_wholes", "lay_wide"]

#: Elements that a split is rounded up to: what an unrolled step of bytes covers.
ROUND = 128
#: Elements that a task of `npool.cpu.wholes` reads, about.
WHOLE_ELEMENTS = 1 << 15
#: Bytes of scratch of a task of `npool.cpu.wide`: what stays in L2.
WIDE_BYTES = 5 << 17


@dataclass(frozen=True, slots=True)
class Schedule:
    """The kernel's integer arguments, and how many tiles there are."""

    dims: NDArray[np.int64]
    head: NDArray[np.int64]
    spans: NDArray[np.int64]
    tasks: int
    #: Bytes of scratch that a thread needs.
    scratch: int
    strided: bool
    #: The driver: pooled, planes, wholes, strips or tiles, each a template of `npool.cpu`.
    driver: str
    #: Rough number of scalar operations a tile.
    task_work: int
    #: Which taps lie inside, for `npool.cpu.planes`.
    masks: NDArray[np.uint8] | None
    #: Addresses of the tables, in the order that a driver takes them.
    tables: tuple[int, int, int]
    #: The loop of `npool.cpu.pooled`: "pooled" or "direct", after "wide_" past four taps, and
    #: after "ordered_" where rows are folded in the order of their positions.
    loop: str = ""
    #: The loop of `npool.cpu.lanes.tall`, for `npool.cpu.van_herk`.
    tall: str = ""
    #: The loop of `npool.cpu.lanes.long` that makes the parts of windows, for `npool.cpu.wide`.
    wide: str = ""


def lay_wholes(dims: list[Dim], width: int, counted: bool, divisor: int) -> Schedule:
    """The schedule of `npool.cpu.wholes`: lines of windows, and windows along a line."""
    row = dims[-1]
    outer = dims[0] if len(dims) == 2 else Dim(1, 1)
    runs = row.runs or ((1, 1),)
    line = Dim(outer.length, outer.length, in_stride=outer.in_stride, out_stride=outer.out_stride)
    if row.out == 1:  # global: a line of all windows there are
        windows = Dim(1, outer.length, row.length, outer.in_stride, out_stride=outer.out_stride)
        line = Dim(1, 1)
    else:
        windows = Dim(1, row.out, row.kernel, row.stride, out_stride=row.out_stride)
    windows.tile = min(windows.out, max(1, WHOLE_ELEMENTS // windows.kernel))
    cap = -(-windows.tile // 8) * 8
    head = np.zeros(len(HEAD), np.int64)
    for name, value in {
        "INNER": 1, "CAP": cap, "ITEM_BYTES": width, "BUFFERS": 1, "DEPTH": 2,
        "COUNTED": (2 if divisor else 1) if counted else 0, "DIVISOR": divisor,
    }.items():  # fmt: skip
        head[CONSTANTS[name]] = value
    table = np.zeros((2, DIMS_WIDTH), np.int64)
    for entries, dim in zip(table, (line, windows), strict=True):
        entries[: len(COLUMNS)] = (
            dim.length, dim.out, dim.kernel, dim.stride, 1, 0, dim.in_stride, dim.out_stride, 0,
            PLAIN, dim.tile, -(-dim.out // dim.tile), 0, 1,
        )  # fmt: skip
    span_table = np.array([(1 << 62, runs[0][1], 0, 0)], np.int64)
    scratch = 8 * (len(ENV) + (2 + THREAD_ROWS) * 8) + 192 + cap * width
    tasks = line.out * -(-windows.out // windows.tile)
    tables = (address(table), address(head), address(span_table))
    work = windows.tile * (windows.kernel // 8 + 4)
    return Schedule(table, head, span_table, tasks, scratch, False, "wholes", work, None, tables)


def lay_planes(dims: list[Dim], width: int, counted: bool, divisor: int, ahead: int) -> Schedule:
    """The schedule of `npool.cpu.planes`."""
    if dims[0].pooled:
        dims = [Dim(1, 1), *dims]
    inner_sizes = [prod(dim.length for dim in dims[i + 1 :]) for i in range(len(dims))]
    size = inner_sizes[0]
    room = max(
        max(dim.before, dim.span - 1 - dim.before) * pitch
        for dim, pitch in zip(dims[1:], inner_sizes[1:], strict=True)
    )
    room = -(-room // ROUND) * ROUND
    length = dims[0].tile * size
    masks = np.zeros((len(dims) - 1, length), np.uint8)
    at = np.arange(length)
    for bits, dim, pitch in zip(masks, dims[1:], inner_sizes[1:], strict=True):
        for t in range(dim.kernel):
            seen = at // pitch % dim.length + t * dim.dilation - dim.before
            bits |= ((seen >= 0) & (seen < dim.length)).astype(np.uint8) << np.uint8(t)
    head = np.zeros(len(HEAD), np.int64)
    cap = length + 2 * room + ROUND
    for name, value in {
        "INNER": 1, "CAP": cap, "ITEM_BYTES": width, "BUFFERS": 2, "DEPTH": len(dims),
        "COUNTED": (2 if divisor else 1) if counted else 0, "DIVISOR": divisor,
        "ROUND": room, "PLANE": size, "MASKS": address(masks), "MASKS_EACH": length,
        "AHEAD": ahead,
    }.items():  # fmt: skip
        head[CONSTANTS[name]] = value
    table = np.zeros((len(dims), DIMS_WIDTH), np.int64)
    for line, dim in zip(table, dims, strict=True):
        line[: len(COLUMNS)] = (
            dim.length, dim.out, dim.kernel, dim.stride, dim.dilation, dim.before,
            dim.in_stride, dim.out_stride, dim.place, dim.mode, dim.tile, 1, 0, 1,
        )  # fmt: skip
    total = prod(dim.runs[0][1] for dim in dims if dim.runs)
    span_table = np.array([(dims[0].out, total, 0, 0)], np.int64)
    scratch = 8 * (len(ENV) + (len(dims) + THREAD_ROWS) * 8) + 192 + 2 * cap * width
    tasks = -(-dims[0].out // dims[0].tile)
    tables = (address(table), address(head), address(span_table))
    work = max(1, length * (2 + sum(dim.kernel for dim in dims[1:])) // 24)
    return Schedule(table, head, span_table, tasks, scratch, False, "planes", work, masks, tables)


def lay_wide(
    dims: list[Dim], width: int, idempotent: bool, part: int, counted: bool, divisor: int,
    ahead: int, past: int, itemsize: int,
) -> Schedule:  # fmt: skip
    """The schedule of `npool.cpu.wide`, of windows of `part` elements."""
    row, outer = dims[-1], dims[0] if len(dims) == 2 else Dim(1, 1)
    line = Dim(outer.length, outer.length, in_stride=outer.in_stride, out_stride=outer.out_stride)
    rows, group = row.kernel // part, TALL * part
    # What is fetched is of no use any more once parts are made, but where elements are left over.
    buffers = 2 if idempotent or row.kernel == rows * part else 3
    row.tile = min(row.out, max(WIDE_BYTES // (buffers * width) - row.kernel, row.kernel))
    groups = -(-row.tile // group)
    # Parts, blocks of them, a prefix and what is folded ahead; a few vectors more are read.
    cap = (groups * TALL + rows + rows // TALL + 2) * part + ROUND
    cap = -(-max(cap, row.tile + row.kernel + ROUND) // 64) * 64
    head = np.zeros(len(HEAD), np.int64)
    for name, value in {
        "INNER": 1, "CAP": cap, "ITEM_BYTES": width, "BUFFERS": buffers, "DEPTH": 2, "PITCH": part,
        "COUNTED": (2 if divisor else 1) if counted else 0, "DIVISOR": divisor,
        "IDEMPOTENT": int(idempotent), "AHEAD": ahead, "PAST": past,
        "SOURCE_BYTES": itemsize,
    }.items():  # fmt: skip
        head[CONSTANTS[name]] = value
    table = np.zeros((2, DIMS_WIDTH), np.int64)
    for entries, dim in zip(table, (line, row), strict=True):
        entries[: len(COLUMNS)] = (
            dim.length, dim.out, dim.kernel, dim.stride, 1, dim.before, dim.in_stride,
            dim.out_stride, 0, PLAIN, dim.tile, -(-dim.out // dim.tile), 0, 1,
        )  # fmt: skip
    divisors = row.runs or ((1, 1),)
    span_table = np.array([(1 << 62, divisors[0][1], 0, 0)], np.int64)
    scratch = 8 * (len(ENV) + (2 + THREAD_ROWS) * 8) + 192 + buffers * cap * width
    tasks = line.out * -(-row.out // row.tile)
    tables = (address(table), address(head), address(span_table))
    return Schedule(
        table, head, span_table, tasks, scratch, False, "wide", row.tile, None, tables, "1_long",
        tall_name(rows) if rows > TALL else "", f"{part}_bare_long",
    )  # fmt: skip
