"""The memory layouts that a pooling function meets: how the same numbers can lie in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def _in_order(x: Array, order: tuple[int, ...]) -> Array:
    """A dense copy whose axes lie in memory in the given order, slowest first."""
    dense = np.ascontiguousarray(x.transpose(order))
    return dense.transpose(np.argsort(order)) if x.ndim else dense.reshape(())


def c_order(x: Array) -> Array:
    """Row-major: the last axis is the fastest."""
    return np.array(x, order="C")


def fortran_order(x: Array) -> Array:
    """Column-major: the first axis is the fastest."""
    return np.array(x, order="F")


def transposed(x: Array) -> Array:
    """A dense view with the last two axes swapped in memory."""
    order = list(range(x.ndim))
    order[-2:] = order[-2:][::-1]
    return _in_order(x, tuple(order))


def channels_last(x: Array) -> Array:
    """A dense view in which the axis before the spatial ones (axis 1, else 0) is the fastest."""
    channel = 1 if x.ndim > 2 else 0
    order = [axis for axis in range(x.ndim) if axis != channel]
    return _in_order(x, (*order, channel)) if x.ndim else c_order(x)


def sliced(x: Array) -> Array:
    """Every second element of each axis of a larger array; what lies between is not zero."""
    base = np.full([2 * n + 1 for n in x.shape], _filler(x.dtype), x.dtype)
    view = base[tuple(slice(1, 1 + 2 * n, 2) for n in x.shape)]
    view[...] = x
    return view


def offset(x: Array) -> Array:
    """The inside of a larger array: the rows are whole, but not one after the other."""
    base = np.full([n + 2 for n in x.shape], _filler(x.dtype), x.dtype)
    view = base[tuple(slice(1, n + 1) for n in x.shape)]
    view[...] = x
    return view


def reversed_axes(x: Array) -> Array:
    """Negative strides on every axis."""
    backwards = tuple(slice(None, None, -1) for _ in x.shape)
    return np.array(x[backwards], order="C")[backwards]


def broadcast(x: Array) -> Array:
    """The first entry of the first axis, repeated with stride 0 (this one changes the values)."""
    return np.broadcast_to(np.array(x[:1], order="C"), x.shape) if x.ndim else c_order(x)


def read_only(x: Array) -> Array:
    """A copy that must not be written to."""
    copy = np.array(x, order="C")
    copy.flags.writeable = False
    return copy


def big_endian(x: Array) -> Array:
    """The bytes of each number the other way round (bfloat16 has no such form: a plain copy)."""
    return x.astype(x.dtype.newbyteorder(">")) if x.dtype.kind in "iufc" else c_order(x)


def unaligned(x: Array) -> Array:
    """Data that starts one byte after an aligned address."""
    memory = np.zeros(x.nbytes + 1, np.uint8)
    view = memory[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def _filler(dtype: np.dtype[Any]) -> Any:
    """A value that shows in a result if it is read by mistake."""
    if dtype.kind in "iu":
        return np.iinfo(dtype).max // 2
    return True if dtype.kind == "b" else 12345


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C": c_order,
    "F": fortran_order,
    "transposed": transposed,
    "channels_last": channels_last,
    "sliced": sliced,
    "offset": offset,
    "reversed": reversed_axes,
    "broadcast": broadcast,
    "read_only": read_only,
    "big_endian": big_endian,
    "unaligned": unaligned,
}
"""Each layout by name: a function from an array to an equal one that lies so in memory."""

DENSE = ("C", "F", "transposed", "channels_last")
"""Dense arrays in some axis order, whose order the result must keep."""

STRIDED = ("C", "F", "transposed", "channels_last", "sliced", "offset", "reversed", "broadcast")
"""Native, aligned, writeable or not: all that differs is the strides."""
