"""Memory order in, memory order out: how an array of any strides is seen without a copy."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.memory import empty

__all__ = ["empty_like_order", "in_place", "kept_order", "memory_order", "order_of", "readable"]


def readable(x: NDArray[Any]) -> NDArray[Any]:
    """`x` itself if a kernel can read it in place, else a native, aligned copy of it.

    Kernels address whole elements: big-endian and unaligned arrays are converted.
    """
    if in_place(x):
        return x
    return np.array(x, dtype=x.dtype.newbyteorder("="), order="K")


def in_place(x: NDArray[Any]) -> bool:
    """Whether a kernel can read `x` where it lies: native elements, each at a whole place."""
    dtype, flags = x.dtype, x.flags
    if not dtype.isnative or not flags.aligned:
        return False
    if flags.c_contiguous:
        return True
    return not any(
        stride % dtype.itemsize for n, stride in zip(x.shape, x.strides, strict=True) if n > 1
    )


def order_of(x: NDArray[Any]) -> tuple[int, ...]:
    """:func:`memory_order` of an array."""
    return kept_order(x.shape, x.strides)


def memory_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """The axes from the slowest in memory to the fastest; broadcast axes come first.

    Examples
    --------
    >>> memory_order((2, 3, 4), (4, 32, 8))
    (1, 2, 0)
    """
    # Broadcast axes (stride 0) are slowest. A stable sort keeps C order among equals.
    order = sorted(
        (axis for axis, n in enumerate(shape) if n != 1),
        key=lambda axis: (strides[axis] != 0, -abs(strides[axis])),
    )
    # The stride of an axis of one element says nothing: it stays behind its neighbour.
    for axis, n in enumerate(shape):
        if n == 1:
            order.insert(order.index(axis - 1) + 1 if axis else 0, axis)
    return tuple(order)


#: The same, of shapes and strides that are plain ints.
kept_order = lru_cache(maxsize=4096)(memory_order)


def empty_like_order(
    shape: tuple[int, ...], order: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """An uninitialised array of `shape` whose axes lie in memory in `order`."""
    if order == tuple(range(len(shape))):
        return empty(shape, dtype)
    back = [0] * len(order)
    for position, axis in enumerate(order):
        back[axis] = position
    return empty(tuple([shape[axis] for axis in order]), dtype).transpose(back)
