"""Gradients of averages, sums and norms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool import arrays
from npool.bins import Targets, make_bins_plan
from npool.dispatch import device_engine, on_device
from npool.dtypes import is_half
from npool.geometry import Padding, Plan, Sizes, make_plan
from npool.gradients.checks import checked_gradient
from npool.gradients.transposed import spread
from npool.layout import order_of
from npool.operation import checked_divisor
from npool.reducers import lp

__all__ = ["adaptive_avg_pool_backward", "avg_pool_backward", "lp_pool_backward",
           "sum_pool_backward"]  # fmt: skip

Array = NDArray[Any]


def avg_pool_backward(
    grad_output: Array,
    input_shape: tuple[int, ...],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    axes: Sizes | None = None,
    out: Any = None,
) -> Any:
    """Gradient of :func:`npool.avg_pool` with respect to what was pooled.

    Parameters
    ----------
    grad_output : numpy.ndarray
        Gradient of the averages: floating or complex, of their shape, any strides.
    input_shape : sequence of int
        Shape of what was pooled.
    kernel_size, stride, padding, dilation, ceil_mode, axes
        As they were given to :func:`npool.avg_pool`, in elements.
    count_include_pad, divisor_override
        As they were given to :func:`npool.avg_pool`.
    out : numpy.ndarray, optional
        Where to put the gradient; exact shape and dtype, any strides. It may overlap
        `grad_output`.

    Returns
    -------
    numpy.ndarray
        Of shape `input_shape` and the dtype of `grad_output`, in its memory order. float16 and
        bfloat16 are summed in float32. The same bits at any number of threads.

    Raises
    ------
    ValueError
        For values and shapes, before anything is written.
    TypeError
        For types, such as a gradient of integers.

    Notes
    -----
    Each element gets the gradients of the windows that it lies in, each over the window's
    divisor [1]_; nothing is subtracted, so a NaN stays in its window.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool2d.html

    Examples
    --------
    >>> import numpy as np, npool
    >>> npool.avg_pool_backward(np.array([2.0, 4.0]), (5,), (3,), 2)
    array([0.66666667, 0.66666667, 2.        , 1.33333333, 1.33333333])
    """
    plan = make_plan(
        arrays.checked_shape(input_shape, "input_shape"), kernel_size, stride, padding, dilation,
        ceil_mode, axes,
    )  # fmt: skip
    include_pad, divisor = checked_divisor(count_include_pad, divisor_override)
    if type(grad_output) is not np.ndarray and on_device(grad_output):
        return device_engine().gathered(
            "average", grad_output, plan, out, include_pad=include_pad, divisor=divisor
        )
    gradient = checked_gradient(grad_output, plan.out_shape, "fc")
    return spread(gradient, plan, include_pad, divisor, out)


def sum_pool_backward(
    grad_output: Array,
    input_shape: tuple[int, ...],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    axes: Sizes | None = None,
    out: Any = None,
) -> Any:
    """Gradient of :func:`npool.sum_pool` with respect to what was pooled.

    Parameters
    ----------
    grad_output : numpy.ndarray
        Gradient of the sums: floating, complex or integer, of their shape, any strides.
    input_shape : sequence of int
        Shape of what was pooled.
    kernel_size, stride, padding, dilation, ceil_mode, axes
        As they were given to :func:`npool.sum_pool`, in elements.
    out : numpy.ndarray, optional
        Where to put the gradient; exact shape and dtype, any strides.

    Returns
    -------
    numpy.ndarray
        As for :func:`npool.avg_pool_backward`; integers keep their type, and wrap.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.avg_pool_backward`.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool2d.html, with divisor 1.

    Examples
    --------
    >>> import numpy as np, npool
    >>> npool.sum_pool_backward(np.array([2, 4]), (5,), (3,), 2)
    array([2, 2, 6, 4, 4])
    """
    plan = make_plan(
        arrays.checked_shape(input_shape, "input_shape"), kernel_size, stride, padding, dilation,
        ceil_mode, axes,
    )  # fmt: skip
    if type(grad_output) is not np.ndarray and on_device(grad_output):
        return device_engine().gathered("sum", grad_output, plan, out)
    gradient = checked_gradient(grad_output, plan.out_shape, "fiuc")
    return spread(gradient, plan, None, 0, out)


def adaptive_avg_pool_backward(
    grad_output: Array,
    input_shape: tuple[int, ...],
    output_size: Targets,
    *,
    axes: Sizes | None = None,
    out: Any = None,
) -> Any:
    """Gradient of :func:`npool.adaptive_avg_pool` with respect to what was pooled.

    Parameters
    ----------
    grad_output : numpy.ndarray
        Gradient of the averages: floating or complex, of their shape, any strides.
    input_shape : sequence of int
        Shape of what was pooled.
    output_size, axes
        As they were given to :func:`npool.adaptive_avg_pool`.
    out : numpy.ndarray, optional
        Where to put the gradient; exact shape and dtype, any strides.

    Returns
    -------
    numpy.ndarray
        As for :func:`npool.avg_pool_backward`.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.avg_pool_backward`.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool2d.html

    Examples
    --------
    >>> import numpy as np, npool
    >>> npool.adaptive_avg_pool_backward(np.array([2.0, 4.0]), (3,), (2,))
    array([1., 3., 2.])
    """
    plan = make_bins_plan(arrays.checked_shape(input_shape, "input_shape"), output_size, axes)
    if type(grad_output) is not np.ndarray and on_device(grad_output):
        return device_engine().gathered("average", grad_output, plan, out, include_pad=False)
    gradient = checked_gradient(grad_output, plan.out_shape, "fc")
    return spread(gradient, plan, False, 0, out)


def lp_pool_backward(
    grad_output: Array,
    x: Array,
    output: Array,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    axes: Sizes | None = None,
    out: Any = None,
) -> Any:
    """Gradient of :func:`npool.lp_pool` with respect to what was pooled.

    Parameters
    ----------
    grad_output : numpy.ndarray
        Gradient of the norms: floating, of their shape, any strides.
    x, output : numpy.ndarray
        What was pooled, and the norms that came of it, in the dtype of `grad_output`.
    norm_type : float
        p, as it was given to :func:`npool.lp_pool`.
    kernel_size, stride, padding, dilation, ceil_mode, axes
        As they were given to :func:`npool.lp_pool`, in elements.
    out : numpy.ndarray, optional
        Where to put the gradient; exact shape and dtype, any strides. It may overlap the others.

    Returns
    -------
    numpy.ndarray
        Of the shape of `x` and the dtype of `grad_output`, in its memory order.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.avg_pool_backward`, and for arrays of another shape or dtype.

    Notes
    -----
    ``sign(x) |x|**(p - 1)`` times the sum of ``grad_output * output**(1 - p)`` over the windows
    that an element lies in: the derivative of ``(sum |x|**p)**(1/p)`` [1]_. Where that has none,
    it is 0: for a window of zeros, and for a zero element where p < 1. Powers are taken in
    float64 but for p = 1 and 2.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.LPPool2d.html

    Examples
    --------
    >>> import numpy as np, npool
    >>> x = np.array([3.0, -4.0, 0.0, 0.0])
    >>> norms = npool.lp_pool(x, 2, (2,))
    >>> npool.lp_pool_backward(np.ones(2), x, norms, 2, (2,))
    array([ 0.6, -0.8,  0. ,  0. ])
    """
    away = type(x) is not np.ndarray and on_device(x)
    x = x if away else checked_gradient(x, None, "f", "x")
    plan = make_plan(tuple(x.shape), kernel_size, stride, padding, dilation, ceil_mode, axes)
    lp(norm_type)  # which refuses it, in words
    if away:
        return device_engine().normed(grad_output, x, output, float(norm_type), plan, out)
    gradient = checked_gradient(grad_output, plan.out_shape, "f")
    norms = checked_gradient(output, plan.out_shape, "f", "output")
    dtype = gradient.dtype.newbyteorder("=")
    for name, array in (("x", x), ("output", norms)):
        if array.dtype.newbyteorder("=") != dtype:
            raise TypeError(
                f"{name} has dtype {array.dtype}, but grad_output has {dtype}: convert one with "
                "astype"
            )
    return _lp(gradient, x, norms, float(norm_type), plan, out)


def _lp(gradient: Array, x: Array, norms: Array, p: float, plan: Plan, out: Any) -> Any:
    dtype = gradient.dtype.newbyteorder("=")
    order = order_of(gradient)
    results = arrays.results(gradient, plan.shape, order, dtype, None, out)
    target = results.targets[0]
    if target.size:
        wide: np.dtype[Any] = np.dtype(np.float64)
        if p in (1, 2):
            wide = np.dtype(np.float32) if is_half(dtype) else dtype
        with np.errstate(all="ignore"):
            shares = gradient.astype(wide, order="K")
            lengths = norms.astype(wide, copy=False)
            if p != 1:
                shares *= 1 / lengths if p == 2 else lengths ** (1 - p)
                shares[lengths == 0] = 0
            # What is added up is added up where it will lie, unless it is narrower there.
            place = target if wide == dtype and not np.may_share_memory(x, target) else None
            sums = spread(shares, plan, None, 0, place)
            values = x.astype(wide, copy=False)
            if p == 2:
                sums *= values
            elif p == 1:
                sums *= np.sign(values)
            else:
                sums *= np.sign(values) * np.abs(values) ** (p - 1)
                sums[values == 0] = 0
            if place is None:
                target[...] = sums
    return results.delivered()
