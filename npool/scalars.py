"""The scalar vocabulary of reducers, in plain Python.

A reducer is made of small scalar functions. Where they need an operation whose meaning must
not drift between engines (a maximum that keeps NaN, say) they call it from here. Run as
Python these are the meaning; an engine that compiles a reducer binds each name to its own
instruction (`npool.cpu.instructions`), and a test holds the two together.
"""

from __future__ import annotations

import math
import struct
from typing import Any

__all__ = [
    "absolute",
    "divide",
    "exp",
    "isnan",
    "log",
    "maximum",
    "minimum",
    "power",
    "round_bfloat16",
    "round_float16",
    "select",
    "sqrt",
]


def maximum(a: Any, b: Any) -> Any:
    """The larger; NaN if either is NaN."""
    return a if a > b or a != a else b


def minimum(a: Any, b: Any) -> Any:
    """The smaller; NaN if either is NaN."""
    return a if a < b or a != a else b


def select(condition: Any, a: Any, b: Any) -> Any:
    """`a` if `condition` else `b`, both evaluated: no branch, so loops vectorise."""
    return a if condition else b


def isnan(a: Any) -> Any:
    """Whether `a` is NaN; never for integers."""
    return a != a


def absolute(a: Any) -> Any:
    """``|a|`` in the type of `a`."""
    return -a if a < 0 else abs(a)


def divide(a: Any, n: Any) -> Any:
    """``a / n``, rounded correctly, for a number of taps `n` of the type of `a`."""
    if n == 0:
        return math.nan if a == 0 or a != a else math.copysign(math.inf, a)
    return a / n


def sqrt(a: Any) -> Any:
    """Square root, NaN for negative `a`."""
    return math.sqrt(a) if a >= 0 else math.nan


def exp(a: Any) -> Any:
    """``e**a``; infinity past the range of the type."""
    try:
        return math.exp(a)
    except OverflowError:
        return math.inf


def log(a: Any) -> Any:
    """Natural logarithm; ``-inf`` for 0, NaN for negative `a`."""
    if a == 0:
        return -math.inf
    return math.log(a) if a > 0 or a != a else math.nan


def power(a: Any, b: Any) -> Any:
    """``a**b`` as C's ``pow``: NaN for a negative `a` and a fractional `b`."""
    try:
        return math.pow(a, b)
    except OverflowError:
        odd = float(b).is_integer() and b % 2 == 1
        return -math.inf if a < 0 and odd else math.inf
    except ValueError:
        if a == 0:  # 0 to a negative power
            odd = float(b).is_integer() and b % 2 == 1
            return math.copysign(math.inf, a) if odd else math.inf
        return math.nan


def round_float16(a: Any) -> Any:
    """The nearest float16, of two the even one, as a float; infinity past the last."""
    try:
        nearest: float = struct.unpack("e", struct.pack("e", a))[0]
    except OverflowError:
        return math.copysign(math.inf, a)
    return nearest


def round_bfloat16(a: Any) -> Any:
    """The nearest bfloat16 of a float32, of two the even one, as a float."""
    if a != a:
        return a
    (bits,) = struct.unpack("I", struct.pack("f", a))
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    nearest: float = struct.unpack("f", struct.pack("I", bits))[0]
    return nearest
