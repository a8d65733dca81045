"""Reducers as values: what a window is reduced to, apart from which window and in what order.

A :class:`Reducer` is a few scalar functions and an identity. Every engine compiles the same
functions. :data:`REDUCERS` is the table that the API, the command line, the documentation and
the tests read: a new reducer is one entry here and one row in the tests' table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from npool.dtypes import RULES, check_dtype, is_half, named_dtype
from npool.scalars import absolute, exp, isnan, log, maximum, minimum, power, select, sqrt
from npool.values import shown

__all__ = ["REDUCERS", "Reducer", "lp", "torch_lp"]

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
            if not _is_number(part) and not (isinstance(part, str) and part in _ENDS):
                raise TypeError(
                    f"identity of reducer {self.name!r} must be a number, 'lowest' or "
                    f"'highest' (or a tuple of these), got {shown(part)}"
                )
        if not isinstance(self.params, tuple) or not all(map(_is_number, self.params)):
            raise TypeError(
                f"params of reducer {self.name!r} must be a tuple of numbers, got "
                f"{shown(self.params)}"
            )
        if len(self.params) > MAX_PARAMS:
            raise ValueError(
                f"params of reducer {self.name!r} must be at most {MAX_PARAMS} numbers, got "
                f"{len(self.params)}"
            )
        object.__setattr__(self, "params", tuple(_norm(p) for p in self.params))
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


def _add(a: Any, b: Any) -> Any:
    return a + b


def _multiply(a: Any, b: Any) -> Any:
    return a * b


def _square(x: Any) -> Any:
    return x * x


def _or(a: Any, b: Any) -> Any:
    return a | b


def _and(a: Any, b: Any) -> Any:
    return a & b


def _nonzero(x: Any) -> Any:
    return x != 0


def _first_max(a: Any, b: Any) -> Any:
    # The larger value; the earlier position of equal ones; the later of two NaN (torch's
    # rule). Commutative, so the order of combining does not matter.
    v, p = a
    w, q = b
    take = (w > v) | ((w == v) & (q < p)) | (isnan(w) & ((v == v) | (q > p)))
    return select(take, w, v), select(take, q, p)


def _first_min(a: Any, b: Any) -> Any:
    v, p = a
    w, q = b
    take = (w < v) | ((w == v) & (q < p)) | (isnan(w) & ((v == v) | (q > p)))
    return select(take, w, v), select(take, q, p)


def _divide(a: Any, count: Any) -> Any:
    return a / count


def _root_mean(a: Any, count: Any) -> Any:
    return sqrt(a / count)


def _bounds(x: Any) -> Any:
    return x, x


def _widen(a: Any, b: Any) -> Any:
    return maximum(a[0], b[0]), minimum(a[1], b[1])


def _spread(a: Any, count: Any) -> Any:
    return select(count > 0, a[0] - a[1], 0)


def _moment(x: Any) -> Any:
    return 1, x, 0


def _merge_moments(a: Any, b: Any) -> Any:
    # Chan, Golub and LeVeque 1979, 'Updating formulae and a pairwise algorithm for computing
    # sample variances': never a difference of large squares.
    n = a[0] + b[0]
    delta = b[1] - a[1]
    weight = b[0] / maximum(n, 1)
    mean = select(b[0] > 0, select(a[0] > 0, a[1] + delta * weight, b[1]), a[1])
    both = (a[0] > 0) & (b[0] > 0)
    return n, mean, a[2] + b[2] + select(both, delta * delta * a[0] * weight, 0)


def _variance(a: Any, count: Any) -> Any:
    # The mean less itself is NaN where the window holds an infinity, as in numpy.var.
    return (a[2] + (a[1] - a[1])) / a[0]


def _deviation(a: Any, count: Any) -> Any:
    return sqrt((a[2] + (a[1] - a[1])) / a[0])


def _exponent(x: Any) -> Any:
    return x, 1


def _merge_exponents(a: Any, b: Any) -> Any:
    # The larger exponent is kept apart and only ratios of at most 1 are exponentiated.
    m, s = a
    n, t = b
    small = exp(-absolute(m - n))
    total = select(m > n, s + t * small, t + s * small)
    return maximum(m, n), select(m == n, s + t, total)


def _log_total(a: Any, count: Any) -> Any:
    return a[0] + log(a[1])


def _power_lift(x: Any, p: Any) -> Any:
    return power(absolute(x), p)


def _power_root(a: Any, count: Any, p: Any) -> Any:
    return power(a, 1 / p)


def _root(a: Any, count: Any) -> Any:
    return sqrt(a)


@lru_cache(maxsize=256)
def _lp(p: float) -> Reducer:
    summary = "(Σ|x|^p)^(1/p); by name p = 2"
    parts: dict[str, Any] = {"accumulator": "float", "result": "float", "summary": summary}
    if p == 1:
        return Reducer("lp", _add, 0, lift=absolute, **parts)
    if p == 2:
        return Reducer("lp", _add, 0, lift=_square, finish=_root, **parts)
    return Reducer("lp", _add, 0, lift=_power_lift, finish=_power_root, params=(p,), **parts)


def lp(norm_type: float) -> Reducer:
    """The reducer of :func:`npool.lp_pool`: ``(sum |x|**p) ** (1/p)``.

    Parameters
    ----------
    norm_type : float
        p, any real number above 0. 1 and 2 have kernels of their own.

    Raises
    ------
    ValueError, TypeError
        If `norm_type` is not a finite number above 0.

    Examples
    --------
    >>> from npool.reducers import lp
    >>> lp(2).name
    'lp'
    """
    p = _norm(norm_type)
    if not 0 < p < math.inf:
        hint = ": for p = inf use reduce='absmax'" if p == math.inf else ""
        raise ValueError(f"norm_type={shown(norm_type)} must be a finite number above 0{hint}")
    return _lp(p)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _norm(norm_type: float) -> float:
    if not _is_number(norm_type):
        raise TypeError(f"norm_type must be a number, got {shown(norm_type)}")
    try:
        return float(norm_type)
    except OverflowError:
        return math.inf


def _torch_lift(x: Any, p: Any, taps: Any) -> Any:
    return power(x, p)


def _torch_root(a: Any, count: Any, p: Any, taps: Any) -> Any:
    return power(a / count * taps, 1 / p)


def _torch_square_root(a: Any, count: Any, taps: Any) -> Any:
    return sqrt(a / count * taps)


def _torch_square(x: Any, taps: Any) -> Any:
    return x * x


def torch_lp(norm_type: float, taps: int) -> Reducer:
    """The reducer of torch's lp_pool: ``(mean(x**p) * taps) ** (1/p)``, to the letter.

    No absolute value, and a clipped window is scaled to the full one.

    Parameters
    ----------
    norm_type : float
        p, any number but 0.
    taps : int
        Taps of a full window.

    Raises
    ------
    ValueError, TypeError
        If `norm_type` is 0 or not a number.

    Examples
    --------
    >>> from npool.reducers import torch_lp
    >>> torch_lp(3, 4).params
    (3.0, 4.0)
    """
    p = _norm(norm_type)
    if p == 0:
        raise ValueError("norm_type=0 has no root 1/p: use any other number")
    return _torch_lp(p, float(taps))


_DIVIDES = {"counts_padding": True, "divides": True}


@lru_cache(maxsize=256)
def _torch_lp(p: float, taps: float) -> Reducer:
    parts: dict[str, Any] = {"accumulator": "float", "result": "float"} | _DIVIDES
    if p == 2:
        return Reducer(
            "torch_lp", _add, 0, _torch_square, _torch_square_root, params=(taps,), **parts
        )
    return Reducer("torch_lp", _add, 0, _torch_lift, _torch_root, params=(p, taps), **parts)


#: Every reducer that has a name. The order is that of the documentation.
REDUCERS: dict[str, Reducer] = {
    reducer.name: reducer
    for reducer in (
        Reducer(
            "max",
            maximum,
            "lowest",
            accumulator="same",
            result="same",
            idempotent=True,
            selects=True,
            positions=_first_max,
            summary="the largest element; NaN if there is one",
        ),
        Reducer(
            "min",
            minimum,
            "highest",
            accumulator="same",
            result="same",
            idempotent=True,
            selects=True,
            positions=_first_min,
            summary="the smallest element; NaN if there is one",
        ),
        Reducer(
            "avg",
            _add,
            0,
            finish=_divide,
            accumulator="float",
            result="float",
            counts_padding=True,
            divides=True,
            complex_parts=True,
            summary="the mean of the window; padding counts unless told otherwise",
        ),
        Reducer("sum", _add, 0, complex_parts=True, summary="the sum, in numpy.sum's type"),
        lp(2),
        Reducer(
            "any",
            _or,
            0,
            lift=_nonzero,
            accumulator="bool",
            result="bool",
            idempotent=True,
            summary="whether any element is nonzero (NaN is)",
        ),
        Reducer(
            "all",
            _and,
            1,
            lift=_nonzero,
            accumulator="bool",
            result="bool",
            idempotent=True,
            summary="whether every element is nonzero",
        ),
        Reducer("prod", _multiply, 1, summary="the product, in numpy.prod's type"),
        Reducer(
            "range",
            _widen,
            ("lowest", "highest"),
            lift=_bounds,
            finish=_spread,
            accumulator="same",
            result="unsigned",
            idempotent=True,
            summary="max - min; exact for integers, whose result is unsigned",
        ),
        Reducer(
            "absmax",
            maximum,
            0,
            lift=absolute,
            accumulator="unsigned",
            result="unsigned",
            idempotent=True,
            summary="the largest |x|; exact for integers, whose result is unsigned",
        ),
        Reducer(
            "rms",
            _add,
            0,
            lift=_square,
            finish=_root_mean,
            accumulator="wide",
            result="float",
            summary="the root of the mean square",
        ),
        Reducer(
            "var",
            _merge_moments,
            (0, 0, 0),
            lift=_moment,
            finish=_variance,
            accumulator="wide",
            result="float",
            summary="the variance, with divisor n",
        ),
        Reducer(
            "std",
            _merge_moments,
            (0, 0, 0),
            lift=_moment,
            finish=_deviation,
            accumulator="wide",
            result="float",
            summary="the standard deviation, divisor n",
        ),
        Reducer(
            "logsumexp",
            _merge_exponents,
            ("lowest", 0),
            lift=_exponent,
            finish=_log_total,
            accumulator="wide",
            result="float",
            summary="log Σ exp(x), which never overflows",
        ),
    )
}
