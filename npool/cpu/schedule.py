"""From a plan and the strides of two arrays to the integers that `npool.cpu.tiles` reads.

Here it is decided which axis is folded where (while fetching, along whole rows, flat, or in
segments) and how large a tile is. Nothing here depends on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.geometry import Plan

__all__ = ["COLUMNS", "CONSTANTS", "Schedule", "describe", "schedule"]

# How a dimension is treated. PLAIN: not pooled. FUSED: its taps are folded while rows are
# fetched. ROWS and FLAT: fetched with its padding, then folded row by row, or at every
# position at once. SEGMENT: the row's long windows that hardly overlap, each a row of its own.
PLAIN, FUSED, ROWS, FLAT, SEGMENT = range(5)

COLUMNS = (
    "LENGTH", "OUT", "KERNEL", "STRIDE", "DILATION", "BEFORE", "IN_STRIDE", "OUT_STRIDE",
    "PLACE", "MODE", "TILE", "GRID", "RUNS", "RUNS_END",
)  # fmt: skip
HEAD = (
    "INNER", "IN_WITHIN", "OUT_WITHIN", "SEGMENT_LENGTH", "CAP", "ITEM_BYTES", "BUFFERS",
    "LINE_BYTES", "SIZE_COLS", "STRIDED", "COUNTED", "DIVISOR", "IDEMPOTENT", "SPLIT_ROW",
)  # fmt: skip
#: Addresses: of the arrays and compiled loops of a call, and of a thread's scratch.
ENV = (
    "X", "VALUES", "POSITIONS", "PARAMS", "SOURCE_ROWS", "SCRATCH_ROWS", "FILL", "STORE", "SPLIT",
    "GATHER", "STOP", "A", "B", "C", "LINE", "COLS",
)  # fmt: skip
#: What the driver notes of the tile at hand, by dimension.
WORK = ("START", "SIZE", "EXTENT", "STEP", "INDEX", "TAP", "TAPS")

#: Rows folded before a partial result is set apart.
CHUNK = 32
#: What the templates know by name.
CONSTANTS: dict[str, int] = {
    **{name: i for i, name in enumerate(COLUMNS)},
    **{name: i for i, name in enumerate(HEAD)},
    **{name: i for i, name in enumerate(ENV)},
    **{name: i for i, name in enumerate(WORK)},
    "WORK_ROWS": len(WORK),
    "CHUNK": CHUNK, "PLAIN": PLAIN, "FUSED": FUSED, "ROWS": ROWS, "FLAT": FLAT,
    "SEGMENT": SEGMENT,
}  # fmt: skip

#: A trailing unpooled axis of at most this many elements is pooled along with the axis before.
SHORT = 32
#: Scratch of a tile: what stays in L1, and in half of L2 where tiles overlap.
SMALL_TILE, LARGE_TILE = 1 << 15, 1 << 18
#: Past this a tile shrinks even where its windows overlap more than they advance.
HUGE_TILE = 1 << 22
#: The most that a tile may take at all, in bytes.
MOST_SCRATCH = 1 << 25


@dataclass(slots=True)
class _Dim:
    length: int
    out: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    before: int = 0
    in_stride: int = 0
    out_stride: int = 0
    place: int = 0
    pooled: bool = False
    mode: int = PLAIN
    tile: int = 1
    runs: tuple[tuple[int, int], ...] = ()

    @property
    def span(self) -> int:
        return (self.kernel - 1) * self.dilation + 1

    @property
    def is_far_wider(self) -> bool:
        """Whether the window dwarfs the input, so that nearly all it sees is padding."""
        return self.span > 4 * self.length + 4096

    @property
    def overlap(self) -> float:
        """Windows that an element lies in, about."""
        return 1.0 if self.out == 1 else max(1.0, self.kernel / self.stride)

    def extent(self, tile: int, segment: int) -> int:
        """Scratch positions that `tile` outputs need."""
        if self.mode in (ROWS, FLAT):
            return (tile - 1) * self.stride + self.span
        return tile * segment if self.mode == SEGMENT else tile

    @property
    def halo(self) -> int:
        """Scratch positions that neighbouring tiles both need."""
        return max(0, self.span - self.stride) if self.mode in (ROWS, FLAT) else 0


@dataclass(frozen=True, slots=True)
class Schedule:
    """The kernel's integer arguments, and how many tiles there are."""

    dims: NDArray[np.int64]
    head: NDArray[np.int64]
    runs: NDArray[np.int64]
    tasks: int
    strided: bool
    #: Rough number of scalar operations a tile.
    task_work: int


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
    counted: bool,
    include_pad: bool,
    divisor: int,
    placed: bool,
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
    """
    dims = _dimensions(plan, order, in_strides, out_strides, pair, placed, counted, include_pad)
    inner_dim = _Dim(1, 1, in_stride=1, out_stride=1)
    if len(dims) > 1 and not dims[-1].pooled and dims[-1].length <= SHORT and dims[-2].pooled:
        inner_dim = dims.pop()
    inner = inner_dim.length
    _join_whole_axes(dims)
    segment = _choose_modes(dims, inner)
    # An axis folded to one result while fetching may lie anywhere: rows are taken in blocks
    # along the last dimension, which had better be a long one.
    outer = sorted(dims[:-1], key=lambda dim: dim.mode != FUSED or dim.out != 1)
    dims[:-1] = outer
    while True:
        _choose_tiles(dims, inner, segment, width)
        row = dims[-1]
        # Windows so wide along several axes that no tile holds their padding: fold the widest
        # while fetching, tap by tap.
        wide = [dim for dim in dims if dim.mode in (ROWS, FLAT)]
        widest = max(wide, key=lambda dim: dim.span / dim.length, default=row)
        most = HUGE_TILE if widest.span > 2 * widest.length else MOST_SCRATCH
        if not wide or _scratch(dims, inner, segment) * width <= most:
            break
        widest.mode = FUSED
        if widest is row:
            dims.append(_Dim(1, 1, in_stride=1, out_stride=1))

    row_length = row.extent(row.tile, segment) * inner
    split = row.mode == FLAT and row.stride == 2 and inner == 1
    capacity = _scratch(dims, inner, segment)
    if split:  # the driver makes its length even
        capacity += capacity // row.extent(row.tile, segment)
        row_length += 1
    fused = prod(dim.kernel for dim in dims if dim.mode == FUSED)
    pieces = row.kernel // max(segment, 1) + 1 if row.mode == SEGMENT else 1
    passes = any(dim.mode == ROWS or (dim.mode == FLAT and dim.kernel > 1) for dim in dims)
    flat = any(dim.mode == FLAT and dim.kernel > 1 for dim in dims)
    if inner == 1:
        strided = row.in_stride != 1 and row.length > 1
    else:
        strided = inner_dim.in_stride != 1 or (row.in_stride != inner and row.length > 1)

    head = np.zeros(len(HEAD), np.int64)
    buffers = 1
    if passes or split or fused * pieces > CHUNK:
        buffers = 3 if flat and not idempotent else 2
    values = {
        "INNER": inner,
        "IN_WITHIN": inner_dim.in_stride,
        "OUT_WITHIN": inner_dim.out_stride,
        "SEGMENT_LENGTH": segment,
        # A multiple of 8 keeps the parts of a buffer aligned.
        "CAP": -(-capacity // 8) * 8,
        "ITEM_BYTES": width,
        "BUFFERS": buffers,
        "LINE_BYTES": -(-row_length * itemsize // 8) * 8 if strided else 0,
        "SIZE_COLS": row_length if placed else 0,
        "STRIDED": int(strided),
        "COUNTED": (2 if divisor else 1) if counted else 0,
        "DIVISOR": divisor,
        "IDEMPOTENT": int(idempotent),
        "SPLIT_ROW": int(split),
    }
    for name, value in values.items():
        head[CONSTANTS[name]] = value
    table = np.zeros((len(dims), len(COLUMNS)), np.int64)
    runs: list[tuple[int, int]] = []
    for line, dim in zip(table, dims, strict=True):
        line[:] = (
            dim.length, dim.out, dim.kernel, dim.stride, dim.dilation, dim.before,
            dim.in_stride, dim.out_stride, dim.place, dim.mode, dim.tile,
            -(-dim.out // dim.tile), len(runs), len(runs) + len(dim.runs),
        )  # fmt: skip
        runs += dim.runs
    tasks = prod(-(-dim.out // dim.tile) for dim in dims)
    reads = prod(
        dim.tile * min(dim.kernel, dim.length)
        if dim.mode in (FUSED, SEGMENT)
        else dim.extent(dim.tile, segment)
        for dim in dims
    )
    work = reads * inner + 2 * capacity * sum(dim.mode in (ROWS, FLAT) for dim in dims)
    run_table = np.array(runs, np.int64).reshape(-1, 2)
    return Schedule(table, head, run_table, tasks, strided, max(1, work))


def _dimensions(
    plan: Plan,
    order: tuple[int, ...],
    in_strides: tuple[int, ...],
    out_strides: tuple[int, ...],
    pair: int,
    placed: bool,
    counted: bool,
    include_pad: bool,
) -> list[_Dim]:
    """The axes in memory order; unpooled neighbours that lie together become one."""
    windows = dict(zip(plan.axes, plan.windows, strict=True))
    places: dict[int, int] = {}
    weight = 1
    for axis in reversed(plan.axes):
        places[axis] = weight
        weight *= plan.shape[axis]
    dims: list[_Dim] = []
    for axis in order:
        n = plan.shape[axis]
        strides: dict[str, Any] = {"in_stride": in_strides[axis], "out_stride": out_strides[axis]}
        w = windows.get(axis)
        trivial = w is None or (w.kernel == w.stride == 1 and w.out == n and not w.before)
        if w is None or (trivial and not placed):
            dims.append(_Dim(n, n, **strides))
        else:
            dims.append(
                _Dim(
                    n,
                    w.out,
                    w.kernel,
                    w.stride,
                    w.dilation,
                    w.before,
                    place=places[axis],
                    pooled=True,
                    runs=w.runs(include_pad) if counted else (),
                    **strides,
                )
            )
    if pair > 1:
        dims.append(_Dim(pair, pair, in_stride=1, out_stride=1))
    merged: list[_Dim] = []
    for dim in dims:
        if not dim.pooled and dim.length == 1:
            continue
        last = merged[-1] if merged else None
        if (
            last is not None
            and not last.pooled
            and not dim.pooled
            and last.in_stride == dim.in_stride * dim.length
            and last.out_stride == dim.out_stride * dim.length
        ):
            last.length *= dim.length
            last.out = last.length
            last.in_stride, last.out_stride = dim.in_stride, dim.out_stride
        else:
            merged.append(dim)
    return merged or [_Dim(1, 1, in_stride=1, out_stride=1)]


def _join_whole_axes(dims: list[_Dim]) -> None:
    """Make one dimension of neighbouring axes that one window covers whole (global pooling)."""

    def whole(dim: _Dim) -> bool:
        covers = dim.before <= 0 and dim.kernel >= dim.length
        return dim.pooled and dim.out == 1 and dim.dilation == 1 and covers

    while len(dims) > 1:
        last, row = dims[-2], dims[-1]
        if not (
            whole(last)
            and whole(row)
            and last.in_stride == row.in_stride * row.length
            and last.place == row.place * row.length
        ):
            return
        dims.pop()
        last.length *= row.length
        last.kernel = last.length
        last.in_stride, last.place = row.in_stride, row.place
        if last.runs and row.runs:
            last.runs = ((1, last.runs[0][1] * row.runs[0][1]),)


def _choose_modes(dims: list[_Dim], inner: int) -> int:
    """Set each dimension's mode; return the segment length of the row, 0 if it has none."""
    row = dims[-1]
    segment = 0
    if row.pooled and row.is_far_wider:
        # Its padding does not fit any scratch: each tap is fetched as a row of its own.
        dims.append(_Dim(1, 1, in_stride=1, out_stride=1))
        row = dims[-1]
    if row.pooled:
        row.mode = FLAT
        if row.dilation == 1 and row.kernel >= 16 and row.overlap < 2:
            row.mode = SEGMENT
            length = 128 if row.kernel < 1024 else 256
            segment = max(1, min(row.kernel, length // inner))
    short = row.length * inner < 48
    overlap = 1.0
    for dim in dims[:-1]:
        if not dim.pooled:
            continue
        if dim.is_far_wider or (
            overlap * dim.overlap <= 4 and not (short and dim.stride == 1 and dim.overlap > 1)
        ):
            overlap *= dim.overlap
            dim.mode = FUSED
        elif dim.stride > 1 and dim.kernel <= 4 * dim.stride:
            dim.mode = ROWS
        else:
            dim.mode = FLAT
    return segment


def _scratch(dims: list[_Dim], inner: int, segment: int) -> int:
    """Elements of a tile in scratch."""
    return prod(dim.extent(dim.tile, segment) for dim in dims) * inner


def _choose_tiles(dims: list[_Dim], inner: int, segment: int, width: int) -> None:
    """Halve the tile where that costs least until it fits its cache."""
    for dim in dims:
        dim.tile = dim.out
    budget = (
        LARGE_TILE if any(d.halo >= 4 for d in dims[:-1]) or dims[-1].halo >= 64 else SMALL_TILE
    )

    def size() -> int:
        return _scratch(dims, inner, segment) * width

    while size() > budget:
        best, best_ratio = None, 0.0
        for i, dim in enumerate(dims):
            if dim.tile == 1:
                continue
            advance = dim.tile * dim.stride
            if advance < dim.halo and size() <= HUGE_TILE:
                continue
            # What a cut costs is the halo read twice. Long rows stream best: they count less.
            ratio = advance / dim.halo if dim.halo else float("inf")
            if i == len(dims) - 1:
                ratio = ratio / 16 if dim.halo else 1e9
            if ratio > best_ratio:
                best, best_ratio = dim, ratio
        if best is None:
            break
        best.tile = -(-best.tile // 2)


def describe(dims: NDArray[np.int64]) -> list[dict[str, int]]:
    """The table as dictionaries, for people and documentation."""
    return [dict(zip(COLUMNS, map(int, line), strict=True)) for line in dims]
