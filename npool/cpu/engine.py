"""The CPU engine's way in: arrays and a plan to a scheduled, compiled, threaded call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npool.cpu import bounds, team, workers
from npool.cpu.binding import loops
from npool.cpu.binning import bin_schedule, drawn_table, has_bins, is_large
from npool.cpu.compiling import Driver
from npool.cpu.drivers import driver, gatherer, loops_of
from npool.cpu.schedule import CONSTANTS, Schedule, schedule
from npool.cpu.tables import ENV
from npool.cpu.together import fold_together, together
from npool.layout import empty_like_order, in_place, memory_order
from npool.memory import LARGE, LINE, address
from npool.operation import Operation
from npool.threads import get_num_threads, lent

__all__ = ["fold", "launch", "quick"]

#: Work (about a nanosecond each, and twice that where memory is cold) of a first chunk; and below
#: which waking a thread does not pay, which costs 20 to 50 us, and threads of another library,
#: which are awake, 5 to 10 (docs/performance.md, Two threads).
CHUNK_WORK = 100_000
SERIAL_WORK = 150_000
TEAM_WORK = 100_000
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
    if starts is None and not is_large(operation.plan):
        wide = together(operation, x.strides, out.strides, x.dtype, out.dtype)
        if wide is not None:
            fold_together(x, out, wide)
            return
    prepared = _prepared.__wrapped__ if is_large(operation.plan) else _prepared
    laid, env, params, patient, driver = prepared(
        operation, x.strides, out.strides, x.dtype, out.dtype
    )
    if starts is not None:
        table = drawn_table(operation.plan, memory_order(x.shape, x.strides), starts)
        env = env.copy()
        env[CONSTANTS["SPANS_AT"]] = address(table)
    source, values = address(x), address(out)
    positions = address(outs[1]) if len(outs) == 2 else 0

    launch(
        driver, (source, values, positions), env, STOP, laid.tasks, laid.task_work, laid.scratch,
        lambda at: _memory(x, outs, laid, params, at), patient,
    )  # fmt: skip


def launch(
    driver: Driver,
    given: tuple[int, ...],
    env: NDArray[np.int64],
    stop: int,
    tasks: int,
    work: int,
    scratch: int,
    memory: Callable[[int], dict[str, tuple[int, int]]],
    patient: bool = False,
) -> None:
    """Run a driver's tasks, `work` nanoseconds or so each, on as many threads as pay.

    ``driver.run(shared, *given, at, first, last)`` does some of them, told the addresses of `env`,
    which all threads read, and of `scratch` bytes of the thread's own. Place `stop` of `env` is
    where Ctrl-C is told; `memory` says of scratch at an address what loops may touch; `patient`
    that nobody knows what a task takes.
    """
    shared = address(env)

    def part(first: int, last: int) -> None:
        _held, at = _scratch(scratch)
        driver.run(shared, *given, at, first, last)

    if bounds.CHECKED:
        _held, at = _scratch(scratch)
        with bounds.allowed(**memory(at)):
            driver.run(shared, *given, at, 0, tasks)
        return
    if tasks * work < TEAM_WORK and not patient:
        part(0, tasks)
        return
    threads = get_num_threads()
    others = lent(threads) if threads > 1 and driver.at and not patient else None
    if others is not None and tasks * work < LONG_WORK:
        each = -(-scratch // LINE) * LINE
        _held, at = _scratch(each * threads, KEPT * threads)
        team.run(others, driver, (shared, *given), tasks, threads, at, each)
        return
    if tasks * work < (LONG_WORK if threads == 1 else SERIAL_WORK) and not patient:
        part(0, tasks)
        return
    # What a task takes is a guess, and a user's reducer may be slow: chunks start small and grow.
    chunk = 1 if patient else max(1, CHUNK_WORK // work)
    if tasks * work < (SLOW_WORK if patient else LONG_WORK):
        workers.run(part, tasks, chunk, threads)
        return
    flag = np.zeros(1, np.int64)
    env = env.copy()
    env[stop] = address(flag)
    shared = address(env)
    workers.run(part, tasks, chunk, threads, lambda: flag.fill(1))


def quick(operation: Operation, x: NDArray[Any]) -> Callable[[NDArray[Any]], Any] | None:
    """What makes the result of a small call like that on `x`, with nothing left to decide.

    None where a call is not small, or not plain. What is returned returns None for an array
    that cannot be read where it lies. A call of (1, 3, 32, 32) takes 3 us so, and 9 through `fold`.
    """
    plan, types = operation.plan, operation.types
    if bounds.CHECKED or not in_place(x):
        return None
    if types.result.kind == "c" and x.dtype.kind != "c":
        return None
    if not prod(plan.out_shape) or is_large(plan):
        return None
    out = empty_like_order(plan.out_shape, operation.order, types.result)
    if together(operation, x.strides, out.strides, x.dtype, out.dtype) is not None:
        return None
    held = _prepared(operation, x.strides, out.strides, x.dtype, out.dtype)
    laid, env, _, patient, driver = held
    run, tasks, needed, shared = driver.run, laid.tasks, laid.scratch, address(env)
    if patient or tasks * laid.task_work >= TEAM_WORK:
        return None
    shape, dtype, order, index = plan.out_shape, types.result, operation.order, operation.index
    plain = out.flags.c_contiguous and out.nbytes < LARGE
    align = x.dtype.alignment

    def call(x: NDArray[Any]) -> Any:
        source = address(x)
        if source % align:
            return None
        out = np.empty(shape, dtype) if plain else empty_like_order(shape, order, dtype)
        _held, at = _scratch(needed)
        if index is None:
            run(shared, source, address(out), 0, at, 0, tasks)
            return out
        places = empty_like_order(shape, order, index)
        run(shared, source, address(out), address(places), at, 0, tasks)
        return out, places

    # What its addresses lead to lives as long as it does, whatever the cache forgets.
    call.held = held  # type: ignore[attr-defined]
    return call


_kept = threading.local()


def _scratch(size: int, most: int = KEPT) -> tuple[NDArray[np.uint8], int]:
    """At least `size` bytes of this thread's own, and their address; up to `most` are kept."""
    found: tuple[NDArray[np.uint8], int] | None = getattr(_kept, "scratch", None)
    if found is None or found[0].size < size:
        memory = np.empty(size, np.uint8)
        found = (memory, address(memory))
        if size <= most:
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
    tables = 8 * (
        CONSTANTS["ENV_SIZE"] + CONSTANTS["WORK_SIZE"] * (len(laid.dims) + CONSTANTS["THREAD_ROWS"])
    )
    arrays = {"input": x, "params": params, "results": outs[0]}
    if len(outs) == 2:
        arrays["positions"] = outs[1]
    if laid.masks is not None:
        arrays["masks"] = laid.masks
    found = {"scratch": (scratch + tables, scratch + laid.scratch)}
    return found | {name: bounds.extent(array) for name, array in arrays.items()}


def _module(function: Any) -> str:
    return getattr(function, "__module__", None) or ""


class _Prepared(NamedTuple):
    """A call's schedule; its `env`, which the driver reads; its parameters; whether it runs a
    user's functions, of which nobody knows what they take; and its driver.
    """

    laid: Schedule
    env: NDArray[np.int64]
    params: NDArray[np.float64]
    patient: bool
    driver: Driver


@lru_cache(maxsize=4096)
def _prepared(
    operation: Operation,
    in_strides: tuple[int, ...],
    out_strides: tuple[int, ...],
    dtype: np.dtype[Any],
    result: np.dtype[Any],
) -> _Prepared:
    """All of a call but its arrays' addresses."""
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
    order, counted = memory_order(plan.shape, in_strides), reducer.finish is not None and not placed
    laid: Schedule
    if has_bins(plan):
        laid = (bin_schedule.__wrapped__ if is_large(plan) else bin_schedule)(
            plan, order, in_elements, out_elements, pair, code.width, itemsize, counted, placed
        )
    else:
        laid = schedule(
            plan, order, in_elements, out_elements, pair, reducer.idempotent, code.width, itemsize,
            out_itemsize, code.first, counted, operation.include_pad, operation.divisor, placed,
            code.as_stored, code.combinable, code.lanes,
        )  # fmt: skip
    params = np.array(reducer.params or (0.0,), np.float64)
    known = {place: code.compiled(name) for place, name in loops_of(laid).items()}
    known |= dict(zip(("DIMS_AT", "HEAD_AT", "SPANS_AT"), laid.tables, strict=True))
    known["PARAMS"] = address(params)
    if laid.driver == "bins" and counted:
        known["DIVIDED"] = code.compiled("divided")
    if laid.strided:
        known["GATHER"] = gatherer(itemsize)
    env = np.array([known.get(name, 0) for name in ENV], np.int64)
    functions = (reducer.combine, reducer.lift, reducer.finish)
    patient = any(f and not _module(f).startswith("npool.") for f in functions)
    return _Prepared(laid, env, params, patient, driver(laid.driver))
