"""Max unpooling of any axes: elements back to the positions that they came from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.typing import NDArray

from npool import arrays
from npool.dispatch import adapter_of, device_engine, on_device
from npool.geometry import MAX_ELEMENTS, Sizes, check_lengths, each, frozen, pick_axes
from npool.layout import memory_order, readable
from npool.values import shown

__all__ = ["max_unpool", "place", "unpooled_shape"]

Array = NDArray[Any]


def unpooled_shape(
    shape: tuple[int, ...],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sizes | None = None,
    axes: Sizes | None = None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The pooled axes and the shape of what :func:`max_unpool` makes.

    Raises
    ------
    ValueError, TypeError
        For any value or type that is refused, in words.
    """
    return _unpooled_shape(
        shape, frozen(kernel_size, "kernel_size"),
        None if stride is None else frozen(stride, "stride"), frozen(padding, "padding"),
        None if output_size is None else frozen(output_size, "output_size"),
        None if axes is None else frozen(axes, "axes"),
    )  # fmt: skip


@lru_cache(maxsize=1024)
def _unpooled_shape(
    shape: tuple[int, ...], kernel: Any, stride: Any, padding: Any, output_size: Any, axes: Any
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    picked = pick_axes(shape, kernel, axes, "kernel_size", "max_unpool2d")
    check_lengths(shape, picked)
    count = len(picked)
    kernels = each(kernel, "kernel_size", count, 1)
    strides = kernels if stride is None else each(stride, "stride", count, 1)
    pads = each(padding, "padding", count, 0)
    result = list(shape)
    wanted: Sequence[int | None] = (None,) * count
    if output_size is not None:
        wanted = each(output_size, "output_size", count, 1)
    for axis, k, s, p, size in zip(picked, kernels, strides, pads, wanted, strict=True):
        plain = (shape[axis] - 1) * s + k - 2 * p
        if size is not None and not plain - s < size < plain + s:
            raise ValueError(
                f"output_size={shown(output_size)} cannot be what axis {axis} of the input of "
                f"shape {shape} was pooled from: give between {max(1, plain - s + 1)} and "
                f"{plain + s - 1}"
            )
        if size is None and plain < 1:
            raise ValueError(
                f"axis {axis} of the input of shape {shape}, of length {shape[axis]}, would be "
                f"{shown(plain)} long with kernel_size {k}, stride {s} and padding {p}: use less "
                "padding"
            )
        result[axis] = plain if size is None else size
    if prod(result) > MAX_ELEMENTS:
        raise ValueError(f"the result would have shape {tuple(result)}, more than 2**62 elements")
    return picked, tuple(result)


def max_unpool(
    x: Array,
    indices: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sizes | None = None,
    *,
    axes: Sizes | None = None,
    out: Array | None = None,
) -> Array:
    """Put each element where it came from in max pooling, and 0 everywhere else.

    Parameters
    ----------
    x : numpy.ndarray
        What was pooled: any shape, strides and supported dtype; never written to.
    indices : numpy.ndarray
        The position of each element, as :func:`npool.max_pool` gives them: of the shape of
        `x`, int64 or int32. Of equal positions in a plane the last one counts, in the row-major
        order of `axes`. An element of position -1, which a window without elements has, is
        left out.
    kernel_size : int or sequence of int
        Window of the pooling, in elements. A sequence of n entries is of the last n axes, or
        `axes`.
    stride : int or sequence of int, optional
        Step between windows, in elements. Default: `kernel_size`.
    padding : int or sequence of int
        Elements that were added on both sides.
    output_size : int or sequence of int, optional
        Lengths of the result, where pooling dropped a remainder: less than a stride from the
        default, ``(n - 1) * stride + kernel_size - 2 * padding``.
    axes : int or sequence of int, optional
        The axes that were pooled, in the order that they were named then.
    out : numpy.ndarray, optional
        Where to put the result; exact shape and dtype, any strides. It may overlap `x`.

    Returns
    -------
    numpy.ndarray
        The dtype of `x`, in its memory order.

    Raises
    ------
    ValueError
        For values and shapes; for a position outside the result, which the message names.
        `out` is then as it was.
    TypeError
        For types, such as positions that are not integers.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool2d.html

    Examples
    --------
    >>> import numpy as np, npool
    >>> pooled, places = npool.max_pool(np.array([3, 1, 4, 1, 5, 9]), (2,), return_indices=True)
    >>> npool.max_unpool(pooled, places, (2,))
    array([3, 0, 4, 0, 0, 9])
    """
    if type(x) is not ndarray and (adapter := adapter_of(x)) is not None:
        unpooled: Array = adapter.max_unpool(
            x, indices, kernel_size, stride, padding, output_size, axes=axes, out=out
        )
        return unpooled
    if type(x) is not ndarray and on_device(x):
        away: Array = device_engine().unpool(
            x, indices, kernel_size, stride, padding, output_size, axes, out
        )
        return away
    x = arrays.checked_input(x)
    arrays.check_indices(indices, x.shape, "x")
    picked, shape = unpooled_shape(x.shape, kernel_size, stride, padding, output_size, axes)
    return place(x, indices, picked, shape, -1, out)


def place(
    x: Array,
    indices: Array,
    picked: tuple[int, ...],
    shape: tuple[int, ...],
    least: int,
    out: Array | None,
) -> Array:
    """The elements of `x` where `indices` say within the axes `picked` of `shape`, and 0 elsewhere.

    Positions lie from `least`, which is 0 or, where elements may be left out, -1.

    Raises
    ------
    ValueError, TypeError
        For a position outside, and for what :func:`npool.arrays.results` refuses of `out`.
    """
    dtype = x.dtype.newbyteorder("=")
    results = arrays.results(x, shape, memory_order(x.shape, x.strides), dtype, None, out)
    target = results.targets[0]
    if target is out:
        # Before anything of the caller's is written. The kernel checks each position once more,
        # where it is used, since another thread might change it in between.
        _check_inside(indices, least, shape, picked)
    if target.size:
        if np.may_share_memory(indices, target):
            indices = indices.copy()
        if not _scatter()(readable(x), readable(indices), target, picked, least):
            _check_inside(indices, least, shape, picked)
            raise ValueError("indices changed while they were used: give positions that do not")
    delivered: Array = results.delivered()
    return delivered


_loaded: Any = None


def _scatter() -> Any:
    """The CPU engine's function, and with it Numba: imported at the first call."""
    global _loaded
    if _loaded is None:
        from npool.cpu.unpooling import scatter

        _loaded = scatter
    return _loaded


def _check_inside(
    indices: Array, least: int, shape: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    """Refuse positions that the axes of the result do not have."""
    lengths = [shape[axis] for axis in axes]
    size = prod(lengths)
    if not indices.size or (indices.min() >= least and indices.max() < size):
        return
    where = np.argwhere((indices < least) | (indices >= size))[0].tolist()
    raise ValueError(
        f"Found an invalid max index: {indices[tuple(where)]} (output volumes are of size "
        f"{'x'.join(map(str, lengths))}), in indices{where}: positions go from 0 to {size - 1}; "
        "give those that max_pool returned, and the output_size that was pooled"
    )
