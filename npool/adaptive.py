"""Adaptive pooling of any axes: a result of the given size, whatever that of the input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray
from numpy.typing import DTypeLike, NDArray

from npool import arrays
from npool.bins import Targets
from npool.dispatch import adapter_of, device_engine, on_device
from npool.geometry import Sizes
from npool.operation import bins_operation
from npool.reducers import Reducer

__all__ = ["adaptive_avg_pool", "adaptive_max_pool", "adaptive_pool"]

Array = NDArray[Any]


def adaptive_pool(
    x: Array,
    output_size: Targets,
    *,
    reduce: str | Reducer = "max",
    axes: Sizes | None = None,
    dtype: DTypeLike | None = None,
    rounding: str = "half_even",
    return_indices: bool = False,
    index_dtype: DTypeLike = np.int64,
    out: Any = None,
) -> Any:
    """Pool `x` to a given size by any reducer: the function that its kin are thin faces of.

    An axis of n elements is cut into `output_size` bins, as even as they come: bin ``i`` holds
    the elements from ``floor(i * n / output_size)`` up to, not including,
    ``ceil((i + 1) * n / output_size)``. ``output_size=1`` pools an axis whole.

    Parameters
    ----------
    x : numpy.ndarray
        Any shape, strides and supported dtype; never written to.
    output_size : int or sequence of int or None
        Length of the result, in elements, 0 or more; it may be more than that of the input.
        None keeps an axis as long as it is. A sequence of n entries pools the last n axes, or
        `axes`.
    reduce : str or Reducer
        A name in ``npool.REDUCERS``, or a reducer of your own.
    axes : int or sequence of int, optional
        The axes to pool; negative ones count from the end. An int `output_size` serves all.
    dtype : dtype, optional
        Of the result, for sums and averages.
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
        `x`'s shape with `output_size` for the lengths of the pooled axes, in the memory order
        of `x`. Types, NaN and positions are those of :func:`npool.pool`.

    Raises
    ------
    ValueError
        For values and shapes: the message says which bound was broken and what to do.
    TypeError
        For types, such as a dtype that is not supported.

    Notes
    -----
    The bins are PyTorch's [1]_.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool2d.html

    Examples
    --------
    >>> import numpy as np, npool
    >>> npool.adaptive_pool(np.arange(7), (3,), reduce="sum")
    array([ 3,  9, 15])
    """
    if type(x) is not ndarray and (adapter := adapter_of(x)) is not None:
        return adapter.adaptive_pool(
            x, output_size, reduce=reduce, axes=axes, dtype=dtype, rounding=rounding,
            return_indices=return_indices, index_dtype=index_dtype, out=out,
        )  # fmt: skip
    if type(x) is not ndarray and on_device(x):
        return device_engine().adaptive_pool(
            x, out, output_size, axes, reduce, dtype, rounding, return_indices, index_dtype
        )
    return bins_operation(
        arrays.checked_input(x), output_size, axes, reduce, dtype, rounding, return_indices,
        index_dtype,
    ).apply(x, out)  # fmt: skip


def adaptive_max_pool(
    x: Array,
    output_size: Targets,
    *,
    axes: Sizes | None = None,
    return_indices: bool = False,
    index_dtype: DTypeLike = np.int64,
    out: Any = None,
) -> Any:
    """Largest element of each of `output_size` bins, NaN if there is one.

    Parameters
    ----------
    x, output_size, axes, return_indices, index_dtype, out
        As for :func:`npool.adaptive_pool`.

    Returns
    -------
    numpy.ndarray, or a pair of them with `return_indices`
        The dtype of `x`, and positions as :func:`npool.pool` gives them.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.adaptive_pool` does.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool2d.html

    Examples
    --------
    >>> import numpy as np, npool
    >>> npool.adaptive_max_pool(np.array([3, 1, 4, 1, 5]), (2,), return_indices=True)
    (array([4, 5]), array([2, 4]))
    """
    return adaptive_pool(
        x, output_size, axes=axes, return_indices=return_indices, index_dtype=index_dtype, out=out
    )


def adaptive_avg_pool(
    x: Array,
    output_size: Targets,
    *,
    axes: Sizes | None = None,
    dtype: DTypeLike | None = None,
    rounding: str = "half_even",
    out: Array | None = None,
) -> Array:
    """Mean of each of `output_size` bins.

    Parameters
    ----------
    x, output_size, axes, dtype, rounding, out
        As for :func:`npool.adaptive_pool`.

    Returns
    -------
    numpy.ndarray
        float64 for integers and bool unless `dtype` says otherwise, as ``numpy.mean`` has it;
        else the dtype of `x`. Rounded as :func:`npool.avg_pool` rounds.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.adaptive_pool` does.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool2d.html

    Examples
    --------
    A global average is one of size 1:

    >>> import numpy as np, npool
    >>> npool.adaptive_avg_pool(np.arange(12.0).reshape(2, 2, 3), 1, axes=(1, 2)).ravel()
    array([2.5, 8.5])
    """
    result: Array = adaptive_pool(
        x, output_size, reduce="avg", axes=axes, dtype=dtype, rounding=rounding, out=out
    )
    return result
