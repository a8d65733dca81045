"""`npool.pool`, which all other any-axes functions are faces of, and `npool.output_shape`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray
from numpy.typing import DTypeLike, NDArray

from npool import arrays
from npool.dispatch import adapter_of, device_engine, on_device
from npool.geometry import Padding, Sizes, make_plan
from npool.operation import operation
from npool.reducers import Reducer

__all__ = ["output_shape", "pool"]

Array = NDArray[Any]


def pool(
    x: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    reduce: str | Reducer = "max",
    axes: Sizes | None = None,
    dtype: DTypeLike | None = None,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    rounding: str = "half_even",
    return_indices: bool = False,
    index_dtype: DTypeLike = np.int64,
    out: Any = None,
) -> Any:
    """Pool `x` by any reducer: the function that the others are thin faces of.

    Parameters
    ----------
    x : numpy.ndarray, or an array on a CUDA device
        Any shape, strides and supported dtype; never written to. What lies on a device (of
        Numba, CuPy, torch, or by DLPack) is pooled there, on the stream that is current for it.
    kernel_size : int or sequence of int
        Window, in elements. A sequence of n entries pools the last n axes, or `axes`.
    stride : int or sequence of int, optional
        Step between windows, in elements. Default: `kernel_size`.
    padding : int, sequence or {"valid", "same", "same_lower"}
        Elements added before and after: an integer for all, one an axis, or one
        ``(before, after)`` pair an axis. ``"same"`` is ONNX's SAME_UPPER.
    dilation : int or sequence of int
        Distance between the taps of a window, in elements.
    ceil_mode : bool
        Round the output size up: a last window that starts inside the input or the leading
        padding is kept though it runs past the end.
    reduce : str or Reducer
        A name in ``npool.REDUCERS``, or a reducer of your own.
    axes : int or sequence of int, optional
        The axes to pool; negative ones count from the end. An int `kernel_size` serves all.
    dtype : dtype, optional
        Of the result, for sums and averages.
    count_include_pad : bool, optional
        Whether padding counts in the divisor. Default: the reducer's own, True for "avg".
    divisor_override : int, optional
        Divides in place of the count of taps; not 0.
    rounding : {"half_even", "half_up", "floor", "trunc"}
        For averages with an integer `dtype`.
    return_indices : bool
        Also return the position of each maximum or minimum.
    index_dtype : {numpy.int64, numpy.int32}
        Type of the positions.
    out : numpy.ndarray, or a pair of them with `return_indices`, optional
        Where to put the result; exact shape and dtype, any strides. It may overlap `x`.

    Returns
    -------
    numpy.ndarray, or a pair of them with `return_indices`
        Of the kind of `x`. Shape ``output_shape(x.shape, …)``, in the memory order of `x`.
        Positions are flat within the pooled axes, row-major in the order of `axes`: the first of
        equal elements, the last of several NaN, -1 for a window wholly in the padding.

    Raises
    ------
    ValueError
        For values and shapes: the message says which bound was broken and what to do.
    TypeError
        For types, such as a dtype that is not supported.

    Notes
    -----
    Output length per axis (PyTorch's and ONNX's formula [1]_):
    ``floor((n + before + after - (dilation * (kernel - 1) + 1)) / stride) + 1``.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html

    Examples
    --------
    >>> import numpy as np, npool
    >>> x = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    >>> npool.pool(x, (2, 2), 1, reduce="range")
    array([[4, 4],
           [4, 4]], dtype=uint64)
    """
    if type(x) is not ndarray and (adapter := adapter_of(x)) is not None:
        return adapter.pool(
            x, kernel_size, stride, padding, dilation, ceil_mode, reduce=reduce, axes=axes,
            dtype=dtype, count_include_pad=count_include_pad, divisor_override=divisor_override,
            rounding=rounding, return_indices=return_indices, index_dtype=index_dtype, out=out,
        )  # fmt: skip
    if type(x) is not ndarray and on_device(x):
        return device_engine().pool(
            x, out, kernel_size, stride, padding, dilation, ceil_mode, axes, reduce, dtype,
            count_include_pad, divisor_override, rounding, return_indices, index_dtype,
        )  # fmt: skip
    return operation(
        arrays.checked_input(x), kernel_size, stride, padding, dilation, ceil_mode, axes, reduce,
        dtype, count_include_pad, divisor_override, rounding, return_indices, index_dtype,
    ).apply(x, out)  # fmt: skip


def output_shape(
    shape: tuple[int, ...],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    axes: Sizes | None = None,
) -> tuple[int, ...]:
    """Shape of what a pooling call would return, without the call.

    Parameters
    ----------
    shape : sequence of int
        Of the input.
    kernel_size, stride, padding, dilation, ceil_mode, axes
        As for :func:`npool.pool`, in elements.

    Returns
    -------
    tuple of int

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.pool` would.

    Examples
    --------
    >>> import npool
    >>> npool.output_shape((8, 64, 112, 112), (3, 3), 2, 1)
    (8, 64, 56, 56)
    """
    return make_plan(
        arrays.checked_shape(shape), kernel_size, stride, padding, dilation, ceil_mode, axes
    ).out_shape
