"""Reducers as values: what a window is reduced to, apart from which window and in what order.

A :class:`Reducer` is a few scalar functions and an identity. Every engine compiles the same
functions. :data:`REDUCERS` is the table that the API, the command line, the documentation and
the tests read: a new reducer is one entry here and one row in the tests' table.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from npool.reducer import Reducer
from npool.scalars import absolute, divide, exp, isnan, log, maximum, minimum, power, select, sqrt
from npool.values import number, shown

__all__ = ["REDUCERS", "Reducer", "lp"]


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


def _later_max(a: Any, b: Any) -> Any:
    # `_first_max` where every position of `b` is after those of `a`.
    v, p = a
    w, q = b
    take = (w > v) | isnan(w)
    return select(take, w, v), select(take, q, p)


def _later_min(a: Any, b: Any) -> Any:
    v, p = a
    w, q = b
    take = (w < v) | isnan(w)
    return select(take, w, v), select(take, q, p)


def _first_min(a: Any, b: Any) -> Any:
    v, p = a
    w, q = b
    take = (w < v) | ((w == v) & (q < p)) | (isnan(w) & ((v == v) | (q > p)))
    return select(take, w, v), select(take, q, p)


def _divide(a: Any, count: Any) -> Any:
    return divide(a, count)


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

    Returns
    -------
    Reducer

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
    p = number(norm_type, "norm_type")
    if not 0 < p < math.inf:
        hint = ": for p = inf use reduce='absmax'" if p == math.inf else ""
        raise ValueError(f"norm_type={shown(norm_type)} must be a finite number above 0{hint}")
    return _lp(p)


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
            in_order=_later_max,
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
            in_order=_later_min,
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
