"""Exact numbers for the oracle: out of an array, and back into a dtype with one rounding.

The oracle computes with Python's own integers, fractions and 60-digit decimals, so a result is
rounded exactly once: when it is stored. NumPy and the standard library only.
"""

from __future__ import annotations

import decimal
import importlib
import importlib.util
import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

Number = int | float | Fraction
"""An exact value. A float stands for itself; infinities and NaN are floats too."""

BOOL = ("bool",)
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGERS = SIGNED + UNSIGNED
HALVES = ("float16", "bfloat16")
FLOATS = (*HALVES, "float32", "float64")
COMPLEX = ("complex64", "complex128")
REALS = BOOL + INTEGERS + FLOATS

DECIMALS = decimal.Context(prec=60, Emin=-999_999, Emax=999_999)


class Format(NamedTuple):
    """A binary floating-point format: bits of the significand, smallest and largest exponent."""

    precision: int
    smallest: int
    largest: int


FORMATS = {
    "float16": Format(11, -14, 15),
    "bfloat16": Format(8, -126, 127),
    "float32": Format(24, -126, 127),
    "float64": Format(53, -1022, 1023),
}


def named_dtype(name: Any) -> np.dtype[Any]:
    """The NumPy dtype of a name; ``"bfloat16"`` is looked up in ``ml_dtypes``, when asked for.

    >>> named_dtype("uint8")
    dtype('uint8')
    """
    if name == "bfloat16":
        name = importlib.import_module("ml_dtypes").bfloat16
    dtype: np.dtype[Any] = np.dtype(name)
    return dtype


def has_bfloat16() -> bool:
    """Whether ``ml_dtypes`` is installed."""
    return importlib.util.find_spec("ml_dtypes") is not None


def available(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the dtype names that can be made on this machine (bfloat16 needs ``ml_dtypes``)."""
    return tuple(name for name in names if name != "bfloat16" or has_bfloat16())


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is one of the four real floating formats (bfloat16 has kind 'V' in NumPy)."""
    return dtype.name in FORMATS


def scalar(element: Any) -> int | float:
    """A Python number that equals a real array element exactly."""
    kind = np.asarray(element).dtype.kind
    return int(element) if kind in "biu" else float(element)


def nearest(value: Number, dtype: np.dtype[Any]) -> float:
    """The number of a floating dtype that is nearest to an exact value, ties to the even one.

    Beyond the largest finite number the result is an infinity, as IEEE 754 (2019, 4.3.1) has it.

    >>> nearest(Fraction(1, 3), np.dtype("float16"))
    0.333251953125
    >>> nearest(70_000, np.dtype("float16"))
    inf
    """
    if isinstance(value, float) and not math.isfinite(value):
        return value
    exact = Fraction(value)
    if exact == 0:
        return 0.0
    quantum = Fraction(spacing(exact, dtype))
    rounded = round(exact / quantum) * quantum
    if abs(rounded) >= 2 ** (FORMATS[dtype.name].largest + 1):
        return math.inf if rounded > 0 else -math.inf
    return float(rounded)


def spacing(value: Number, dtype: np.dtype[Any]) -> float:
    """One unit in the last place of a floating dtype at the size of ``value``.

    >>> spacing(1.5, np.dtype("float32")) == 2**-23
    True
    """
    precision, smallest, largest = FORMATS[dtype.name]
    if isinstance(value, float) and not math.isfinite(value):
        return 2.0 ** (largest - precision + 1)
    exact = abs(Fraction(value))
    if exact == 0:
        return 2.0 ** (smallest - precision + 1)
    exponent = exact.numerator.bit_length() - exact.denominator.bit_length()
    if exact < Fraction(2) ** exponent:
        exponent -= 1
    return 2.0 ** (min(max(exponent, smallest), largest) - precision + 1)


def wrapped(value: int, dtype: np.dtype[Any]) -> int:
    """An integer as a dtype of fixed width holds it: modulo 2**bits, as NumPy's sums do.

    >>> wrapped(200, np.dtype("int8"))
    -56
    """
    bits = 8 * dtype.itemsize
    value %= 2**bits
    return value - 2**bits if dtype.kind == "i" and value >= 2 ** (bits - 1) else value


def bounds(dtype: np.dtype[Any]) -> tuple[int | float, int | float]:
    """The lowest and the highest value of a real dtype: infinities for floats."""
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return int(limits.min), int(limits.max)
    return -math.inf, math.inf


def stored(value: Number, dtype: np.dtype[Any]) -> int | float | bool:
    """What an element of ``dtype`` holds after an exact value is written to it."""
    if dtype.kind == "b":
        return bool(value)
    if dtype.kind in "iu":
        if not isinstance(value, int):
            raise TypeError(f"{value!r} is no integer, but the result is {dtype}")
        return wrapped(value, dtype)
    return nearest(value, dtype)


def total(values: list[Any]) -> Number:
    """The exact sum: infinities of both signs, or a NaN, give NaN.

    >>> total([1e17, 1.0, -1e17])
    Fraction(1, 1)
    """
    special = [v for v in values if isinstance(v, float) and not math.isfinite(v)]
    if special:
        return float(sum(special))
    if all(isinstance(v, int) for v in values):
        return int(sum(values))
    return sum((Fraction(v) for v in values), Fraction(0))


def to_decimal(value: Number) -> decimal.Decimal:
    """A finite exact value to 60 digits."""
    exact = Fraction(value)
    return DECIMALS.divide(decimal.Decimal(exact.numerator), decimal.Decimal(exact.denominator))


def power(base: Number, exponent: Number) -> Fraction:
    """``base ** exponent`` of a finite base >= 0: exact for integer exponents, or 60 digits."""
    exact, raised = Fraction(base), Fraction(exponent)
    if raised.denominator == 1:
        return exact ** int(raised)
    if exact == 0:
        return Fraction(0)
    if raised == Fraction(1, 2):
        return Fraction(DECIMALS.sqrt(to_decimal(exact)))
    return Fraction(DECIMALS.power(to_decimal(exact), to_decimal(raised)))


def exponential(value: Number) -> Fraction:
    """``e ** value`` to 60 digits; below e**-10000 nothing is left that any dtype could show."""
    if value < -10_000:
        return Fraction(0)
    return Fraction(DECIMALS.exp(to_decimal(value)))


def logarithm(value: Number) -> Fraction:
    """The natural logarithm of a value > 0, to 60 digits."""
    return Fraction(DECIMALS.ln(to_decimal(value)))
