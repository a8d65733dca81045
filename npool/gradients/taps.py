"""Maxima and their gradients by the numbers of taps: for adapters, which keep them to themselves.

A tap's number says which of its window's taps was picked, in row-major order, from the window's
first one on, whether that lies inside or in the padding. It takes one byte, and the gradient needs
no more. What a caller asks for are positions: `positions_of_taps` makes them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.geometry import Plan
from npool.gradients.positions import fractional_max_pool_backward
from npool.layout import empty_like_order, order_of

__all__ = ["has_taps", "pool_with_taps", "positions_of_taps", "taps_backward"]

Array = NDArray[Any]


def has_taps(plan: Plan, dtype: np.dtype[Any]) -> bool:
    """Whether `pool_with_taps` serves a contiguous array."""
    from npool.cpu.tapping import form_of

    return form_of(plan, tuple(range(len(plan.shape))), dtype) is not None


def pool_with_taps(x: Array, plan: Plan, lowest: bool = False) -> tuple[Array, Array] | None:
    """Maxima (`lowest`: minima), and the numbers of their taps.

    Parameters
    ----------
    x : numpy.ndarray
        Of the plan's shape.
    plan : Plan
        The windows, or bins.
    lowest : bool
        Whether the least of a window's elements is picked.

    Returns
    -------
    values, taps : numpy.ndarray
        Both in the memory order of `x`, and dense; `taps` are uint8. None where windows, types or
        strides are such that positions do as well.

    Examples
    --------
    >>> import numpy as np
    >>> from npool.geometry import make_plan
    >>> from npool.gradients.taps import pool_with_taps, positions_of_taps
    >>> x = np.random.default_rng(0).random((64, 8, 8))
    >>> plan = make_plan(x.shape, (2, 2))
    >>> made = pool_with_taps(x, plan)
    >>> made is None or bool((positions_of_taps(made[1], plan) < 64).all())
    True
    """
    from npool.cpu.tapping import fold_taps, form_of

    order = order_of(x)
    form = form_of(plan, order, x.dtype)
    if form is None or not _is_dense(x, order):
        return None
    values = empty_like_order(plan.out_shape, order, x.dtype)
    taps = empty_like_order(plan.out_shape, order, np.dtype(np.uint8))
    fold_taps(x, values, taps, form, lowest)
    return values, taps


def taps_backward(grad_output: Array, taps: Array, plan: Plan, order: tuple[int, ...]) -> Array:
    """Gradient with respect to what was pooled, as :func:`npool.max_pool_backward`.

    Parameters
    ----------
    grad_output : numpy.ndarray
        Gradient of the maxima, of any strides.
    taps : numpy.ndarray
        As `pool_with_taps` gave them for this plan.
    plan : Plan
        That of the call.
    order : tuple of int
        The axes of what was pooled from the slowest in memory to the fastest.

    Returns
    -------
    numpy.ndarray
        Of the plan's shape, in that order.

    Examples
    --------
    >>> import numpy as np
    >>> from npool.geometry import make_plan
    >>> from npool.gradients.taps import taps_backward
    >>> taps = np.array([1, 0], np.uint8)
    >>> taps_backward(np.array([5.0, 7.0]), taps, make_plan((4,), (2,)), (0,))
    array([0., 5., 7., 0.])
    """
    from npool.cpu.tapping import form_of, hand_taps

    result = empty_like_order(plan.shape, order, grad_output.dtype)
    form = form_of(plan, order, grad_output.dtype)
    if form is None:  # taps that were made elsewhere, or of a part of a batch
        places = positions_of_taps(taps, plan)
        fractional_max_pool_backward(grad_output, places, plan.shape, axes=plan.axes, out=result)
        return result
    hand_taps(_dense(grad_output, order), _dense(taps, order), result, form)
    return result


def positions_of_taps(taps: Array, plan: Plan) -> Array:
    """The flat positions, in the plan's axes, of elements given by the numbers of their taps.

    Parameters
    ----------
    taps : numpy.ndarray
        As `pool_with_taps` gave them for this plan.
    plan : Plan
        That of the call.

    Returns
    -------
    numpy.ndarray
        int64, in the memory order of `taps`.

    Examples
    --------
    >>> import numpy as np
    >>> from npool.geometry import make_plan
    >>> from npool.gradients.taps import positions_of_taps
    >>> positions_of_taps(np.array([0, 2, 1], np.uint8), make_plan((5,), (3,), 1))
    array([0, 3, 3])
    """
    positions = np.zeros_like(taps, np.int64)
    rest = taps.astype(np.int64)
    weight = 1
    for axis, window in reversed(list(zip(plan.axes, plan.windows, strict=True))):
        rest, tap = np.divmod(rest, window.kernel)
        starts = np.array([window.start(o) for o in range(window.out)], np.int64)
        along = [-1 if i == axis else 1 for i in range(taps.ndim)]
        positions += (starts.reshape(along) + tap * window.dilation) * weight
        weight *= window.size
    return positions


def _is_dense(x: Array, order: tuple[int, ...]) -> bool:
    """Whether the elements of `x`, its axes in this order, lie one after another."""
    return x.transpose(order).flags.c_contiguous


def _dense(x: Array, order: tuple[int, ...]) -> Array:
    if _is_dense(x, order) and x.flags.aligned and x.dtype.isnative:
        return x
    made = empty_like_order(x.shape, order, x.dtype.newbyteorder("="))
    made[...] = x
    return made
