"""Averages of integers: exact sums, and the four roundings back to an integer type."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from npool.dtypes import is_integer
from npool.reducers import REDUCERS, Reducer
from npool.scalars import absolute, maximum, minimum, select

__all__ = ["ROUNDINGS", "average"]

#: How an exact quotient becomes an integer.
ROUNDINGS = ("half_even", "half_up", "floor", "trunc")
_LOW = 2**32 - 1
_INT64_MAX = 2**63 - 1


def average(
    dtype: np.dtype[Any],
    result: np.dtype[Any],
    rounding: str = "half_even",
    taps: int = 2**31,
    divisor: int = 0,
) -> Reducer:
    """The reducer that averages `dtype` into `result`.

    Parameters
    ----------
    dtype, result : numpy.dtype
        Of the input and of the result.
    rounding : {"half_even", "half_up", "floor", "trunc"}
        For an integer result; the sum is exact, whatever its size. A quotient past the ends
        of `result` (only `divisor_override` or a narrower type can make one) saturates.
    taps : int
        The most that a window has: few of them need narrow sums only.
    divisor : int
        The caller's own, or 0.

    Returns
    -------
    Reducer

    Examples
    --------
    >>> import numpy as np
    >>> from npool.averages import average
    >>> average(np.dtype("uint8"), np.dtype("uint8"), "floor", 4).accumulator
    'uint16'
    """
    sums, real = "int64", ""
    if is_integer(result) and dtype.kind in "biu":
        info = np.iinfo(np.uint8 if dtype.kind == "b" else dtype)
        peak = max(int(info.max), -int(info.min)) * taps
        for name in ("uint16", "int16", "uint32", "int32"):
            held = np.iinfo(name)
            if (held.min == 0) == (info.min == 0) and peak <= held.max:
                sums = name
                break
        # A quotient of integers below 2**24 (2**53), correctly rounded, lies on the same side
        # of every integer and half as the quotient itself.
        for name, most in (("float32", 2**23), ("float64", 2**52)):
            if 2 * peak + max(taps, abs(divisor)) < most:
                real = name
                break
    return _average(dtype, result, rounding, sums, real)


@lru_cache(maxsize=256)
def _average(
    dtype: np.dtype[Any], result: np.dtype[Any], rounding: str, sums: str, real: str
) -> Reducer:
    wide = dtype.kind in "iu" and dtype.itemsize == 8
    if not is_integer(result):
        if not wide:
            return REDUCERS["avg"]
        return Reducer(
            "avg",
            _add_parts,
            (0, 0),
            _halves,
            _divide_parts,
            accumulator="int64",
            result="float",
            counts_padding=True,
            divides=True,
        )
    info = np.iinfo(result)
    low, high = int(info.min), min(int(info.max), _INT64_MAX)
    name = f"avg_{rounding}"
    if not wide:
        return Reducer(
            name,
            _add,
            0,
            None,
            _quotient(rounding, low, high, real)
            if real
            else _rounded(_rounding(rounding), low, high),
            accumulator=sums,
            result=result.name,
            counts_padding=True,
            divides=True,
        )
    unsigned = result.kind == "u" and result.itemsize == 8
    return Reducer(
        name,
        _add_parts,
        (0, 0),
        _halves,
        _rounded_parts(_rounding(rounding), low, high, unsigned),
        accumulator="int64",
        result=result.name,
        counts_padding=True,
        divides=True,
    )


def _add(a: Any, b: Any) -> Any:
    return a + b


# A 64-bit integer is summed as its high and low 32 bits: neither sum overflows for windows
# of up to 2**31 taps.
def _halves(x: Any) -> Any:
    return x >> 32, x & _LOW


def _add_parts(a: Any, b: Any) -> Any:
    return a[0] + b[0], a[1] + b[1]


def _divide_parts(a: Any, count: Any) -> Any:
    return (a[0] * 4294967296.0 + a[1]) / count


# Each says whether the floor of a quotient, with remainder r of n, is one too low.
def _half_even(negative: Any, odd: Any, r: Any, n: Any) -> Any:
    return (r > n - r) | ((r == n - r) & odd)


def _half_up(negative: Any, odd: Any, r: Any, n: Any) -> Any:
    return r >= n - r


def _floor(negative: Any, odd: Any, r: Any, n: Any) -> Any:
    return r > n  # never: a remainder is below its divisor


def _trunc(negative: Any, odd: Any, r: Any, n: Any) -> Any:
    return negative & (r > 0)


def _rounding(name: str) -> Callable[..., Any]:
    return {"half_even": _half_even, "half_up": _half_up, "floor": _floor, "trunc": _trunc}[name]


def _quotient(rounding: str, low: int, high: int, real: str) -> Callable[..., Any]:
    """`_rounded` in floating point, which vectorises: for sums whose quotient it cannot mistake."""
    kind: Any = np.float32 if real == "float32" else np.float64
    # Adding and taking away 1.5 * 2**23 (2**52) rounds to the nearest integer, half to even.
    most = 2**23 if real == "float32" else 2**52
    magic, one, zero = kind(1.5 * most), kind(1), kind(0)
    least, largest = kind(max(low, -most)), kind(min(high, most))
    halves, nearest, towards_zero = (
        rounding == "half_up",
        rounding == "half_even",
        rounding == "trunc",
    )

    def finish(total: Any, count: Any) -> Any:
        t, n = kind(total), kind(count)
        if halves:
            t, n = t + t + n, n + n
        v = t / n
        if towards_zero:
            v = absolute(v)
        q = (v + magic) - magic
        if not nearest:
            q = q - select(q > v, one, zero)
        if towards_zero:
            q = select((t < zero) != (n < zero), -q, q)
        return minimum(maximum(q, least), largest)

    return finish


def _rounded(rounds_up: Callable[..., Any], low: int, high: int) -> Callable[..., Any]:
    def finish(total: Any, count: Any) -> Any:
        negative = count < 0
        total = select(negative, -total, total)
        count = select(negative, -count, count)
        q = total // count
        r = total - q * count
        q = q + select(rounds_up(q < 0, (q & 1) == 1, r, count), 1, 0)
        return min(max(q, low), high)

    return finish


def _rounded_parts(
    rounds_up: Callable[..., Any], low: int, high: int, unsigned: bool
) -> Callable[..., Any]:
    # The bounds of the quotient's high half, past which the result saturates.
    least, most = (0, _LOW) if unsigned else (-(2**31), 2**31 - 1)

    def finish(total: Any, count: Any) -> Any:
        high_half = total[0] + (total[1] >> 32)
        low_half = total[1] & _LOW
        if count < 0:
            # -(h * 2**32 + l) with the low half kept in [0, 2**32)
            borrow = select(low_half > 0, 1, 0)
            high_half = -high_half - borrow
            low_half = select(low_half > 0, _LOW + 1 - low_half, low_half)
            count = -count
        top = high_half // count
        rest = high_half - top * count
        # Long division of rest * 2**32 + low_half, a bit at a time: nothing overflows.
        q, r = top * 0, rest
        for bit in range(31, -1, -1):
            carry = (low_half >> bit) & 1
            take = r > (count - 1 - carry) // 2
            r = select(take, r - (count - r) + carry, r + r + carry)
            q = q + q + select(take, 1, 0)
        if top < least:
            return low
        if top > most:
            # numba cannot mix int64 and uint64: all ones is the largest uint64
            return top * 0 - 1 if unsigned else high
        # Rounding carries into the top half only below `most`: the mean of values that fit
        # never rounds past the largest of them.
        up = rounds_up(top < 0, (q & 1) == 1, r, count)
        if up and not (top == most and q == _LOW):
            q = q + 1
        value = (top << 32) + q
        return value if unsigned else min(max(value, low), high)

    return finish
