"""A reducer: what a window is reduced to, as a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npool.dtypes import RULES, check_dtype, is_half, named_dtype
from npool.values import is_number, number, shown

__all__ = ["Reducer"]

_ENDS = ("lowest", "highest")
#: The most scalars that an accumulator may hold, and the most run-time numbers.
MAX_PARTS, MAX_PARAMS = 4, 2


@dataclass(frozen=True, eq=False)
class Reducer:
    """A fold that npool's engines can run: an identity and two or three scalar functions.

    The functions are compiled by Numba in nopython mode: they take and return scalars (or
    tuples of scalars) and may use arithmetic, comparisons, `math`, and `npool.scalars`.

    Parameters
    ----------
    name : str
        For messages and tables.
    combine : callable
        ``combine(a, b)``, two accumulators to one. Must be associative and commutative up
        to rounding: the engine combines in an order of its own, the same for every call.
    identity : number, str or tuple
        What combines with any `a` to `a`; padding counts as this. ``"lowest"`` and
        ``"highest"`` are the ends of the accumulator's type (minus and plus infinity for
        floats). A tuple (at most 4 entries) makes the accumulator a tuple.
    lift : callable, optional
        ``lift(x)``, an element to an accumulator. `x` comes in the accumulator's type where
        that is a float, else in its own. Default: the element itself.
    finish : callable, optional
        ``finish(a, count)``, an accumulator and the number of taps to a result. `count` has
        the accumulator's type where that is a float, else it is an int64. Default: the
        accumulator itself.
    accumulator : str
        Type of the accumulator: ``"sum"`` (numpy.sum's, float32 for half types; default),
        ``"same"``, ``"float"``, ``"wide"`` (float64, float32 for half types), ``"unsigned"``,
        ``"bool"``, or the name of a dtype.
    result : str
        Type of the result, by the same rules, half types kept: default ``"sum"``.
    idempotent : bool
        Whether ``combine(a, a) == a``, so that windows may be covered twice.
    params : tuple of float
        Numbers handed to `lift` and `finish` after their own arguments at run time, so that
        another value compiles nothing.
    summary : str
        One line for the documentation.
    selects : bool
        Whether the result is one of the elements, as of max and min: half types are then
        compared as they are stored.
    positions : callable, optional
        ``combine`` for ``(value, position)`` pairs, where the reduction has positions.
    in_order : callable, optional
        `positions` for where the second pair is known to come after the first: quicker, since
        equal values then need no look at their positions. Default: `positions`.
    counts_padding : bool
        Whether padding counts in `count` unless the caller says otherwise.
    divides : bool
        Whether `count` is a divisor, which ``count_include_pad`` and ``divisor_override`` may
        change.
    complex_parts : bool
        Whether complex input may be reduced part by part.

    Raises
    ------
    ValueError, TypeError
        If a part is not of its kind, in words.

    See Also
    --------
    npool.pool : runs a reducer.

    Examples
    --------
    The product of absolute values:

    >>> import numpy as np, npool
    >>> product = npool.Reducer("prod_abs", lambda a, b: a * b, 1.0, lift=lambda x: abs(x))
    >>> npool.pool(np.array([1.0, -2.0, 3.0, -4.0]), (2,), 1, reduce=product)
    array([ 2.,  6., 12.])
    """

    name: str
    combine: Callable[[Any, Any], Any]
    identity: Any
    lift: Callable[..., Any] | None = None
    finish: Callable[..., Any] | None = None
    accumulator: str = "sum"
    result: str = "sum"
    idempotent: bool = False
    params: tuple[float, ...] = ()
    summary: str = ""
    #: The result is one of the elements (max, min): storage types need no accumulator.
    selects: bool = False
    #: ``combine`` for (value, position) pairs, where the reduction has positions.
    positions: Callable[[Any, Any], Any] | None = field(default=None, repr=False)
    #: The same where the second pair is known to come after the first.
    in_order: Callable[[Any, Any], Any] | None = field(default=None, repr=False)
    #: Whether padding counts in `count` unless the caller says otherwise.
    counts_padding: bool = False
    #: Whether `count` is a divisor that count_include_pad and divisor_override may change.
    divides: bool = False
    #: Whether complex input may be reduced part by part.
    complex_parts: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"name must be a non-empty string, got {shown(self.name)}")
        for what in ("combine", "lift", "finish"):
            part = getattr(self, what)
            if not callable(part) and not (part is None and what != "combine"):
                raise TypeError(
                    f"{what} of reducer {self.name!r} must be a function of scalars, got "
                    f"{shown(part)}"
                )
        parts = self.identity if isinstance(self.identity, tuple) else (self.identity,)
        if not 1 <= len(parts) <= MAX_PARTS:
            raise ValueError(
                f"identity of reducer {self.name!r} has {len(parts)} parts: an accumulator "
                f"holds 1 to {MAX_PARTS}"
            )
        if len(parts) > 1 and self.finish is None:
            raise ValueError(
                f"reducer {self.name!r} has an accumulator of {len(parts)} parts and no finish: "
                "give finish=lambda a, count: ... to make one result of them"
            )
        for part in parts:
            if not is_number(part) and not (isinstance(part, str) and part in _ENDS):
                raise TypeError(
                    f"identity of reducer {self.name!r} must be a number, 'lowest' or "
                    f"'highest' (or a tuple of these), got {shown(part)}"
                )
        if not isinstance(self.params, tuple) or not all(map(is_number, self.params)):
            raise TypeError(
                f"params of reducer {self.name!r} must be a tuple of numbers, got "
                f"{shown(self.params)}"
            )
        if len(self.params) > MAX_PARAMS:
            raise ValueError(
                f"params of reducer {self.name!r} must be at most {MAX_PARAMS} numbers, got "
                f"{len(self.params)}"
            )
        object.__setattr__(self, "params", tuple(number(p, "params") for p in self.params))
        for what in ("idempotent", "selects", "counts_padding", "divides", "complex_parts"):
            if not isinstance(getattr(self, what), bool):
                raise TypeError(
                    f"{what} of reducer {self.name!r} must be True or False, got "
                    f"{shown(getattr(self, what))}"
                )
        for what in ("accumulator", "result"):
            object.__setattr__(self, what, self._rule(what))

    def _rule(self, what: str) -> str:
        rule = getattr(self, what)
        if isinstance(rule, str) and rule in RULES:
            return rule
        if not isinstance(rule, (str, type, np.dtype)):
            raise TypeError(
                f"{what} of reducer {self.name!r} must be the name of a rule "
                f"({', '.join(RULES)}) or a dtype, got {shown(rule)}"
            )
        given = named_dtype(rule, what)
        check_dtype(given, f"{what} of reducer {self.name!r}")
        if given.kind == "c" or is_half(given) or not given.isnative:
            raise TypeError(
                f"{what} of reducer {self.name!r} cannot be {given}: use a real type of at "
                f"least 32 bits, an integer type, or a rule ({', '.join(RULES)})"
            )
        return given.name

    @property
    def parts(self) -> int:
        """How many scalars the accumulator holds."""
        return len(self.identity) if isinstance(self.identity, tuple) else 1
