"""The CPU engine's way in: arrays and a plan to a scheduled, compiled, threaded call."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.cpu import workers
from npool.cpu.binding import driver, gatherer, loops
from npool.cpu.schedule import schedule
from npool.geometry import Plan
from npool.reducers import Reducer
from npool.threads import get_num_threads

__all__ = ["fold"]

#: Work (about a nanosecond each) of a chunk, and below which waking a thread does not pay:
#: that costs 20 to 50 us.
CHUNK_WORK = 2_000_000
SERIAL_WORK = 300_000


def fold(
    x: NDArray[Any],
    outs: tuple[NDArray[Any], ...],
    plan: Plan,
    order: tuple[int, ...],
    reducer: Reducer,
    accumulator: np.dtype[Any],
    include_pad: bool,
    divisor: int,
) -> None:
    """Fold every window of `x` into `outs` (values, and positions if there are two).

    `x` must be readable in place (`npool.layout.readable`); `outs` must be writeable, aligned,
    in native byte order, of the same strides in elements, and apart from `x`. Nothing is
    checked here.
    """
    out = outs[0]
    dtype, result = x.dtype, out.dtype
    pair = 1
    if dtype.kind == "c":
        pair = 2
        dtype = np.dtype(f"f{dtype.itemsize // 2}")
        result = np.dtype(f"f{result.itemsize // 2}")
    itemsize, out_itemsize = dtype.itemsize, result.itemsize
    placed = len(outs) == 2
    code = loops(reducer, dtype, accumulator, result, outs[1].dtype if placed else None)
    laid = schedule(
        plan, order,
        tuple([s // itemsize for s in x.strides]), tuple([s // out_itemsize for s in out.strides]),
        pair, reducer.idempotent, code.width, itemsize,
        reducer.finish is not None and not placed, include_pad, divisor, placed,
    )  # fmt: skip
    params = np.array(reducer.params or (0.0,), np.float64)
    env = np.array(
        [
            x.__array_interface__["data"][0],
            out.__array_interface__["data"][0],
            outs[1].__array_interface__["data"][0] if placed else 0,
            params.__array_interface__["data"][0],
            *code[:4],
            gatherer(itemsize) if laid.strided else 0,
            0, 0, 0, 0, 0,
        ],
        np.int64,
    )  # fmt: skip
    run = driver()
    arguments = (env, laid.dims, laid.head, laid.runs)
    tasks, work = laid.tasks, laid.task_work
    chunk = max(1, CHUNK_WORK // work)
    threads = get_num_threads()
    if threads == 1 or tasks * work < SERIAL_WORK:
        threads = 1
    else:
        chunk = max(1, min(chunk, -(-tasks // (4 * threads))))

    def part(first: int, last: int) -> None:
        run(*arguments, first, last)

    workers.run(part, tasks, chunk, threads)
