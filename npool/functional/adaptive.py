"""torch's rules on the arguments of its adaptive functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.arrays import described
from npool.functional.arguments import ArgumentError
from npool.values import is_sequence, shown

__all__ = ["check_adaptive"]


def check_adaptive(
    name: str, n: int, input: NDArray[Any], output_size: Any, filled: int
) -> tuple[int | None, ...]:
    """`output_size` as `n` entries, once it and the shape have been found to be torch's.

    The last `filled` axes must not be empty, but for the first of all.
    """
    shape = described(input).shape
    sizes = _entries(name, n, output_size, shape)
    if len(shape) not in (n + 1, n + 2):
        raise ArgumentError(
            f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got: {list(shape)}: Expected "
            f"{n + 1} to {n + 2} dimensions; npool.{name[:-2]} pools any axes of any array"
        )
    for axis in range(max(1, len(shape) - filled), len(shape)):
        if shape[axis] == 0:
            raise ArgumentError(
                f"{name}(): Expected input to have non-zero size for non-batch dimensions, but "
                f"input has sizes {list(shape)} with dimension {axis} being empty: give at least "
                "one element"
            )
    for size in sizes:
        if size is not None and size < 0:
            given = ", ".join("None" if one is None else shown(one) for one in sizes)
            raise ArgumentError(
                f"{name}: elements of output_size must be greater than or equal to 0 but received "
                f"{{{given}}}: Trying to create tensor with negative dimension {shown(size)}"
            )
    return sizes


def _entries(name: str, n: int, value: Any, shape: tuple[int, ...]) -> tuple[int | None, ...]:
    wrong = TypeError(
        f"{name}(): argument 'output_size' must be tuple of ints, not {type(value).__name__}: got "
        f"{shown(value)}, give a single int or {n} of them" + (", or None" if n > 1 else "")
    )
    if not is_sequence(value):
        if not _is_int(value):
            raise wrong
        return (int(value),) * n
    if n > 1 and len(shape) <= len(value):
        raise ArgumentError(
            f"{name}: Input dimension should be at least {len(value) + 1}, got shape {shape} for "
            f"output_size={shown(value)}: give an array with {n + 1} or {n + 2} axes"
        )
    if not all(_is_int(entry) or (entry is None and n > 1) for entry in value):
        raise wrong
    if len(value) != n:
        phrase = "'output_size' should contain one int" if n == 1 else f"output_size must be {n}"
        if n > 1 and "max" in name:
            phrase = f"internal error: output_size.size() must be {n}"
        raise ArgumentError(
            f"{name}(): {phrase} (got {len(value)}): output_size={shown(value)} needs an entry for "
            "each spatial axis"
        )
    return tuple(None if entry is None else int(entry) for entry in value)


def _is_int(value: Any) -> bool:
    flag = isinstance(value, (bool, np.bool_))
    return hasattr(value, "__index__") and not getattr(value, "ndim", 0) and not flag
