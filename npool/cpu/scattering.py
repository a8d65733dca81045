"""From positions and the strides of arrays to the integers that `npool.cpu.scatter` reads."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache as memoised
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.cpu import bounds, lanes, parts, scatter
from npool.cpu.binding import loops, storage
from npool.cpu.compiling import Driver, access, address_of, compiled, instructions, lock
from npool.cpu.drivers import assembled, element
from npool.cpu.engine import launch
from npool.cpu.scatter_dims import FEW, Dim, Line, dims_of, flat_unit, joined, merged, row_last
from npool.dtypes import accumulator_dtype, is_half
from npool.geometry import Window
from npool.memory import address
from npool.reducers import REDUCERS

__all__ = ["flat_unit", "gather", "scatter_add"]

#: Bytes of sums that a task works on, about, in scratch and in the result itself.
ROOM, DIRECT_ROOM = 1 << 17, 1 << 22
#: Elements of a row of gradients from which on they are added in fours, or from half as many on
#: where these are whole fours. In other rows a sum is read again so soon, and by another of the
#: four, that the CPU guesses wrongly which write to wait for (3x3/1 on 14x14 planes took 1.3 ns a
#: gradient in fours and 0.9 one by one; on 28x28 planes 0.6 and 0.8).
LONG = 32
#: Elements of a plane up to which a task takes several, and of them together.
SMALL = 1 << 12

_COLUMNS = (
    "LENGTH", "TILE", "GRID", "STRIDE", "INDEX_STRIDE", "RISE", "FAR", "CLIMB",
)  # fmt: skip
_LINES = ("SPAN", "OF", "NEAR", "AWAY")
_HEAD = (
    "DEPTH", "CUT", "ROOM", "PLANE", "UNIT", "STEP", "BEFORE", "REACH", "WINDOWS", "WEIGHT",
    "LINES", "DIRECT", "GROUP", "HELD_BYTES", "GRADIENT_BYTES", "INDEX_BYTES", "RESULT_BYTES",
    "WORK_BYTES", "FOURS",
)  # fmt: skip
_ENV = (
    "GRADIENTS", "INDICES", "RESULT", "TOLD", "STOP", "ADD", "TAKE", "FILL", "STORE", "PARAMS",
)  # fmt: skip
_WORK = ("START", "SIZE", "LOW", "COUNT", "INDEX")
_CONSTANTS = {
    name: i for names in (_COLUMNS, _LINES, _HEAD, _ENV, _WORK) for i, name in enumerate(names)
}


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


def scatter_add(
    gradients: NDArray[Any],
    indices: NDArray[Any],
    result: NDArray[Any],
    axes: tuple[int, ...],
    window: Window | None,
    alone: bool = False,
) -> bool:
    """Write to each element of `result` the sum of the gradients whose position it has.

    Positions are flat in `axes` of `result`, -1 for none. `window` says of the first of `axes`
    which elements each gradient's window holds; None: it may hold any. Where gradients are
    `alone`, no two should have one position, and half types are not widened to be added. Where
    the answer is True, some position was not in its window, or two were one after all, and
    `result` is not to be used.

    The arrays must be readable in place, `result` writeable, aligned, in native byte order and
    apart from the others.
    """
    laid = _laid(
        gradients.shape, result.shape, axes, gradients.strides, indices.strides, result.strides,
        gradients.dtype, indices.dtype, window, alone and is_half(gradients.dtype),
    )  # fmt: skip
    return _run("scatter", laid, gradients, indices, result)


def gather(
    source: NDArray[Any], indices: NDArray[Any], result: NDArray[Any], axes: tuple[int, ...]
) -> bool:
    """Write to each element of `result` the element of `source` at its position, 0 for -1.

    As `scatter_add`, from the other end: True where some position is not in `source`.
    """
    laid = _taken(
        result.shape, source.shape, axes, result.strides, indices.strides, source.strides,
        source.itemsize, indices.dtype,
    )  # fmt: skip
    return _run("gather", laid, source, indices, result)


#: Of loops that read none.
_PARAMS = np.zeros(1)
_TOLD = 8 * len(_ENV)


def _run(
    name: str, laid: _Laid, gradients: NDArray[Any], indices: NDArray[Any], result: NDArray[Any]
) -> bool:
    # Behind what is read lies what is told.
    env = laid.env.copy()
    env[:4] = address(gradients), address(indices), address(result), address(env) + _TOLD

    def memory(at: int) -> dict[str, tuple[int, int]]:
        return {
            "gradients": bounds.extent(gradients),
            "indices": bounds.extent(indices),
            "result": bounds.extent(result),
            "scratch": (at + laid.first, at + laid.scratch),
        }

    launch(
        _driver(name), laid.tables, env, _CONSTANTS["STOP"], laid.tasks, laid.work, laid.scratch,
        memory,
    )  # fmt: skip
    return bool(env[-1])


@lru_cache(maxsize=1024)
def _laid(
    shape: tuple[int, ...],
    r_shape: tuple[int, ...],
    axes: tuple[int, ...],
    g_strides: tuple[int, ...],
    i_strides: tuple[int, ...],
    r_strides: tuple[int, ...],
    dtype: np.dtype[Any],
    index: np.dtype[Any],
    window: Window | None,
    alone: bool,
) -> _Laid:
    kind = np.dtype(np.int16) if alone else dtype  # zeros of which are zeros of all
    accumulator = accumulator_dtype("same", kind)
    g_bytes, i_bytes, held = dtype.itemsize, index.itemsize, accumulator.itemsize
    code = loops(REDUCERS["sum"], kind, accumulator, kind, None, None)
    env = {
        "ADD": _adder(dtype, index, alone),
        "FILL": code.compiled("fill"),
        "STORE": code.compiled("store"),
    }
    sizes = [r_shape[axis] for axis in axes]
    weights = [prod(sizes[i + 1 :]) for i in range(len(sizes))]
    away = [r_strides[axis] // g_bytes for axis in axes]
    plane, room = prod(sizes), ROOM // held
    found = dims_of(shape, axes, g_strides, i_strides, r_strides, g_bytes, i_bytes, g_bytes)
    n = found[-1][1].length if found else 0
    fours = int(n >= LONG or (2 * n >= LONG and n % 4 == 0))
    row_last(found)
    row = found[-1][1]
    whole_row = 1 if row.pooled else row.length
    spacing = flat_unit(sizes, away)
    # Planes one after another, of which a row holds one gradient each; or channels together.
    planes = not row.pooled and spacing == 1 and row.far == plane
    together = spacing == whole_row and (row.pooled or row.far == 1 or row.length == 1)
    direct = held == g_bytes and (planes or together)
    if direct:
        room = DIRECT_ROOM // held
    channels = 1 if row.pooled or planes else row.length
    cut = window is not None and plane * (channels if direct else min(channels, FEW)) > room
    dims = merged(found, axes[0] if cut else -1)
    row, unit, rows = dims[-1], 1, sizes[0]
    if cut:
        assert window is not None
        # Windows over an edge are looked at twice: a stretch is some windows long.
        some = min(sizes[0], max(1, 6 * (window.extent - window.stride), 2 * window.stride))
        if not row.pooled and not planes:
            unit = row.length if direct else min(row.length, max(FEW, room // (weights[0] * some)))
        rows = min(sizes[0], max(some, room // (weights[0] * unit)))
    elif not row.pooled and not planes:
        unit = row.length if direct else min(row.length, max(FEW, room // plane))
    room = rows * weights[0] * unit
    lines = []
    for dim in dims:
        dim.tile = dim.length if dim.pooled else 1
        if dim.cut:
            assert window is not None
            dim.length, dim.tile, dim.climb = sizes[0], rows, window.stride * weights[0]
            dim.far = away[0]
    if not row.pooled and not planes:
        row.tile, row.rise = unit, 1
    group = max((i for i, d in enumerate(dims) if not (d.pooled or d.rise)), default=-1)
    if group >= 0 and not cut and plane <= SMALL and (not direct or dims[group].far == room):
        dim = dims[group]
        dim.tile, dim.rise = max(1, min(dim.length, ROOM // held // room)), room
        room *= dim.tile
        lines.append(Line(1, group, dim.rise, dim.far))
    else:
        group = -1
    at = next((i for i, dim in enumerate(dims) if dim.cut), -1)
    for k, (size, weight) in enumerate(zip(sizes, weights, strict=True)):
        first = Line(1, at, weight * unit, away[k])
        lines.append(first if cut and k == 0 else Line(size, -1, weight * unit, away[k]))
    if not row.pooled and not planes:
        whole = unit == row.length
        lines.append(Line(unit if whole else 1, -1 if whole else len(dims) - 1, 1, row.far))
    lines = joined(lines)
    reach = {} if window is None or not cut else {
        "STEP": window.stride, "BEFORE": window.before, "REACH": window.extent,
        "WINDOWS": window.out, "WEIGHT": weights[0],
    }  # fmt: skip
    return _tables(
        dims, lines, 0 if direct else room, env, CUT=at, DIRECT=int(direct), GROUP=group,
        PLANE=plane, UNIT=unit, HELD_BYTES=held, GRADIENT_BYTES=g_bytes, INDEX_BYTES=i_bytes,
        RESULT_BYTES=g_bytes, FOURS=fours, **reach,
    )  # fmt: skip


@lru_cache(maxsize=1024)
def _taken(
    shape: tuple[int, ...],
    s_shape: tuple[int, ...],
    axes: tuple[int, ...],
    r_strides: tuple[int, ...],
    i_strides: tuple[int, ...],
    s_strides: tuple[int, ...],
    size: int,
    index: np.dtype[Any],
) -> _Laid:
    i_bytes = index.itemsize
    found = dims_of(shape, axes, r_strides, i_strides, s_strides, size, i_bytes, size)
    row_last(found)
    dims = merged(found, -1)
    for dim in dims:
        dim.tile = dim.length
    while prod(dim.tile for dim in dims) > SMALL * 4:
        dim = next(dim for dim in dims if dim.tile > 1)
        dim.tile = -(-dim.tile // 2)
    reach = [s_shape[axis] for axis in axes], [s_strides[axis] // size for axis in axes]
    return _tables(
        dims, [], 0, {"TAKE": _taker(size, index)}, CUT=-1, PLANE=prod(reach[0]),
        UNIT=flat_unit(*reach) or 0, INDEX_BYTES=i_bytes, RESULT_BYTES=size,
    )  # fmt: skip


def _tables(
    dims: list[Dim], lines: list[Line], room: int, code: dict[str, int], **values: int
) -> _Laid:
    table = np.array(
        [
            (d.length, d.tile, -(-d.length // d.tile), d.stride, d.index_stride, d.rise, d.far,
             d.climb)
            for d in dims
        ],
        np.int64,
    )  # fmt: skip
    line_table = np.array(lines or [Line(0, 0, 0, 0)], np.int64)
    first = max(len(dims), len(lines)) * len(_WORK) * 8
    values |= {"DEPTH": len(dims), "LINES": len(lines), "ROOM": room, "WORK_BYTES": first}
    head = np.zeros(len(_HEAD), np.int64)
    for name, value in values.items():
        head[_HEAD.index(name)] = value
    known = {"PARAMS": address(_PARAMS), **code}
    outputs = prod(d.length for d in dims)
    tasks = prod(int(grid) for grid in table[:, 2])
    return _Laid(
        (table, head, line_table),
        (address(table), address(head), address(line_table)),
        tasks, max(1, 2 * outputs // tasks) + values["PLANE"] // 4,
        first + 64 + room * values.get("HELD_BYTES", 0), first,
        np.array([known.get(name, 0) for name in (*_ENV, "")], np.int64),
    )  # fmt: skip


@memoised
def _driver(name: str) -> Driver:
    widths = (
        ("dim", "", len(_COLUMNS)),
        ("line", "", len(_LINES)),
        ("work_of", "set_work", len(_WORK)),
    )
    calls = {
        "call_add": scatter.add, "call_take": scatter.take, "call_fill": lanes.fill,
        "call_store": lanes.store,
    }  # fmt: skip
    shared: tuple[Callable[..., Any], ...] = (scatter.stopped, scatter.place_task, scatter.advance)
    if name == "gather":
        return assembled((*shared, scatter.gather), _CONSTANTS, widths, calls)
    own = (scatter.add_task, scatter.target_of, scatter.deliver_task, scatter.scatter)
    return assembled((*shared, *own), _CONSTANTS, widths, calls)


def _space(name: str, **elements: np.dtype[Any]) -> dict[str, Any]:
    """Words that read and write an element of memory each, and those of integers."""
    space: dict[str, Any] = {
        "__name__": lanes.__name__,
        "put": access.put,
        "word": instructions.caster(np.dtype(np.int64)),
        "unsigned": instructions.caster(np.dtype(np.uint64)),
    }
    for word, dtype in elements.items():
        space[word] = element(dtype, f"{dtype.name}-{name}")
    return space


@memoised
def _adder(dtype: np.dtype[Any], index: np.dtype[Any], alone: bool) -> int:
    """Address of the loop that adds gradients of `dtype` at positions of type `index`."""
    with lock:
        name = f"{dtype.name}-{index.name}{'-alone' * alone}"
        held = storage(dtype) if alone else accumulator_dtype("same", dtype)
        space = _space(name, sum_at=held, gradient_at=storage(dtype), index_at=index)
        same = types.FunctionType(parts.same.__code__, {"__name__": lanes.__name__}, "same")
        same.__qualname__ = f"same-{name}"
        known = (dtype.name, "value")
        space |= {
            "decode": instructions.DECODERS[known]
            if is_half(dtype) and not alone
            else instructions.jit(same),
            "held": instructions.caster(held),
            "HELD": held.itemsize,
            "GRADIENT": dtype.itemsize,
            "INDEX": index.itemsize,
        }
        plus = types.FunctionType((scatter.stored if alone else scatter.summed).__code__, space)
        plus.__qualname__ = f"plus-{name}"
        space["plus"] = instructions.jit(plus)
        fours = types.FunctionType(scatter.fours.__code__, space, "fours")
        fours.__qualname__ = f"fours-{name}"
        space["fours"] = instructions.jit(fours)
        return address_of(compiled(scatter.add, space, name))


@memoised
def _taker(itemsize: int, index: np.dtype[Any]) -> int:
    """Address of the loop that takes elements of `itemsize` bytes at positions of type `index`."""
    with lock:
        name = f"{itemsize}-{index.name}"
        kind = np.dtype(f"u{itemsize}")
        space = _space(name, element_at=kind, index_at=index)
        space |= {"ITEM": itemsize, "INDEX": index.itemsize, "NOTHING": kind.type(0)}
        return address_of(compiled(scatter.take, space, name))
