"""Max unpooling on the CPU: arrays to the integers that `npool.cpu.unpool` reads, and its call."""

from __future__ import annotations

import types
from functools import cache as memoised
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npool.cpu import bounds, lanes, unpool
from npool.cpu.compiling import Driver, access, entry, instructions, lock
from npool.cpu.engine import launch
from npool.layout import memory_order
from npool.memory import address
from npool.threads import get_num_threads

if bounds.CHECKED:
    from npool.cpu import checked

__all__ = ["scatter"]

HEAD = (
    "DEPTH", "OUTER", "SIZE", "STRETCH", "CLEAR", "AXES", "NONE", "FIRST", "WRONG",
)  # fmt: skip
AXIS = ("LENGTH", "X_STEP", "INDEX_STEP", "OUT_STEP")
CONSTANTS = {name: i for names in (HEAD, AXIS) for i, name in enumerate(names)}
#: Elements past which planes of one place are shared among threads.
SERIAL = 1 << 17


def scatter(
    x: NDArray[Any], indices: NDArray[Any], out: NDArray[Any], axes: tuple[int, ...], none: int
) -> bool:
    """Put the elements of `x` where `indices` say within `axes` of `out`, and 0 elsewhere.

    Of several elements at one position the last counts, in the row-major order of `axes`.
    All three arrays must be readable in place (`npool.layout.readable`), `out` writeable and
    apart from the others, and no array empty. The position `none` writes nothing.

    Returns
    -------
    bool
        Whether all positions were inside. Nothing was written for those that were not.
    """
    threads = get_num_threads()
    laid = _layout(
        x.shape, x.strides, indices.strides, out.shape, out.strides, x.itemsize, indices.dtype,
        axes, none, threads,
    )  # fmt: skip
    if not laid.clears:
        out[...] = 0
    shared, wrong = np.zeros(1, np.int64), np.zeros(1, np.int64)
    dims, places = address(laid.dims), address(laid.places)
    given = (dims, places, address(x), address(indices), address(out))

    def run(shared: int, at: int, first: int, last: int) -> None:
        own = laid.head.copy()
        own[CONSTANTS["FIRST"]] = first
        laid.run(address(own), *given, last)
        if own[CONSTANTS["WRONG"]]:
            wrong[0] = 1

    def memory(at: int) -> dict[str, tuple[int, int]]:
        arrays = {"input": x, "indices": indices, "results": out}
        return {name: bounds.extent(array) for name, array in arrays.items()}

    launch(Driver(run), (), shared, 0, laid.tasks, laid.work, 0, memory)
    return not wrong[0]


class _Layout(NamedTuple):
    """A call but for its arrays' addresses: the driver, its tables, and how much there is to do."""

    run: Any
    head: NDArray[np.int64]
    dims: NDArray[np.int64]
    places: NDArray[np.int64]
    tasks: int
    work: int
    #: Whether the driver writes the zeros as well.
    clears: bool


@lru_cache(maxsize=1024)
def _layout(
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    index_strides: tuple[int, ...],
    out_shape: tuple[int, ...],
    out_strides: tuple[int, ...],
    itemsize: int,
    index: np.dtype[Any],
    axes: tuple[int, ...],
    none: int,
    threads: int,
) -> _Layout:
    size = prod(out_shape[axis] for axis in axes)
    steps = [
        (n, strides[a] // itemsize, index_strides[a] // index.itemsize,
         0 if a in axes else out_strides[a] // itemsize)
        for a, n in enumerate(shape)
    ]  # fmt: skip
    # Planes, pooled axes, and last an axis of planes where those lie next to one another.
    apart = [a for a in memory_order(shape, strides) if a not in axes and shape[a] > 1]
    nearest = min((abs(strides[a]) for a in axes if shape[a] > 1), default=0)
    inner = [apart.pop()] if apart and abs(strides[apart[-1]]) < nearest else []
    outer = _joined([steps[a] for a in apart])
    dims = [*outer, *_joined([steps[a] for a in axes if shape[a] > 1]), *[steps[a] for a in inner]]
    if len(dims) == len(outer):
        dims.append((1, 0, 0, 0))
    stretch = last = dims[-1][0]
    lines, everything = prod(dim[0] for dim in outer), prod(shape) + prod(out_shape)
    if inner and lines < threads and everything > SERIAL:
        # Planes of one place are shared among threads, some lines of the cache each.
        stretch = -(-stretch // (threads * 64)) * 64
    places = _joined([(out_shape[a], 0, 0, out_strides[a] // itemsize) for a in axes])
    # What a task writes to is cleared just before, if it is one stretch of memory.
    together = last if inner else 1
    clears = len(places) == 1 and places[0][3] == together
    if inner:
        clears = clears and stretch == last and dims[-1][3] == 1
    head = np.zeros(len(HEAD), np.int64)
    head[: CONSTANTS["FIRST"]] = (
        len(dims), len(outer), size, stretch, size * together if clears else 0, len(places), none,
    )  # fmt: skip
    source = np.dtype(f"u{itemsize}" if itemsize <= 8 else np.complex128)
    tasks = lines * -(-last // stretch)
    return _Layout(
        _driver(source, index), head, np.array(dims, np.int64), np.array(places, np.int64), tasks,
        max(1, everything // tasks), clears,
    )  # fmt: skip


def _joined(steps: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Neighbouring axes that lie together in every array as one."""
    found: list[tuple[int, int, int, int]] = []
    for n, *step in steps:
        if found and list(found[-1][1:]) == [n * s for s in step]:
            found[-1] = (found[-1][0] * n, *step)  # type: ignore[assignment]
        else:
            found.append((n, *step))  # type: ignore[arg-type]
    return found


@memoised
def _driver(source: np.dtype[Any], index: np.dtype[Any]) -> Any:
    """The compiled driver for elements of so many bytes, and a type of positions."""
    with lock:
        space: dict[str, Any] = {
            "__name__": lanes.__name__,
            "get": access.get,
            "put": access.put,
            "view": checked.view if bounds.CHECKED else instructions.view,
            "axis": access.table(len(AXIS))[0],
            "SOURCE": source,
            "ITEM": source.itemsize,
            "INDEX": index,
            "INDEX_ITEM": index.itemsize,
            "BYTE": np.dtype(np.uint8),
            **CONSTANTS,
        }
        name = f"{source.itemsize}-{index.name}"
        for template in (unpool.clear, unpool.put_row):
            function = types.FunctionType(template.__code__, space, template.__name__)
            # The linker knows it by name (npool.cpu.binding).
            function.__qualname__ = f"{template.__name__}-{name}"
            space[template.__name__] = instructions.jit(function)
        whole = types.FunctionType(unpool.unpool.__code__, space, "unpool")
        whole.__qualname__ = f"unpool-{name}"
        return entry(whole).run
