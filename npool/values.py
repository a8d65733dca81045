"""How a caller's values are read and shown: integers, sequences, and what messages repeat."""

from __future__ import annotations

import math
import numbers
import operator
from typing import Any

__all__ = ["integer", "is_number", "is_sequence", "number", "sequence", "shown"]

#: NumPy's own limit on the number of axes; nothing longer describes an array.
MOST_AXES = 64


def shown(value: Any) -> str:
    """`value` as a message repeats it: its repr, cut short where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print integers of more than 4,300 digits
        if isinstance(value, int):
            return f"(an integer of {value.bit_length()} bits)"
        return f"(a {type(value).__name__} that holds an integer too long to print)"
    text = " ".join(text.split())
    return text if len(text) <= 200 else f"{text[:197]}..."


def integer(value: Any, name: str) -> int:
    """`value` as a Python integer; bool, float and the like are a TypeError."""
    if type(value).__name__ in ("bool", "bool_"):
        raise TypeError(f"{name} must be an integer, got {value!r}: write 1 or 0 if you mean it")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} must be an integer, got {shown(value)} of type {type(value).__name__}"
        ) from None


def is_number(value: Any) -> bool:
    """Whether `value` is a real number of Python or NumPy; a bool is none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def number(value: Any, name: str) -> float:
    """`value` as a float; infinite where it is past the largest."""
    if not is_number(value):
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def is_sequence(value: Any) -> bool:
    """Whether `value` is a list, a tuple, a range or an array of one axis: things in order."""
    return isinstance(value, (list, tuple, range)) or getattr(value, "ndim", None) == 1


def sequence(value: Any, name: str) -> tuple[Any, ...]:
    """The entries of a short sequence."""
    if not is_sequence(value):
        raise TypeError(
            f"{name} must be a list or tuple of integers, got {shown(value)} of type "
            f"{type(value).__name__}"
        )
    if len(value) > MOST_AXES:
        raise ValueError(
            f"{name} has {len(value)} entries, but an array has at most {MOST_AXES} axes"
        )
    return tuple(value)
