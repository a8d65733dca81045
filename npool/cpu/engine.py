"""The CPU engine's way in: arrays and a plan to a scheduled, compiled, threaded call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.cpu import bounds, workers
from npool.cpu.binding import loops
from npool.cpu.binning import bin_schedule, drawn_table, has_bins, is_large
from npool.cpu.drivers import driver, gatherer
from npool.cpu.schedule import CONSTANTS, Schedule, schedule
from npool.layout import memory_order
from npool.memory import address
from npool.operation import Operation
from npool.threads import get_num_threads

__all__ = ["fold", "launch"]

#: Work (about a nanosecond each) of a first chunk, and below which waking a thread does not
#: pay: that costs 20 to 50 us.
CHUNK_WORK = 100_000
SERIAL_WORK = 300_000
#: Work past which the caller leaves it to workers, so as to hear Ctrl-C: of npool's reducers,
#: and of a user's.
LONG_WORK = 50_000_000
SLOW_WORK = 10_000
STOP = CONSTANTS["STOP"]
#: Bytes of scratch that a thread keeps between calls.
KEPT = 1 << 21


def fold(
    x: NDArray[Any],
    outs: tuple[NDArray[Any], ...],
    operation: Operation,
    starts: tuple[NDArray[np.int64], ...] | None = None,
) -> None:
    """Fold every window of `x` into `outs` (values, and positions if there are two).

    `starts` says where windows drawn at random begin: for each of the plan's axes an array of the
    lengths of the axes that are not pooled and of the axis' outputs.

    `x` must be readable in place (`npool.layout.readable`); `outs` must be writeable, aligned,
    in native byte order, of the same strides in elements, and apart from `x`. Nothing is
    checked here.
    """
    out = outs[0]
    placed = len(outs) == 2
    prepared = _prepared.__wrapped__ if is_large(operation.plan) else _prepared
    laid, template, params, patient = prepared(
        operation, x.strides, out.strides, x.dtype, out.dtype
    )
    env = template.copy()
    env[0] = address(x)
    env[1] = address(out)
    if placed:
        env[2] = address(outs[1])
    tables = laid.tables
    if starts is not None:
        table = drawn_table(operation.plan, memory_order(x.shape, x.strides), starts)
        tables = (*tables[:2], address(table))
    launch(
        driver(laid.driver), env, STOP, tables, laid.tasks, laid.task_work, laid.scratch,
        lambda at: _memory(x, outs, laid, params, at), patient,
    )  # fmt: skip


def launch(
    run: Any,
    env: NDArray[np.int64],
    stop: int,
    tables: tuple[int, int, int],
    tasks: int,
    work: int,
    scratch: int,
    memory: Callable[[int], dict[str, tuple[int, int]]],
    patient: bool = False,
) -> None:
    """Run a compiled driver's tasks, `work` nanoseconds or so each, on as many threads as pay.

    `env` is what all threads read, its place `stop` where Ctrl-C is told; `scratch` the bytes of
    each thread's own; `memory` says of scratch at an address what loops may touch; `patient`
    that nobody knows what a task takes.
    """
    shared, (dims, head, spans) = address(env), tables

    def part(first: int, last: int) -> None:
        _held, at = _scratch(scratch)
        run(shared, dims, head, spans, at, first, last)

    if bounds.CHECKED:
        _held, at = _scratch(scratch)
        with bounds.allowed(**memory(at)):
            run(shared, dims, head, spans, at, 0, tasks)
        return
    if tasks * work < SERIAL_WORK and not patient:
        part(0, tasks)
        return
    threads = get_num_threads()
    # What a task takes is a guess, and a user's reducer may be slow: chunks start small and grow.
    chunk = 1 if patient else max(1, CHUNK_WORK // work)
    if tasks * work < (SLOW_WORK if patient else LONG_WORK):
        workers.run(part, tasks, chunk, threads)
        return
    flag = np.zeros(1, np.int64)
    env[stop] = address(flag)
    workers.run(part, tasks, chunk, threads, lambda: flag.fill(1))


_kept = threading.local()


def _scratch(size: int) -> tuple[NDArray[np.uint8], int]:
    """At least `size` bytes of this thread's own, and their address; some are kept."""
    found: tuple[NDArray[np.uint8], int] | None = getattr(_kept, "scratch", None)
    if found is None or found[0].size < size:
        memory = np.empty(size, np.uint8)
        found = (memory, address(memory))
        if size <= KEPT:
            _kept.scratch = found
    return found


def _memory(
    x: NDArray[Any],
    outs: tuple[NDArray[Any], ...],
    laid: Schedule,
    params: NDArray[np.float64],
    scratch: int,
) -> dict[str, tuple[int, int]]:
    """What the loops of a call may touch, its scratch at an address among it."""
    # The tables at its start are the driver's, and no loop's.
    tables = 8 * (CONSTANTS["ENV_SIZE"] + CONSTANTS["WORK_SIZE"] * (len(laid.dims) + 21))
    arrays = {"input": x, "params": params, "results": outs[0]}
    if len(outs) == 2:
        arrays["positions"] = outs[1]
    if laid.masks is not None:
        arrays["masks"] = laid.masks
    found = {"scratch": (scratch + tables, scratch + laid.scratch)}
    return found | {name: bounds.extent(array) for name, array in arrays.items()}


def _module(function: Any) -> str:
    return getattr(function, "__module__", None) or ""


@lru_cache(maxsize=4096)
def _prepared(
    operation: Operation,
    in_strides: tuple[int, ...],
    out_strides: tuple[int, ...],
    dtype: np.dtype[Any],
    result: np.dtype[Any],
) -> tuple[Schedule, NDArray[np.int64], NDArray[np.float64], bool]:
    """The schedule of a call, its `env` but for the arrays' addresses, its parameters, and
    whether it runs a user's functions, of which nobody knows what they take.
    """
    plan, (reducer, accumulator, _) = operation.plan, operation.types
    pair = 1
    if dtype.kind == "c":
        pair = 2
        dtype = np.dtype(f"f{dtype.itemsize // 2}")
        result = np.dtype(f"f{result.itemsize // 2}")
    itemsize, out_itemsize = dtype.itemsize, result.itemsize
    placed = operation.index is not None
    place = None
    if placed:
        # Beside a value of 32 bits, a position of 32 vectorises better (docs/performance.md).
        reach = prod(window.size for window in plan.windows)
        place = np.dtype(np.int32 if reach < 2**31 else np.int64)
    code = loops(reducer, dtype, accumulator, result, operation.index, place)
    in_elements = tuple([s // itemsize for s in in_strides])
    out_elements = tuple([s // out_itemsize for s in out_strides])
    counted = reducer.finish is not None and not placed
    binned = has_bins(plan)
    order = memory_order(plan.shape, in_strides)
    laid: Schedule
    if binned:
        laid = (bin_schedule.__wrapped__ if is_large(plan) else bin_schedule)(
            plan, order, in_elements, out_elements, pair, code.width, itemsize, counted, placed
        )
    else:
        laid = schedule(
            plan, order, in_elements, out_elements, pair, reducer.idempotent, code.width,
            itemsize, out_itemsize, code.first, counted, operation.include_pad,
            operation.divisor, placed, code.as_stored, code.whole is not None,
        )  # fmt: skip
    params = np.array(reducer.params or (0.0,), np.float64)
    env = [
        0, 0, 0, address(params),
        code.source_rows, code.scratch_rows, code.fill, code.store,
        code.split, gatherer(itemsize) if laid.strided else 0, 0,
        code.masked() if laid.driver == "planes" else 0,
        code.whole() if code.whole and laid.driver == "wholes" else 0,
        code.picks() if binned else 0, code.store_each() if binned and counted else 0, *[0] * 8,
    ]  # fmt: skip
    assert len(env) == CONSTANTS["ENV_SIZE"]
    functions = (reducer.combine, reducer.lift, reducer.finish)
    patient = any(f and not _module(f).startswith("npool.") for f in functions)
    return laid, np.array(env, np.int64), params, patient
