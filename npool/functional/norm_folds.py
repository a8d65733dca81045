"""torch's norms as reducers: each of its steps, and each rounding between them, in one fold."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from npool.averages import average
from npool.dtypes import is_integer
from npool.reducers import Reducer
from npool.scalars import absolute, maximum, power, round_bfloat16, round_float16, select, sqrt

__all__ = ["MOST_POWER", "norm_fold", "plain_fold"]

#: The largest power of an integer that a parameter of a reducer, a float64, holds exactly.
MOST_POWER = 2**53


def _add(a: Any, b: Any) -> Any:
    return a + b


def _lift(x: Any, p: Any, taps: Any) -> Any:
    return power(x, p)


def _lift_square(x: Any, p: Any, taps: Any) -> Any:
    return x * x


def _lift_root(x: Any, p: Any, taps: Any) -> Any:
    return sqrt(x)


def _lift_inverse_root(x: Any, p: Any, taps: Any) -> Any:
    return 1 / sqrt(x)


def _finish(a: Any, count: Any, p: Any, taps: Any) -> Any:
    # torch takes sign(mean) * relu(|mean|), which turns -0 to 0: so does adding 0.
    return power(a / count * taps + 0, 1 / p)


def _positive(a: Any) -> Any:
    return select(a == 0, 0, a)


def _finish_single(a: Any, count: Any, p: Any, taps: Any) -> Any:
    # `_finish` with nothing that would make float64 of float32.
    return power(_positive(a / count * taps), 1 / p)


def _finish_root(a: Any, count: Any, p: Any, taps: Any) -> Any:
    return sqrt(a / count * taps)


_LIFTS = {2.0: _lift_square, 0.5: _lift_root, -0.5: _lift_inverse_root}


def plain_fold(p: float, taps: int, kind: str = "float", narrow: bool = False) -> Reducer:
    """torch's formula without a rounding of its own: clipped windows are scaled to the full one.

    `kind` is the rule, or the dtype, of what is computed in and what comes out; a `narrow` one
    computes nothing in another.
    """
    return Reducer(
        "torch_lp",
        _add,
        0,
        lift=_LIFTS.get(p, _lift),
        finish=_finish_root if p == 2 else _finish_single if narrow else _finish,
        accumulator=kind,
        result=kind,
        params=(p, float(taps)),
    )


def norm_fold(dtype: np.dtype[Any], p: int | float, taps: int) -> Reducer:
    """The reducer that gives what torch does for elements of `dtype`, step by step.

    Raises
    ------
    ValueError
        For an integer power of int64 past `MOST_POWER`.
    """
    if math.isinf(p):
        return _LARGEST if p > 0 else _SMALLEST
    if is_integer(dtype):
        if not (isinstance(p, int) and dtype in (np.int64, np.bool_)):
            return plain_fold(float(p), taps, "float32", True)
        if p > MOST_POWER:
            raise ValueError(f"norm_type={p} of integers on a CUDA device is past 2**53")
        return Reducer(
            "torch_lp", _AVERAGE.combine, _AVERAGE.identity, lift=_raised_int64,
            finish=_rooted_int64, accumulator="int64", result="float32",
            params=(float(p), float(taps)),
        )  # fmt: skip
    if dtype.itemsize > 2:
        return plain_fold(float(p), taps, narrow=True)
    bfloat = dtype.char != "e"
    lift, finish = _half_steps(bfloat, _named(bfloat, p), _named(bfloat, 1 / p), taps)
    return Reducer(
        "torch_lp", _add, 0, lift=lift, finish=finish, accumulator="float", result="float",
        # torch rounds the exponents too: 1/3 is 0.334 in bfloat16.
        params=(float(dtype.type(p)), float(dtype.type(1 / p))),
    )  # fmt: skip


# --- infinite powers: as torch finds them, by max alone -------------------------------------------


def _less(x: Any) -> Any:
    return -absolute(x)


def _negative(a: Any, count: Any) -> Any:
    return -a


# Integers wrap: |-128| of int8 is -128, and to p = -inf an unsigned 0 is the largest.
_LARGEST = Reducer(
    "torch_linf", maximum, "lowest", lift=absolute, accumulator="same", result="same"
)
_SMALLEST = Reducer(
    "torch_linf", maximum, "lowest", lift=_less, finish=_negative, accumulator="same",
    result="same",
)  # fmt: skip


# --- int64: powers that wrap, and a mean cut off toward zero --------------------------------------


_AVERAGE = average(np.dtype(np.int64), np.dtype(np.int64), "trunc")
_split: Any = _AVERAGE.lift
_mean: Any = _AVERAGE.finish


def _raised_int64(x: Any, p: Any, taps: Any) -> Any:
    raised, base, left = x * 0 + 1, x * 1, int(p)
    while left > 0:
        if left & 1:
            raised = raised * base
        base = base * base
        left = left >> 1
    return _split(raised)


def _rooted_int64(a: Any, count: Any, p: Any, taps: Any) -> Any:
    return power(np.float32(_mean(a, count) * int(taps)), np.float32(1 / p))


# --- half types: every step rounded ---------------------------------------------------------------

#: Powers that torch takes of bfloat16, but not of float16, by products and roots.
_BFLOAT16_POWERS = (3.0, 0.5, -0.5, -2.0)


def _named(bfloat: bool, p: float) -> float:
    """The power, if it is one that is not left to `power`; else 0."""
    return p if p == 2 or (bfloat and p in _BFLOAT16_POWERS) else 0.0


def _power_of(rounded: Callable[[Any], Any], p: float) -> Callable[[Any, Any], Any]:
    def raised(x: Any, q: Any) -> Any:
        return rounded(power(x, q))

    def square(x: Any, q: Any) -> Any:
        return rounded(x * x)

    def cube(x: Any, q: Any) -> Any:
        return rounded(rounded(x * x) * x)

    def root(x: Any, q: Any) -> Any:
        return rounded(sqrt(x))

    def inverse_root(x: Any, q: Any) -> Any:
        return rounded(1 / sqrt(x))

    def inverse_square(x: Any, q: Any) -> Any:
        return rounded(1 / rounded(x * x))

    known = {2.0: square, 3.0: cube, 0.5: root, -0.5: inverse_root, -2.0: inverse_square}
    return known.get(p, raised)


@lru_cache(maxsize=64)
def _half_steps(
    bfloat: bool, power_: float, root_: float, taps: int
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Lift and finish; kept, since a kernel is known by its functions."""
    rounded = round_bfloat16 if bfloat else round_float16
    raise_, extract = _power_of(rounded, power_), _power_of(rounded, root_)

    single = np.float32(taps)

    def lift(x: Any, p: Any, root: Any) -> Any:
        return raise_(x, p)

    def finish(a: Any, count: Any, p: Any, root: Any) -> Any:
        return extract(rounded(_positive(rounded(a / count) * single)), root)

    return lift, finish
