"""Sums and averages from the other end: each element gets the gradients of its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool import arrays
from npool.bins import Bins
from npool.dtypes import accumulator_dtype, is_integer
from npool.geometry import Plan, Window
from npool.layout import empty_like_order, order_of, readable
from npool.operation import operation

__all__ = ["spread"]

Array = NDArray[Any]
#: Windows that an element lies in, along an axis, from which on they are summed apart: by the
#: engine, whose cost does not grow with the window.
MANY = 9


def spread(
    gradient: Array,
    plan: Plan,
    include_pad: bool | None,
    divisor: int,
    out: Any,
    result: np.dtype[Any] | None = None,
) -> Any:
    """The gradient of sums of `plan`'s windows, given that of what they were summed to.

    Each gradient is divided by the count of its window, with padding or without as `include_pad`
    says, or by `divisor` where that is not 0; None and 0: by nothing.
    """
    dtype = result or gradient.dtype.newbyteorder("=")
    order = order_of(gradient)
    results = arrays.results(gradient, plan.shape, order, dtype, None, out)
    target = results.targets[0]
    if target.size and not gradient.size:
        target[...] = 0  # no window at all
    elif target.size:
        counted = None if divisor else include_pad
        if not _as_pooling(gradient, plan, counted, divisor, target):
            _spread(readable(gradient), plan, counted, divisor, target, order)
    return results.delivered()


def _as_pooling(
    gradient: Array, plan: Plan, include_pad: bool | None, divisor: int, target: Array
) -> bool:
    """Windows at every element, of one divisor: pooling of the gradients, read backwards."""
    pads = []
    for w in plan.windows:
        before = w.extent - 1 - w.before
        after = w.size - w.out - before + w.extent - 1
        if isinstance(w, Bins) or w.stride != 1 or before < 0 or after < 0:
            return False
        if include_pad is not None:
            runs = w.runs(include_pad)
            if len(runs) > 1 or not runs[0][1]:
                return False
            divisor = (divisor or 1) * runs[0][1]
        pads.append((before, after))
    if is_integer(target.dtype) or target.dtype != gradient.dtype.newbyteorder("="):
        return False
    operation(
        gradient, tuple(w.kernel for w in plan.windows), 1, tuple(pads),
        tuple(w.dilation for w in plan.windows), False, plan.axes, "avg" if divisor else "sum",
        None, None, divisor or None, "half_even", False, np.int64,
    ).apply(gradient, target)  # fmt: skip
    return True


def _spread(
    source: Array,
    plan: Plan,
    include_pad: bool | None,
    divisor: int,
    target: Array,
    order: tuple[int, ...],
) -> None:
    from npool.cpu.spread_axes import Axis
    from npool.cpu.spreading import spread_sums

    if any(isinstance(window, Bins) for window in plan.windows):
        _expand(source, plan, include_pad is not None, target)
        return
    inside, known = _axes(plan, include_pad)
    axes = list(known)
    source = source[inside]
    accumulator = accumulator_dtype("same", source.dtype)
    if 0 in source.shape:  # every window lies wholly in the padding
        target[...] = 0
        return
    wide = [i for i, axis in enumerate(axes) if _most(axis) >= MANY]
    if not wide:
        spread_sums(source, target, axes, accumulator, divisor)
        return
    # Gradients over their counts first: what is left are sums, axis by axis.
    plain = [Axis(n, n, runs=axis.runs) for n, axis in zip(source.shape, axes, strict=True)]
    shares = empty_like_order(source.shape, order, accumulator)
    spread_sums(source, shares, plain, accumulator, divisor)
    axes = [replace(axis, runs=()) for axis in axes]
    for i in wide:
        shares = _summed(shares, axes[i], i, order)
        axes[i] = Axis(axes[i].length, axes[i].length)
    spread_sums(shares, target, axes, shares.dtype)


@lru_cache(maxsize=1024)
def _axes(plan: Plan, include_pad: bool | None) -> tuple[tuple[slice, ...], tuple[Any, ...]]:
    """Which outputs see any element, and how elements lie in those, axis by axis."""
    from npool.cpu.spread_axes import Axis

    axes = [Axis(n, n) for n in plan.shape]
    inside = [slice(None)] * len(axes)
    for axis, window in zip(plan.axes, plan.windows, strict=True):
        inside[axis], axes[axis] = _axis(window, include_pad)
    return tuple(inside), tuple(axes)


def _axis(window: Window, include_pad: bool | None) -> tuple[slice, Any]:
    """Which outputs of a window see any element, and how elements lie in those."""
    from npool.cpu.spread_axes import Axis

    runs = () if include_pad is None else window.runs(include_pad)
    n, k, s, d, b = window.size, window.kernel, window.stride, window.dilation, window.before
    # Taps and outputs that lie in the padding alone are left out: what is left is of the size
    # of the arrays, whatever the padding.
    first, stop = 0, window.out
    for _ in range(2):
        k = min(k, (n - 1 + b - first * s) // d + 1)
        if k < 1:
            return slice(0, 0), Axis(n, 0)
        first = max(first, -((d * (k - 1) - b) // s))
        stop = min(stop, (n - 1 + b) // s + 1)
    if stop <= first:
        return slice(0, 0), Axis(n, 0)
    b -= first * s
    skip = max(0, -(((stop - first - 1) * s - b) // d))
    if skip >= k:
        return slice(0, 0), Axis(n, 0)
    kept = tuple((min(end, stop) - first, count) for end, count in runs if end > first)
    cut = next((i + 1 for i, (end, _) in enumerate(kept) if end == stop - first), len(kept))
    return slice(first, stop), Axis(n, stop - first, k - skip, s, d, b - skip * d, kept[:cut])


def _expand(source: Array, plan: Plan, divided: bool, target: Array) -> None:
    """The gradient of bins, which differ in length."""
    from npool.cpu.expanding import expand_bins

    order = order_of(target)
    dense = empty_like_order(plan.shape, order, target.dtype)
    into = target if target.strides == dense.strides else dense
    expand_bins(source, into, _covers(plan), divided)
    if into is not target:
        target[...] = into


@lru_cache(maxsize=1024)
def _covers(plan: Plan) -> tuple[Any, ...]:
    """Of each axis, in which bins its elements lie."""
    from npool.cpu.expanding import Cover

    axes = [Cover(n, n) for n in plan.shape]
    for axis, window in zip(plan.axes, plan.windows, strict=True):
        spans = [(window.start(i), window.taps(i)[1]) for i in range(window.out)]
        elements, first, last = [], 0, 0
        for i in range(window.size):
            while sum(spans[first]) <= i:
                first += 1
            while last < window.out and spans[last][0] <= i:
                last += 1
            elements.append((first, last - first))
        counts = tuple(count for _, count in spans)
        axes[axis] = Cover(window.size, window.out, tuple(elements), counts)
    return tuple(axes)


def _most(axis: Any) -> int:
    """The most windows that an element lies in."""
    return int(-(-axis.kernel // axis.stride))


def _summed(shares: Array, axis: Any, i: int, order: Sequence[int]) -> Array:
    """Sum, for each element of axis `i`, the shares of the windows that it lies in."""
    shape = (*shares.shape[:i], axis.length, *shares.shape[i + 1 :])
    phases, step = axis.phases(), axis.stride
    known: dict[tuple[int, int], tuple[int, Array]] = {}
    lowest, highest = axis.before // step, (axis.length - 1 + axis.before) // step
    total: Array | None = None
    for e, (shift, taps) in enumerate(phases):
        if not taps:
            values, here = None, None
        else:
            found = known.get((shift, taps))
            if found is None:
                found = known[shift, taps] = (
                    lowest, _windows(shares, i, lowest - shift, highest - shift, taps, axis.gap)
                )  # fmt: skip
            m = (e + axis.before) // step - found[0]
            count = -(-(axis.length - e) // step)
            here = (slice(None),) * i + (slice(m, m + count),)
            values = found[1][here]
            if step == 1:
                return values
        if total is None:
            total = empty_like_order(shape, tuple(order), _summed_dtype(shares))
        total[(slice(None),) * i + (slice(e, None, step),)] = 0 if values is None else values
    assert total is not None
    return total


def _summed_dtype(shares: Array) -> np.dtype[Any]:
    """The type in which the engine sums `shares`: wider for small integers."""
    if not is_integer(shares.dtype):
        return shares.dtype
    return np.dtype(np.uint64 if shares.dtype.kind == "u" else np.int64)


def _windows(shares: Array, i: int, first: int, last: int, taps: int, gap: int) -> Array:
    """Sums of `taps` shares along axis `i`, `gap` apart and back from `first` up to `last`."""
    low = first - (taps - 1) * gap
    start, stop = max(0, low), min(shares.shape[i], last + 1)
    if stop <= start:
        shape = (*shares.shape[:i], last - first + 1, *shares.shape[i + 1 :])
        return np.zeros(shape, _summed_dtype(shares))
    given = shares[(slice(None),) * i + (slice(start, stop),)]
    sums: Array = operation(
        given, (taps,), 1, ((start - low, last + 1 - stop),), (gap,), False, (i,), "sum", None,
        None, None, "half_even", False, np.int64,
    ).apply(given, None)  # fmt: skip
    return sums
