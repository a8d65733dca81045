"""What element types are supported, and the accumulator and result type of each reduction."""

from __future__ import annotations

from typing import Any

import numpy as np

from npool.values import shown

__all__ = [
    "RULES",
    "SUPPORTED",
    "accumulator_dtype",
    "check_dtype",
    "is_bfloat16",
    "is_float",
    "is_half",
    "is_integer",
    "named_dtype",
    "result_dtype",
]

#: Names of every supported element type, as errors list them.
SUPPORTED = (
    "bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, bfloat16 "
    "(ml_dtypes), float32, float64, complex64, complex128 (complex: sum and avg only)"
)
#: Rules by which a reducer's accumulator and result types follow from the input's.
RULES = ("same", "sum", "float", "wide", "unsigned", "bool")
_NATIVE = frozenset("?bhilqBHILQefdFD")  # ends without 'g' and 'G': longdouble has no kernel
_DOUBLE, _SINGLE = np.dtype(np.float64), np.dtype(np.float32)


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether `dtype` is ml_dtypes' bfloat16, told by name so that nothing is imported."""
    return dtype.kind == "V" and dtype.name == "bfloat16" and dtype.itemsize == 2


def is_half(dtype: np.dtype[Any]) -> bool:
    """Whether `dtype` is float16 or bfloat16, which are reduced in float32."""
    return dtype.char == "e" or is_bfloat16(dtype)


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether `dtype` is a real floating type (bfloat16 included)."""
    return dtype.kind == "f" or is_bfloat16(dtype)


def is_integer(dtype: np.dtype[Any]) -> bool:
    """Whether `dtype` is an integer or bool type."""
    return dtype.kind in "iub"


def check_dtype(dtype: np.dtype[Any], what: str) -> None:
    """Refuse a dtype that no kernel reads.

    Raises
    ------
    TypeError
        Naming `dtype` and listing what is supported.
    """
    if dtype.char not in _NATIVE and not is_bfloat16(dtype):
        raise TypeError(f"{what} has dtype {dtype}, which is not supported: use one of {SUPPORTED}")


def named_dtype(value: Any, what: str) -> np.dtype[Any]:
    """`value` as a dtype; what NumPy cannot read as one is a TypeError in words."""
    try:
        dtype: np.dtype[Any] = np.dtype(value)
        return dtype
    except (TypeError, ValueError, SyntaxError, Warning):
        raise TypeError(f"{what}={shown(value)} is not a dtype: use one of {SUPPORTED}") from None


def _sum_result(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Result type of numpy.sum: small integers and bool widen to the machine's 64 bits."""
    if dtype.kind in "bi":
        return np.dtype(np.int64)
    return np.dtype(np.uint64) if dtype.kind == "u" else dtype


def result_dtype(rule: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Result type of a reduction of `dtype` under one of the rules of the reducer table.

    Parameters
    ----------
    rule : str
        ``"same"``; ``"sum"`` (numpy.sum's); ``"float"`` (float64 for integers and bool,
        floats and complex kept); ``"unsigned"`` (signed integers become unsigned of the same
        width); ``"bool"``; or the name of a dtype.
    dtype : numpy.dtype
        Of the input.
    """
    if rule == "same":
        return dtype
    if rule == "sum":
        return _sum_result(dtype)
    if rule == "float":
        return _DOUBLE if is_integer(dtype) else dtype
    if rule == "unsigned":
        return np.dtype(f"u{dtype.itemsize}") if dtype.kind == "i" else dtype
    return np.dtype(rule)


def accumulator_dtype(rule: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Type in which a reduction of `dtype` accumulates: never float16 or bfloat16.

    Parameters
    ----------
    rule : str
        As for :func:`result_dtype`, and ``"wide"``: float64 except for the half types.
    dtype : numpy.dtype
        Of the input, or of the requested result where ``dtype=`` was given.
    """
    if is_half(dtype) and rule not in ("bool",):
        return _SINGLE
    if rule == "wide":
        return _DOUBLE
    return result_dtype(rule, dtype)
