"""From bins and the strides of two arrays to the integers that `npool.cpu.expand` reads."""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache as memoised
from functools import lru_cache
from itertools import pairwise, product
from math import prod
from operator import mul
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.cpu import bounds, expand, lanes, parts
from npool.cpu.binding import storage
from npool.cpu.compiling import Driver, access, address_of, compiled, copies, instructions, lock
from npool.cpu.drivers import assembled, element
from npool.cpu.engine import launch
from npool.dtypes import accumulator_dtype
from npool.layout import memory_order
from npool.memory import address

__all__ = ["Cover", "expand_bins"]

#: Channels that are worth a loop of their own; others are elements of the row.
WIDE = 16
#: Results of a plane, and of its row, up to which the plane is one row; the most gradients that
#: are then added for one of them.
SMALL, SHORT, MOST = 512, 24, 16
#: Elements of a run, on average, from which on a row is written run by run.
LONG = 6
#: Results that a task writes, about.
ROOM = 1 << 15

_COLUMNS = (
    "LENGTH", "OUT", "RESULT", "GRADIENT", "TILE", "GRID", "COVER", "COUNTS",
)  # fmt: skip
_HEAD = (
    "DEPTH", "FIRST", "FLAT", "FORM", "CHANNELS", "ACROSS", "PITCH", "MOST", "ROWS_OF",
    "ITEM_BYTES", "HELD_BYTES", "WORK_BYTES",
)  # fmt: skip
_ENV = (
    "GRADIENTS", "RESULTS", "STOP", "SHARE", "TOTAL", "AGAIN", "SPELL", "RUNS", "CHANNELS_OF",
    "TABLE", "HELD_COUNTS",
)  # fmt: skip
_WORK = ("START", "SIZE", "INDEX", "LOW", "BINS", "APART", "TIMES")
_ENTRIES = ("BEGIN", "TAPS", "SAME")
_FORMS = ("BY_TABLE", "BY_RUNS", "BY_CHANNELS")
_CONSTANTS = {
    name: i
    for names in (_COLUMNS, _HEAD, _ENV, _WORK, _ENTRIES, _FORMS)
    for i, name in enumerate(names)
}


@dataclass(frozen=True, slots=True)
class Cover:
    """An axis of a result: of each element the first bin and how many it lies in, and of each
    bin how many elements it has. `counts` is empty where the axis is not pooled.
    """

    length: int
    out: int
    elements: tuple[tuple[int, int], ...] = ()
    counts: tuple[int, ...] = ()


@dataclass(slots=True)
class _Dim:
    length: int
    out: int
    result: int
    gradient: int
    elements: Sequence[tuple[int, int]]
    counts: Sequence[int]
    tile: int = 1
    #: The bins of each element, where they are not neighbours.
    bins: Sequence[tuple[int, ...]] = ()

    @property
    def pooled(self) -> bool:
        return bool(self.counts)


@dataclass(frozen=True, slots=True)
class _Laid:
    """Integers of a call."""

    keep: tuple[NDArray[Any], ...]
    tables: tuple[int, int, int]
    tasks: int
    work: int
    scratch: int
    first: int
    env: NDArray[np.int64]


def expand_bins(
    gradients: NDArray[Any], result: NDArray[Any], axes: Sequence[Cover], divided: bool
) -> None:
    """Write to each element of `result` the sum of the gradients of the bins that it lies in.

    `axes` says of each axis of `result` which; each gradient is `divided` by the elements of its
    bin. `gradients` must be readable in place; `result` dense in some order of its axes, and
    apart from it.
    """
    laid = _laid(
        tuple(axes), gradients.strides, result.strides, gradients.dtype, result.dtype, divided
    )
    env = laid.env.copy()
    env[:2] = address(gradients), address(result)

    def memory(at: int) -> dict[str, tuple[int, int]]:
        return {
            "gradients": bounds.extent(gradients),
            "result": bounds.extent(result),
            "scratch": (at + laid.first, at + laid.scratch),
            "params": bounds.extent(laid.keep[-1]),
        }

    launch(
        _driver(), laid.tables, env, _CONSTANTS["STOP"], laid.tasks, laid.work, laid.scratch,
        memory,
    )  # fmt: skip


def _dims(
    axes: tuple[Cover, ...], g_strides: Sequence[int], r_strides: Sequence[int]
) -> list[_Dim]:
    """Axes in the memory order of the result; neighbours that are not pooled as one."""
    merged: list[_Dim] = []
    shape = tuple(axis.length for axis in axes)
    for i in memory_order(shape, tuple(r_strides)):
        axis = axes[i]
        if axis.length == 1 and not axis.counts:
            continue
        dim = _Dim(axis.length, axis.out, r_strides[i], g_strides[i], axis.elements, axis.counts)
        last = merged[-1] if merged else None
        if (
            last is not None
            and not (last.pooled or dim.pooled)
            and last.result == dim.result * dim.length
            and last.gradient == dim.gradient * dim.length
        ):
            last.length, last.out = last.length * dim.length, last.out * dim.length
            last.result, last.gradient = dim.result, dim.gradient
        else:
            merged.append(dim)
    return merged


def _plain(n: int) -> tuple[list[tuple[int, int]], list[int]]:
    """The elements and counts of an axis that is not pooled, as bins of one."""
    return [(i, 1) for i in range(n)], [1] * n


@lru_cache(maxsize=1024)
def _laid(
    axes: tuple[Cover, ...],
    g_strides: tuple[int, ...],
    r_strides: tuple[int, ...],
    dtype: np.dtype[Any],
    result: np.dtype[Any],
    divided: bool,
) -> _Laid:
    pair = 2 if dtype.kind == "c" else 1
    kinds = [np.dtype(f"f{kind.itemsize // 2}") if pair > 1 else kind for kind in (dtype, result)]
    dtype, result = kinds
    held = accumulator_dtype("same", dtype)
    dims = _dims(
        axes,
        [stride // dtype.itemsize for stride in g_strides],
        [stride // result.itemsize for stride in r_strides],
    )
    # What lies together at the end: channels, and the two halves of a complex number.
    channels, across = pair, 1
    if dims and not dims[-1].pooled and dims[-1].result == pair:
        if pair == 1:
            dim = dims.pop()
            channels, across = dim.length, dim.gradient
        elif dims[-1].gradient == pair:
            channels = dims.pop().length * pair
    begun = next((i for i, dim in enumerate(dims) if dim.pooled), len(dims))
    outer, inner = dims[:begun], dims[begun:]
    for dim in inner:
        if not dim.pooled:
            dim.elements, dim.counts = _plain(dim.length)
    if not outer:
        outer = [_Dim(1, 1, 0, 0, (), ())]
    size = prod(dim.length for dim in inner) * channels
    flat = _is_small(inner, channels, size)
    if flat:
        inner = [_as_one(inner)]
    row = inner[-1]
    form, table, rows = _form(row, channels)
    flat = flat or (len(inner) == 1 and form == "BY_TABLE")
    pitch = row.out * channels + 1
    for dim in inner:
        dim.tile = dim.length
    if flat:
        group = outer[-1]
        group.tile = max(1, min(group.length, ROOM // (2 * max(size, pitch))))
        held_rows = group.tile
    else:
        axis, held_rows = inner[0], prod(dim.out for dim in inner[1:-1])
        if len(inner) > 1:
            axis.tile = min(axis.length, max(1, ROOM * axis.length // size))
            held_rows *= min(axis.out, axis.tile * axis.out // axis.length + 2)
    dims = [*outer, *inner]
    lines: list[tuple[int, ...]] = []
    entries: list[tuple[int, ...]] = []
    for dim in dims:
        before = None
        cover = len(entries)
        for one in dim.elements:
            entries.append((*one, int(one == before)))
            before = one
        counts = len(entries)
        entries += [(0, count if divided else 1, 0) for count in dim.counts]
        grid = -(-dim.length // dim.tile)
        lines.append((dim.length, dim.out, dim.result, dim.gradient, dim.tile, grid, cover, counts))
    dim_table = np.array(lines, np.int64)
    entry_table = np.array(entries, np.int64)
    held_counts = np.array(row.counts if divided else [1] * row.out, held)
    work = -(-len(dims) * len(_WORK) * 8 // 64) * 64
    values = {
        "DEPTH": len(dims), "FIRST": len(outer), "FLAT": int(flat), "FORM": _CONSTANTS[form],
        "CHANNELS": channels, "ACROSS": across, "PITCH": pitch,
        "MOST": max(count for _, count in row.elements), "ROWS_OF": rows,
        "ITEM_BYTES": result.itemsize, "HELD_BYTES": held.itemsize, "WORK_BYTES": work,
    }  # fmt: skip
    head = np.array([values[name] for name in _HEAD], np.int64)
    known = {
        "TABLE": address(table), "HELD_COUNTS": address(held_counts), **_loops_for(dtype, result)
    }  # fmt: skip
    tasks = prod(line[_COLUMNS.index("GRID")] for line in lines)
    total = prod(dim.length for dim in dims) * channels
    return _Laid(
        (dim_table, head, entry_table, table, held_counts),
        (address(dim_table), address(head), address(entry_table)),
        tasks, max(1, total // tasks), work + (held_rows + 1) * pitch * held.itemsize, work,
        np.array([known.get(name, 0) for name in _ENV], np.int64),
    )  # fmt: skip


def _is_small(inner: list[_Dim], channels: int, size: int) -> bool:
    """Whether a plane is so small that it is best written as one row, and lies together."""
    most = prod(max(count for _, count in dim.elements) for dim in inner)
    short = inner[-1].length * channels < SHORT and size <= SMALL and most <= MOST
    return short and len(inner) > 1 and all(
        one.result == two.result * two.length and one.gradient == two.gradient * two.out
        for one, two in pairwise(inner)
    )  # fmt: skip


def _as_one(inner: list[_Dim]) -> _Dim:
    """A plane as one axis, whose elements name all the bins that they lie in."""
    weights = [prod(dim.out for dim in inner[i + 1 :]) for i in range(len(inner))]
    named = []
    for place in product(*(dim.elements for dim in inner)):
        bins = product(*(range(first, first + count) for first, count in place))
        named.append(tuple(sum(map(mul, weights, one)) for one in bins))
    row = inner[-1]
    return _Dim(
        prod(dim.length for dim in inner), prod(dim.out for dim in inner), row.result,
        row.gradient, [(one[0], len(one)) for one in named],
        [prod(each) for each in product(*(dim.counts for dim in inner))], bins=named,
    )  # fmt: skip


def _runs(elements: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Elements that lie in the same bins: the first bin, how many, and how many elements."""
    found: list[list[int]] = []
    for first, count in elements:
        if found and found[-1][:2] == [first, count]:
            found[-1][2] += 1
        else:
            found.append([first, count, 1])
    return found


def _form(row: _Dim, channels: int) -> tuple[str, NDArray[np.int64], int]:
    """How a row is written, the table for it, and how many lines that has."""
    found = _runs(row.elements)
    if not row.bins and channels >= WIDE:
        return "BY_CHANNELS", np.array(found, np.int64), len(found)
    if not row.bins and channels == 1 and len(found) * LONG <= row.length:
        return "BY_RUNS", np.array(found, np.int64), len(found)
    named = row.bins or [tuple(range(o, o + count)) for o, count in row.elements]
    most, nothing = max(map(len, named)), row.out * channels
    table = [
        [o * channels + q for o in bins] + [nothing] * (most - len(bins))
        for bins in named
        for q in range(channels)
    ]
    return "BY_TABLE", np.array(table, np.int64), len(table)


@memoised
def _driver() -> Driver:
    widths = (
        ("dim", "", len(_COLUMNS)),
        ("entry", "", len(_ENTRIES)),
        ("work_of", "set_work", len(_WORK)),
    )
    calls = {f"call_{loop.__name__}": loop for loop in _LOOPS}
    templates = (
        expand.stopped, expand.load, expand.added, expand.lay_rows, expand.expand,
    )  # fmt: skip
    return assembled(templates, _CONSTANTS, widths, calls)


_LOOPS = (expand.share, expand.total, expand.again, expand.spell, expand.runs, expand.channels)


@memoised
def _loops_for(dtype: np.dtype[Any], result: np.dtype[Any]) -> dict[str, int]:
    """Addresses of the loops for gradients of `dtype`."""
    with lock:
        name = f"{dtype.name}-{result.name}"
        held = accumulator_dtype("same", dtype)
        same = types.FunctionType(parts.same.__code__, {"__name__": lanes.__name__}, "same")
        same.__qualname__ = f"same-expand-{name}"
        plain = instructions.jit(same)
        space = {
            "__name__": lanes.__name__,
            "get": access.get,
            "source_at": element(storage(dtype), f"expand-{dtype.name}"),
            "value_at": element(held, f"expand-{held.name}-held"),
            "result_at": element(storage(result), f"expand-{result.name}-result"),
            "decode": instructions.DECODERS.get((dtype.name, "value"), plain),
            "encode": instructions.ENCODERS.get((result.name, "value"), plain),
            "interleave_row": copies.interleave_row(np.dtype(f"u{result.itemsize}")),
            "held": instructions.caster(held),
            "ITEM": dtype.itemsize,
            "HELD": held.itemsize,
            "NOTHING": -0.0,
        }
        found = [address_of(compiled(loop, space, name)) for loop in _LOOPS]
    return dict(
        zip(("SHARE", "TOTAL", "AGAIN", "SPELL", "RUNS", "CHANNELS_OF"), found, strict=True)
    )
