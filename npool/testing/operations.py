"""The table of operations: one row for each reduction, with the answer it must give.

A row is all that the oracle, the strategies, the checks and the property tests know about a
reduction. Adding a reducer to npool means adding its row here; a test compares the names with
``npool.REDUCERS``. NumPy and the standard library only: nothing here is shared with the library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from .exact import COMPLEX, REALS, Number, bounds, exponential, is_float, logarithm, power, total

DType = np.dtype[Any]


@dataclass(frozen=True)
class Window:
    """What one output sees: the real elements in row-major order, and what to do with them."""

    values: list[Any]
    dtype: DType
    result: DType
    divisor: int = 1
    rounding: str = "half_even"
    norm_type: float = 2


@dataclass(frozen=True)
class Operation:
    """One row: a reduction's name, its exact answer, its dtypes and how exact others must be.

    Parameters
    ----------
    name : str
        As in ``npool.REDUCERS``.
    reduce : callable
        The exact value of a `Window`.
    result : callable
        The result's dtype, from the input's.
    dtypes, options : tuple of str
        The dtypes that it takes; the keyword arguments that not every operation has.
    position : callable, optional
        Which of the window's values the result is, for those that return positions.
    ulps : float
        The error that is allowed at the end, in units in the last place.
    noise : callable, optional
        ``noise(window, unit)``: what rounding inside may add, where ``unit`` is taps times
        machine epsilon.

    Examples
    --------
    >>> first = Operation("first", lambda window: window.values[0], same)
    >>> first.reduce(Window([3, 1], np.dtype("int8"), np.dtype("int8")))
    3
    """

    name: str
    reduce: Callable[[Window], Number]
    result: Callable[[DType], DType]
    dtypes: tuple[str, ...] = REALS
    options: tuple[str, ...] = ()
    position: Callable[[Sequence[Any]], int | None] | None = None
    ulps: float = 0
    noise: Callable[[Window, float], float] | None = None


def _special(values: list[Any]) -> bool:
    return any(isinstance(v, float) and not math.isfinite(v) for v in values)


def _has_nan(values: list[Any]) -> bool:
    return any(v != v for v in values)


def _integral(values: list[Any]) -> bool:
    """Whether every partial sum is a small integer, which float32 holds exactly."""
    return all(v == int(v) for v in values) and sum(abs(v) for v in values) <= 2**24


# --- result dtypes ------------------------------------------------------------------------------


def same(dtype: DType) -> DType:
    """The input's dtype."""
    return dtype


def boolean(dtype: DType) -> DType:
    """Bool, whatever comes in."""
    return np.dtype(bool)


def wide(dtype: DType) -> DType:
    """As ``numpy.sum``: 64 bits for integers and bool, floats and complex keep their type."""
    return np.dtype({"b": "int64", "i": "int64", "u": "uint64"}.get(dtype.kind, dtype))


def floating(dtype: DType) -> DType:
    """As ``numpy.mean``: float64 for integers and bool, floats and complex keep their type."""
    return np.dtype("float64") if dtype.kind in "biu" else dtype


def unsigned(dtype: DType) -> DType:
    """The unsigned type of the same width for signed integers, else the input's dtype."""
    return np.dtype(f"uint{8 * dtype.itemsize}") if dtype.kind == "i" else dtype


# --- the answers --------------------------------------------------------------------------------


def maximum(window: Window) -> Number:
    """NaN if there is one, else the greatest; the lowest value of the dtype if there is none."""
    if _has_nan(window.values):
        return math.nan
    return max(window.values, default=bounds(window.dtype)[0])


def minimum(window: Window) -> Number:
    """NaN if there is one, else the least; the highest value of the dtype if there is none."""
    if _has_nan(window.values):
        return math.nan
    return min(window.values, default=bounds(window.dtype)[1])


def _first(values: Sequence[Any], best: Callable[[Sequence[Any]], Any]) -> int | None:
    nans = [i for i, v in enumerate(values) if v != v]
    if nans:
        return nans[-1]
    return values.index(best(values)) if values else None


def first_maximum(values: Sequence[Any]) -> int | None:
    """Where the maximum is: the last NaN, else the first of equals, else nowhere."""
    return _first(values, max)


def first_minimum(values: Sequence[Any]) -> int | None:
    """Where the minimum is: the last NaN, else the first of equals, else nowhere."""
    return _first(values, min)


def add(window: Window) -> Number:
    """The exact sum."""
    return total(window.values)


def average(window: Window) -> Number:
    """The exact sum over the divisor; an integer result is rounded and held within its bounds."""
    value = total(window.values)
    if window.divisor == 0:
        if window.result.kind in "iu":
            raise ValueError("a window that lies in the padding has no average as an integer")
        return math.nan
    if isinstance(value, float) and not math.isfinite(value):
        return value / window.divisor
    exact = Fraction(value) / window.divisor
    if window.result.kind not in "iu":
        return exact
    low, high = bounds(window.result)
    return int(min(max(ROUNDINGS[window.rounding](exact), low), high))


ROUNDINGS: dict[str, Callable[[Fraction], int]] = {
    "half_even": round,
    "half_up": lambda exact: math.floor(exact + Fraction(1, 2)),
    "floor": math.floor,
    "trunc": math.trunc,
}


def lp(window: Window) -> Number:
    """The p-norm ``(sum |x|**p) ** (1/p)``."""
    if _special(window.values):
        return math.nan if _has_nan(window.values) else math.inf
    p = Fraction(window.norm_type)
    return power(sum((power(abs(v), p) for v in window.values), Fraction(0)), 1 / p)


def any_of(window: Window) -> Number:
    """Whether some element is not zero (NaN is not)."""
    return int(any(v != 0 for v in window.values))


def all_of(window: Window) -> Number:
    """Whether no element is zero."""
    return int(all(v != 0 for v in window.values))


def product(window: Window) -> Number:
    """The exact product; infinity times zero is NaN."""
    if _special(window.values):
        return math.prod(window.values, start=1.0)
    return math.prod(v if isinstance(v, int) else Fraction(v) for v in window.values)


def spread(window: Window) -> Number:
    """Maximum minus minimum; 0 for no element."""
    if not window.values:
        return 0
    if _special(window.values):
        return float(maximum(window)) - float(minimum(window))
    high, low = max(window.values), min(window.values)
    return high - low if isinstance(high, int) else Fraction(high) - Fraction(low)


def greatest_magnitude(window: Window) -> Number:
    """The greatest absolute value; 0 for no element."""
    return math.nan if _has_nan(window.values) else max((abs(v) for v in window.values), default=0)


def mean_square(values: list[Any]) -> Number:
    """The exact mean of the squares; NaN for no element."""
    if not values:
        return math.nan
    if _special(values):
        return math.nan if _has_nan(values) else math.inf
    return sum((Fraction(v) ** 2 for v in values), Fraction(0)) / len(values)


def root_mean_square(window: Window) -> Number:
    """The root of the mean square."""
    return _root(mean_square(window.values))


def variance(window: Window) -> Number:
    """The mean squared distance from the mean (ddof 0); NaN for none and for an infinity."""
    if not window.values or _special(window.values):
        return math.nan
    mean = Fraction(total(window.values)) / len(window.values)
    return mean_square([Fraction(v) - mean for v in window.values])


def deviation(window: Window) -> Number:
    """The root of the variance."""
    return _root(variance(window))


def _root(value: Number) -> Number:
    finite = not isinstance(value, float) or math.isfinite(value)
    return power(value, Fraction(1, 2)) if finite else value


def log_sum_exp(window: Window) -> Number:
    """The logarithm of the sum of the exponentials; -inf for no element."""
    if _has_nan(window.values):
        return math.nan
    top = max(window.values, default=-math.inf)
    if isinstance(top, float) and not math.isfinite(top):
        return top
    finite = [Fraction(v) for v in window.values if v != -math.inf]
    return Fraction(top) + logarithm(sum(exponential(v - Fraction(top)) for v in finite))


# --- what rounding inside may add ---------------------------------------------------------------


def _sum_noise(window: Window, unit: float) -> float:
    return 0.0 if _integral(window.values) else unit * float(sum(abs(v) for v in window.values))


def _average_noise(window: Window, unit: float) -> float:
    # Not nothing for integers either: an average may be taken axis by axis.
    return unit * float(sum(abs(v) for v in window.values)) / abs(window.divisor or 1)


def _relative(reduce: Callable[[Window], Number]) -> Callable[[Window, float], float]:
    return lambda window, unit: unit * abs(float(reduce(window)))


def _lp_noise(window: Window, unit: float) -> float:
    value = abs(float(lp(window)))
    # 1 / p has an error of its own, which the power multiplies by the logarithm.
    return unit * value * (1 + abs(math.log(value))) if 0 < value < math.inf else 0.0


def _product_noise(window: Window, unit: float) -> float:
    value = abs(float(product(window)))
    return 0.0 if value <= 2**24 and _integral(window.values) else unit * value


def _deviation_noise(window: Window, unit: float) -> float:
    mean = sum(abs(v) for v in window.values) / len(window.values) if window.values else 0
    return unit * float(deviation(window) + mean)


def _variance_noise(window: Window, unit: float) -> float:
    error = _deviation_noise(window, unit)
    return error * (2 * float(deviation(window)) + error)


def _log_sum_exp_noise(window: Window, unit: float) -> float:
    return unit * (1 + max((abs(float(v)) for v in window.values), default=0.0))


# --- the rows -----------------------------------------------------------------------------------

_POSITIONS = ("return_indices", "index_dtype")

OPERATIONS: dict[str, Operation] = {
    row.name: row
    for row in (
        Operation("max", maximum, same, options=_POSITIONS, position=first_maximum),
        Operation("min", minimum, same, options=_POSITIONS, position=first_minimum),
        Operation("sum", add, wide, REALS + COMPLEX, ("dtype",), noise=_sum_noise),
        Operation(
            "avg",
            average,
            floating,
            REALS + COMPLEX,
            ("dtype", "count_include_pad", "divisor_override", "rounding"),
            ulps=1,
            noise=_average_noise,
        ),
        Operation("lp", lp, floating, options=("norm_type",), ulps=4, noise=_lp_noise),
        Operation("any", any_of, boolean),
        Operation("all", all_of, boolean),
        Operation("prod", product, wide, noise=_product_noise),
        Operation("range", spread, unsigned),
        Operation("absmax", greatest_magnitude, unsigned),
        Operation("rms", root_mean_square, floating, ulps=4, noise=_relative(root_mean_square)),
        Operation("var", variance, floating, ulps=4, noise=_variance_noise),
        Operation("std", deviation, floating, ulps=4, noise=_deviation_noise),
        Operation("logsumexp", log_sum_exp, floating, ulps=4, noise=_log_sum_exp_noise),
    )
}
"""Every reduction that npool ships, by name."""


def accumulator_epsilon(dtype: DType, result: DType) -> float:
    """Machine epsilon of the float type that sums are kept in: float32 for halves, as promised."""
    names = {"complex64": "float32", "complex128": "float64"}
    kinds = [names.get(d.name, d.name) for d in (dtype, result)]
    narrow = any(kind in ("float16", "bfloat16", "float32") for kind in kinds)
    floats = any(is_float(np.dtype(d)) for d in (dtype, result)) or dtype.kind == "c"
    return (2.0**-24 if narrow else 2.0**-53) if floats else 0.0
