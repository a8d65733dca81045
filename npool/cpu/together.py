"""Values of large windows over channels that lie together, without taps or positions.

The tiles of the general driver read a few channels of each tap of a window, and memory waits for
every stretch: a global average of (32, 2048, 7, 7), channels last and out of the caches, took
1.2 ms so, and 0.6 read in the order of memory, as the loops of `npool.cpu.taps` do.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.bins import Drawn
from npool.cpu.tapping import (
    WIDE,
    Laid,
    first_taps,
    form_of,
    is_wide,
    laid_out,
    loop_of,
    run_taps,
    shared_values,
)
from npool.geometry import Window
from npool.layout import memory_order
from npool.operation import Operation
from npool.reducers import REDUCERS

__all__ = ["fold_together", "together"]

#: Bytes of an input from which on memory is what counts.
LEAST = 1 << 22
#: Taps along a row, and rows, of a window whose sum stays within a few roundings.
MOST_ADDED = 16
#: Divisors that float32 has.
MOST_DIVISOR = 1 << 24
_OPS = {"max": ">", "min": "<", "sum": "+", "avg": "+"}


@lru_cache(maxsize=1024)
def together(
    operation: Operation,
    in_strides: tuple[int, ...],
    out_strides: tuple[int, ...],
    dtype: np.dtype[Any],
    result: np.dtype[Any],
) -> Laid | None:
    """The integers of a call that these loops serve, or None."""
    plan, reducer = operation.plan, operation.types.reducer
    op = _OPS.get(reducer.name, "")
    if not op or reducer is not REDUCERS[reducer.name] or operation.index is not None:
        return None
    # Not by its name, for which NumPy imports: in a destructor there may be nothing to import with.
    if dtype != result or dtype.char not in "fd":
        return None
    if prod(plan.shape) * dtype.itemsize < LEAST or not all(map(_inside, plan.windows)):
        return None
    order = memory_order(plan.shape, in_strides)
    if not (
        _is_dense(plan.shape, in_strides, order, dtype)
        and _is_dense(plan.out_shape, out_strides, order, dtype)
    ):
        return None
    form = form_of(plan, order, dtype)
    if form is None or not is_wide(form):
        return None
    z, y, x = form.windows
    code = 1
    if op == "+":
        if x.kernel > MOST_ADDED or z.kernel * y.kernel > MOST_ADDED:
            return None
        code = (operation.divisor or 0) if reducer.name == "avg" else 1
        if abs(code) >= MOST_DIVISOR:
            return None
    values = shared_values(form, dtype.itemsize) | {"ZK": 0, "YK": 0, "WIDE": WIDE}
    keep = []
    for name, window in (("ZS", z), ("YS", y), ("XS", x)):
        values[name], table = first_taps(window)
        keep.append(table)
    keep[2][:, 2] = code
    values["LOOP"] = loop_of("value", dtype, "pixels", 1, op)
    each = prod(window.kernel for window in form.windows)
    return laid_out(form, values, tuple(keep), form.outer * z.out * y.out, x.out, each, 1, False)


def fold_together(x: NDArray[Any], out: NDArray[Any], laid: Laid) -> None:
    """Fold every window of `x` into `out`."""
    run_taps(laid, x, out, out, 0)


def _inside(window: Window) -> bool:
    """Whether every tap of every window lies inside: an average's divisor is their number."""
    if isinstance(window, Drawn) or not window.out:
        return False
    last = window.out - 1
    ends = window.start(last) + (window.taps(last)[1] - 1) * window.dilation
    if type(window) is Window:
        ends = window.start(last) + (window.kernel - 1) * window.dilation
    return window.start(0) >= 0 and ends < window.size


def _is_dense(
    shape: tuple[int, ...], strides: tuple[int, ...], order: tuple[int, ...], dtype: np.dtype[Any]
) -> bool:
    step = dtype.itemsize
    for axis in reversed(order):
        if shape[axis] != 1 and strides[axis] != step:
            return False
        step *= shape[axis]
    return True
