"""The accumulator that padding counts as, and the types in which elements lie in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from npool.dtypes import is_half
from npool.reducer import Reducer

__all__ = ["Misfit", "identity", "storage"]


class Misfit(ValueError):
    """An identity that its accumulator cannot hold."""


def storage(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type whose bits a kernel reads for `dtype`: bool and half types as integers."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    return np.dtype(np.uint16) if is_half(dtype) else dtype


def identity(
    reducer: Reducer,
    dtype: np.dtype[Any],
    accumulator: np.dtype[Any],
    held: list[np.dtype[Any]],
    keyed: bool,
    placed: bool,
) -> tuple[Any, ...]:
    """What combines with anything to that thing, one scalar for each type in `held`.

    `keyed` says that half types are compared as integer keys (`npool.cpu.instructions`), `placed`
    that the last part is a position, the largest of its type.

    Raises
    ------
    Misfit
        Where the accumulator cannot hold it.
    """
    given = reducer.identity if reducer.parts > 1 else (reducer.identity,)
    infinity = 0x7C00 if dtype.name == "float16" else 0x7F80

    def value(part: Any) -> Any:
        lowest = part == "lowest"
        if part not in ("lowest", "highest"):
            return part
        if keyed:
            return -infinity - 1 if lowest else infinity
        if accumulator.kind == "f":
            return -np.inf if lowest else np.inf
        if accumulator.kind == "b":
            return 0 if lowest else 1
        info = np.iinfo(accumulator)
        return info.min if lowest else info.max

    values = []
    for t, part in zip(held, given, strict=False):
        number = value(part)
        try:
            with np.errstate(all="ignore"):
                typed = t.type(number)
        except (OverflowError, ValueError):
            typed = None
        fits = typed is not None and (
            bool(np.isinf(typed)) == (abs(number) == np.inf)
            if t.kind == "f"
            else typed.item() == number
        )
        if not fits:
            raise Misfit(
                f"identity {part!r} of reducer {reducer.name!r} does not fit its accumulator's "
                f"type {t}: use another identity, or accumulator='float'"
            )
        values.append(typed)
    if placed:
        values.append(held[-1].type(np.iinfo(held[-1]).max))
    return tuple(values)
