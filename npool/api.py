"""The any-axes functions: check, plan, allocate, run."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npool import arrays
from npool.averages import ROUNDINGS, average
from npool.dtypes import (
    SUPPORTED,
    accumulator_dtype,
    check_dtype,
    is_float,
    is_half,
    is_integer,
    result_dtype,
)
from npool.geometry import Padding, Plan, Sizes, make_plan
from npool.layout import memory_order, readable
from npool.reducers import REDUCERS, Reducer, lp

__all__ = ["avg_pool", "lp_pool", "max_pool", "min_pool", "output_shape", "pool", "sum_pool"]

Array = NDArray[Any]


class _Types(NamedTuple):
    """What a reducer does to an element type."""

    reducer: Reducer
    accumulator: np.dtype[Any]
    result: np.dtype[Any]


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
    x : numpy.ndarray
        Any shape, strides and supported dtype; never written to.
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
        Shape ``output_shape(x.shape, …)``, in the memory order of `x`. Positions are flat
        within the pooled axes, row-major in the order of `axes`: the first of equal elements,
        the last of several NaN, -1 for a window wholly in the padding.

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
    x = arrays.checked_input(x)
    plan = make_plan(x.shape, kernel_size, stride, padding, dilation, ceil_mode, axes)
    reducer = _named(reduce)
    if return_indices is not False:
        arrays.check_flag("return_indices", return_indices)
        if return_indices and reducer.positions is None:
            raise ValueError(
                f"return_indices=True needs a reduction that picks an element, got "
                f"{reducer.name!r}: use 'max' or 'min'"
            )
    types = _types(reducer, x.dtype, dtype, rounding)
    include_pad, divisor = _divisor(types.reducer, count_include_pad, divisor_override)
    _check_empty_windows(plan, types, include_pad, divisor)
    index = _index_dtype(plan, index_dtype) if return_indices else None
    return _run(x, plan, types, include_pad, divisor, index, out)


def _run(
    x: Array,
    plan: Plan,
    types: _Types,
    include_pad: bool,
    divisor: int,
    index: np.dtype[Any] | None,
    out: Any,
) -> Any:
    from npool.cpu import engine  # numba, at the first call

    results = arrays.results(x, plan.out_shape, memory_order(x.shape, x.strides), types.result,
                             index, out)  # fmt: skip
    if results.targets[0].size:
        source = readable(x)
        order = memory_order(source.shape, source.strides)
        reducer, targets = types.reducer, results.targets
        if types.result.kind == "c" and source.dtype.kind != "c":
            targets[0].imag = 0
            targets = (targets[0].real, *targets[1:])
        engine.fold(
            source, targets, plan, order, reducer, types.accumulator, include_pad, divisor
        )
    return results.delivered()


def _named(reduce: str | Reducer) -> Reducer:
    if isinstance(reduce, Reducer):
        return reduce
    if not isinstance(reduce, str):
        raise TypeError(
            f"reduce must be a name or an npool.Reducer, got {reduce!r} of type "
            f"{type(reduce).__name__}"
        )
    found = REDUCERS.get(reduce)
    if found is None:
        raise ValueError(
            f"reduce={reduce!r} is not known: use one of {', '.join(REDUCERS)}, or a Reducer"
        )
    return found


def _types(
    reducer: Reducer, dtype: np.dtype[Any], wanted: DTypeLike | None, rounding: str
) -> _Types:
    averages = reducer is REDUCERS["avg"]
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding={rounding!r} is not known: use one of {', '.join(ROUNDINGS)}")
    if dtype.kind == "c" and not reducer.complex_parts:
        raise TypeError(
            f"{reducer.name!r} of {dtype} is not defined: complex arrays have sum and avg; pool "
            "x.real and x.imag, or numpy.abs(x)"
        )
    result = result_dtype(reducer.result, dtype)
    accumulator = accumulator_dtype(reducer.accumulator, dtype)
    if wanted is not None:
        if not averages and reducer.result != "sum":
            raise ValueError(
                f"dtype={wanted!r} is for sums and averages; {reducer.name!r} of {dtype} gives "
                f"{result}: convert the result with astype"
            )
        result = _wanted(wanted, dtype)
        accumulator = _wider(accumulator, result)
    if averages:
        reducer = average(dtype, result, rounding)
        if reducer is not REDUCERS["avg"]:
            accumulator = np.dtype(np.int64)
    if accumulator.kind == "c":
        accumulator = np.dtype(f"f{accumulator.itemsize // 2}")
    return _Types(reducer, accumulator, result)


def _wanted(wanted: DTypeLike, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The caller's ``dtype=``, if it can hold a sum of `dtype`."""
    result = np.dtype(wanted)
    check_dtype(result, "dtype=")
    if not result.isnative:
        raise TypeError(f"dtype={result} is not in native byte order: use {result.newbyteorder('=')}")
    if result.kind == "b":
        raise TypeError("dtype=bool cannot hold a sum or an average: use an integer or float type")
    rank = {"b": 0, "i": 0, "u": 0, "f": 1, "V": 1, "c": 2}
    if rank[result.kind] < rank[dtype.kind]:
        raise TypeError(
            f"dtype={result} cannot hold a sum or an average of {dtype}: use one of the same kind, "
            "or convert the result with astype"
        )
    return result


def _wider(accumulator: np.dtype[Any], result: np.dtype[Any]) -> np.dtype[Any]:
    """The accumulator for a result asked for by ``dtype=``."""
    if is_integer(result):
        return np.dtype(np.uint64 if result.kind == "u" else np.int64)
    if is_integer(accumulator):
        return np.dtype(np.float64)
    single = np.dtype(np.float32)
    needed = single if is_half(result) else result
    return np.result_type(accumulator, needed)


def _divisor(
    reducer: Reducer, count_include_pad: bool | None, divisor_override: int | None
) -> tuple[bool, int]:
    """``(include_pad, divisor)``, the divisor 0 where the taps are counted."""
    if reducer.finish is None and not (count_include_pad is None and divisor_override is None):
        raise ValueError(
            f"count_include_pad and divisor_override are for averages; {reducer.name!r} divides "
            "by nothing: leave them out"
        )
    if count_include_pad is None:
        include_pad = reducer.counts_padding
    else:
        include_pad = arrays.check_flag("count_include_pad", count_include_pad)
    if divisor_override is None:
        return include_pad, 0
    if isinstance(divisor_override, (bool, np.bool_)) or not hasattr(divisor_override, "__index__"):
        raise TypeError(f"divisor_override must be an integer or None, got {divisor_override!r}")
    divisor = divisor_override.__index__()
    if divisor == 0:
        raise ValueError("divisor_override=0 would divide by zero: use another integer, or None")
    if abs(divisor) > 2**62:
        raise ValueError(f"divisor_override={divisor} is past the largest allowed, 2**62")
    return include_pad, divisor


def _check_empty_windows(plan: Plan, types: _Types, include_pad: bool, divisor: int) -> None:
    if (
        types.reducer.counts_padding
        and is_integer(types.result)
        and not include_pad
        and not divisor
        and plan.has_empty
    ):
        raise ValueError(
            f"some window lies wholly in the padding, and its average is NaN, which {types.result} "
            "cannot hold: use less padding, count_include_pad=True, or a float dtype"
        )


def _index_dtype(plan: Plan, index_dtype: DTypeLike) -> np.dtype[Any]:
    index = np.dtype(index_dtype)
    if index not in (np.dtype(np.int64), np.dtype(np.int32)):
        raise TypeError(f"index_dtype must be numpy.int64 or numpy.int32, got {index}")
    positions = 1
    for window in plan.windows:
        positions *= window.size
    if positions - 1 > np.iinfo(index).max:
        raise ValueError(
            f"positions up to {positions - 1} do not fit index_dtype={index}: use numpy.int64"
        )
    return index


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
    result: Array = pool(
        x, kernel_size, stride, padding, dilation, ceil_mode, reduce=lp(norm_type), axes=axes,
        out=out,
    )  # fmt: skip
    return result
