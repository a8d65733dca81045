"""The named reductions: thin faces of :func:`npool.pool`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray
from numpy.typing import DTypeLike, NDArray

from npool.api import pool
from npool.arrays import check_flag
from npool.dispatch import adapter_of
from npool.geometry import Padding, Sizes
from npool.reducers import lp

__all__ = ["avg_pool", "lp_pool", "max_pool", "min_pool", "sum_pool"]

Array = NDArray[Any]


def max_pool(
    x: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    axes: Sizes | None = None,
    return_indices: bool = False,
    index_dtype: DTypeLike = np.int64,
    out: Any = None,
) -> Any:
    """Largest element of each window; NaN where the window holds one.

    Parameters
    ----------
    x : numpy.ndarray
        Any shape and real dtype.
    kernel_size, stride, padding, dilation, ceil_mode, axes
        As for :func:`npool.pool`, in elements. Padding never wins: it counts as minus
        infinity, the type's minimum, or False.
    return_indices : bool
        Also return where each maximum lies.
    index_dtype : {numpy.int64, numpy.int32}
        Type of the positions.
    out : numpy.ndarray, or a pair of them with `return_indices`, optional
        Where to put the result.

    Returns
    -------
    numpy.ndarray, or a pair of them with `return_indices`
        Values in the dtype of `x`; positions flat within the pooled axes, the first of equal
        elements, the last of several NaN, -1 for a window wholly in the padding.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.pool`.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html

    Examples
    --------
    >>> import numpy as np, npool
    >>> x = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    >>> npool.max_pool(x, (2, 2), 1)
    array([[4, 5],
           [7, 8]])
    >>> npool.max_pool(np.array([1.0, np.nan, 3.0, 2.0]), (2,), 1, return_indices=True)
    (array([nan, nan,  3.]), array([1, 1, 2]))
    """
    return pool(
        x, kernel_size, stride, padding, dilation, ceil_mode, reduce="max", axes=axes,
        return_indices=return_indices, index_dtype=index_dtype, out=out,
    )  # fmt: skip


def min_pool(
    x: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    axes: Sizes | None = None,
    return_indices: bool = False,
    index_dtype: DTypeLike = np.int64,
    out: Any = None,
) -> Any:
    """Smallest element of each window; NaN where the window holds one.

    Parameters
    ----------
    x, kernel_size, stride, padding, dilation, ceil_mode, axes, return_indices, index_dtype, out
        As for :func:`npool.max_pool`. Padding counts as plus infinity, the type's maximum, or
        True.

    Returns
    -------
    numpy.ndarray, or a pair of them with `return_indices`
        As for :func:`npool.max_pool`.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.pool`.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html, mirrored.

    Examples
    --------
    >>> import numpy as np, npool
    >>> npool.min_pool(np.array([3, 1, 2, 5]), (2,))
    array([1, 2])
    """
    return pool(
        x, kernel_size, stride, padding, dilation, ceil_mode, reduce="min", axes=axes,
        return_indices=return_indices, index_dtype=index_dtype, out=out,
    )  # fmt: skip


def avg_pool(
    x: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    axes: Sizes | None = None,
    dtype: DTypeLike | None = None,
    rounding: str = "half_even",
    out: Array | None = None,
) -> Array:
    """Mean of each window.

    Parameters
    ----------
    x : numpy.ndarray
        Any shape and dtype, complex included.
    kernel_size, stride, padding, dilation, ceil_mode, axes
        As for :func:`npool.pool`, in elements. Padding counts as 0.
    count_include_pad : bool
        Whether padding counts in the divisor. Where ceil mode lets a window run past the
        trailing padding, the taps beyond are not counted either way.
    divisor_override : int, optional
        Divides in place of the count; not 0.
    dtype : dtype, optional
        Of the result. Default: float64 for integers and bool (as numpy.mean), else that of `x`.
    rounding : {"half_even", "half_up", "floor", "trunc"}
        How an integer `dtype` is rounded to, exactly from the integer sum. A quotient past
        the ends of `dtype` saturates.
    out : numpy.ndarray, optional
        Where to put the result.

    Returns
    -------
    numpy.ndarray
        Windows wholly in the padding give 0, or NaN if padding does not count. float16 and
        bfloat16 are summed in float32.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.pool`; also ValueError where a NaN would have to be an integer.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool2d.html

    Examples
    --------
    >>> import numpy as np, npool
    >>> x = np.arange(1.0, 7.0)
    >>> npool.avg_pool(x, (2,), 1, 1, 2)
    array([1. , 2. , 3. , 4. , 5. , 2.5])
    >>> npool.avg_pool(x, (2,), 1, 1, 2, count_include_pad=False)
    array([2., 2., 3., 4., 5., 5.])
    >>> npool.avg_pool(np.array([1, 2, 3, 4], np.uint8), (2,), dtype=np.uint8)
    array([2, 4], dtype=uint8)
    """
    check_flag("count_include_pad", count_include_pad)
    result: Array = pool(
        x, kernel_size, stride, padding, dilation, ceil_mode, reduce="avg", axes=axes,
        dtype=dtype, count_include_pad=count_include_pad, divisor_override=divisor_override,
        rounding=rounding, out=out,
    )  # fmt: skip
    return result


def sum_pool(
    x: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    axes: Sizes | None = None,
    dtype: DTypeLike | None = None,
    out: Array | None = None,
) -> Array:
    """Sum of each window.

    Parameters
    ----------
    x : numpy.ndarray
        Any shape and dtype, complex included.
    kernel_size, stride, padding, dilation, ceil_mode, axes
        As for :func:`npool.pool`, in elements. Padding counts as 0.
    dtype : dtype, optional
        Of the result. Default: that of numpy.sum (64 bits for integers and bool).
    out : numpy.ndarray, optional
        Where to put the result.

    Returns
    -------
    numpy.ndarray
        float16 and bfloat16 are summed in float32 and rounded once.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.pool`.

    References
    ----------
    .. [1] https://numpy.org/doc/stable/reference/generated/numpy.sum.html (result types)

    Examples
    --------
    >>> import numpy as np, npool
    >>> npool.sum_pool(np.array([100, 100, 100, 100], np.int8), (2,))
    array([200, 200])
    """
    result: Array = pool(
        x, kernel_size, stride, padding, dilation, ceil_mode, reduce="sum", axes=axes,
        dtype=dtype, out=out,
    )  # fmt: skip
    return result


def lp_pool(
    x: Array,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    axes: Sizes | None = None,
    out: Array | None = None,
) -> Array:
    """The p-norm of each window, ``(sum |x|**p) ** (1/p)``.

    Parameters
    ----------
    x : numpy.ndarray
        Any shape and real dtype.
    norm_type : float
        p, any finite number above 0.
    kernel_size, stride, padding, dilation, ceil_mode, axes
        As for :func:`npool.pool`, in elements. Padding counts as 0.
    out : numpy.ndarray, optional
        Where to put the result.

    Returns
    -------
    numpy.ndarray
        float64 for integers and bool, else the dtype of `x`.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.pool`; also for a `norm_type` that is not a finite number above 0.

    Notes
    -----
    ``npool.functional.lp_pool2d`` and its kin follow torch instead: no absolute value, and
    clipped windows scaled to the full one.

    References
    ----------
    .. [1] https://onnx.ai/onnx/operators/onnx__LpPool.html

    Examples
    --------
    >>> import numpy as np, npool
    >>> npool.lp_pool(np.array([3.0, -4.0, 6.0, 8.0]), 2, (2,))
    array([ 5., 10.])
    """
    result: Array
    if type(x) is not ndarray and (adapter := adapter_of(x)) is not None:
        result = adapter.lp_pool(
            x, norm_type, kernel_size, stride, padding, dilation, ceil_mode, axes=axes, out=out
        )
        return result
    result = pool(
        x, kernel_size, stride, padding, dilation, ceil_mode, reduce=lp(norm_type), axes=axes,
        out=out,
    )  # fmt: skip
    return result
