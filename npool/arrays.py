"""What comes in and goes out of a call: checks in words, and where results are put."""

from __future__ import annotations

import os
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npool.dispatch import device_engine, on_device
from npool.dtypes import check_dtype
from npool.layout import empty_like_order
from npool.values import integer, sequence, shown

__all__ = [
    "Results", "check_flag", "check_indices", "checked_input", "checked_shape", "described",
    "results",
]  # fmt: skip

Array = NDArray[Any]
_INDEX_DTYPES = (np.dtype(np.int64), np.dtype(np.int32))


def check_flag(name: str, value: Any) -> bool:
    """`value` as a bool; anything but a bool is a TypeError, not a silent yes."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(
            f"{name} must be True or False, got {shown(value)} of type {type(value).__name__}"
        )
    return bool(value)


def checked_input(x: Any, name: str = "x") -> Array:
    """`x` if it is a plain array of a supported dtype, else a TypeError; `name` for messages."""
    kind = type(x)
    if kind is not np.ndarray and kind is not np.memmap:
        if isinstance(x, np.ndarray):
            raise TypeError(
                f"{name} is a {kind.__module__}.{kind.__qualname__}, whose meaning pooling would "
                f"lose (a mask, units, matrix rules): pass a plain array, such as "
                f"numpy.asarray({name}) or {name}.filled(value)"
            )
        hint = f"numpy.asarray({name})"
        if kind.__module__.partition(".")[0] == "torch":
            hint = f"{name}.numpy()"
        raise TypeError(
            f"{name} must be a numpy.ndarray, got {kind.__module__}.{kind.__qualname__}: pass "
            f"{hint}"
        )
    check_dtype(x.dtype, name)
    array: Array = x
    return array


def described(x: Any) -> Any:
    """What has the shape, and NumPy's dtype, of an array of NumPy's or on a CUDA device.

    Raises
    ------
    TypeError
        For anything else, and for a dtype that is not supported.
    """
    if type(x) is not np.ndarray and on_device(x):
        return device_engine().described(x)
    return checked_input(x)


def checked_shape(shape: Any, name: str = "shape") -> tuple[int, ...]:
    """`shape` as non-negative Python integers; `name` for messages."""
    if type(shape) is tuple and len(shape) < 5:
        for n in shape:
            if type(n) is not int or not 0 <= n < 1 << 15:
                break
        else:  # the common case: at most 2**60 elements
            return shape
    sizes = tuple(integer(n, name) for n in sequence(shape, name))
    if any(n < 0 for n in sizes):
        raise ValueError(f"{name}={shown(sizes)} has a negative length")
    if prod(sizes) > 2**62:
        raise ValueError(f"{name}={shown(sizes)} has more than 2**62 elements")
    return sizes


def check_indices(indices: Any, shape: tuple[int, ...], of: str) -> None:
    """Refuse positions of another type, or of another shape than `shape`, that of `of`."""
    if not isinstance(indices, np.ndarray):
        raise TypeError(f"indices must be a numpy.ndarray, got {type(indices).__name__}")
    if indices.dtype.newbyteorder("=") not in _INDEX_DTYPES:
        raise TypeError(
            f"indices must be of type int64 or int32, got {indices.dtype}: give the positions that "
            "npool.max_pool returns"
        )
    if indices.shape != shape:
        raise ValueError(
            f"indices must have the shape of {of}, {shape}, got {indices.shape}: give one position "
            "for each element"
        )


class Results(NamedTuple):
    """Arrays to compute into, and those of the caller to copy them to (None: the same)."""

    targets: tuple[Array, ...]
    wanted: tuple[Array | None, ...]

    def delivered(self) -> Any:
        """What the caller gets: one array, or a tuple."""
        for target, wanted in zip(self.targets, self.wanted, strict=True):
            if wanted is not None and wanted is not target:
                np.copyto(wanted, target)
        got = tuple(
            target if wanted is None else wanted
            for target, wanted in zip(self.targets, self.wanted, strict=True)
        )
        return got[0] if len(got) == 1 else got


def results(
    x: Array,
    shape: tuple[int, ...],
    order: tuple[int, ...],
    dtype: np.dtype[Any],
    index: np.dtype[Any] | None,
    out: Any,
) -> Results:
    """Check `out`, or allocate the result (and positions) in the memory order of `x`."""
    dtypes = (dtype,) if index is None else (dtype, index)
    if out is None:
        _check_memory(shape, sum(d.itemsize for d in dtypes))
        fresh = tuple([empty_like_order(shape, order, d) for d in dtypes])
        return Results(fresh, (None,) * len(fresh))
    given = out if index is not None and isinstance(out, (tuple, list)) else (out,)
    if len(given) > len(dtypes):
        raise ValueError(f"out must hold {len(dtypes)} arrays (values, indices), got {len(given)}")
    wanted: list[Array | None] = [None for _ in dtypes]
    for i, array in enumerate(given):
        if array is not None:
            wanted[i] = _checked_out(array, shape, dtypes[i])
    real = [array for array in wanted if array is not None]
    if len(real) == 2 and np.may_share_memory(real[0], real[1]):
        raise ValueError("out=(values, indices) share memory: give two separate arrays")
    # Positions are written with the strides of the values, so a pair is computed apart.
    direct = index is None and _is_direct(real[0], x)
    if direct:
        return Results((real[0],), (real[0],))
    fresh = tuple([empty_like_order(shape, order, d) for d in dtypes])
    return Results(fresh, tuple(wanted))


def _checked_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    if type(out) is not np.ndarray and type(out) is not np.memmap:
        raise TypeError(f"out must be a numpy.ndarray, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, but the result has shape {shape}")
    if out.dtype != dtype or not out.dtype.isnative:
        raise TypeError(f"out has dtype {out.dtype}, but the result has dtype {dtype}")
    if not out.flags.writeable:
        raise ValueError("out is read-only: give a writeable array")
    if any(s == 0 for n, s in zip(out.shape, out.strides, strict=True) if n > 1):
        raise ValueError("out has a stride of 0: several results would share an element")
    array: Array = out
    return array


def _is_direct(out: Array, x: Array) -> bool:
    """Whether a kernel may write to `out` itself."""
    itemsize = out.dtype.itemsize
    if not out.flags.aligned or any(s % itemsize for s in out.strides):
        return False
    # An array whose elements overlap one another is filled by NumPy's rules.
    reach = 0
    for stride, n in sorted((abs(s), n) for s, n in zip(out.strides, out.shape, strict=True)):
        if n > 1:
            if stride <= reach:
                return False
            reach += stride * (n - 1)
    return not np.may_share_memory(out, x)


def _check_memory(shape: tuple[int, ...], itemsize: int) -> None:
    """Refuse, in words, a result that this machine cannot hold."""
    needed = prod(shape) * itemsize
    if needed < 1 << 30:
        return
    try:
        held = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        held = 1 << 46
    if needed > held:
        raise ValueError(
            f"the result of shape {shape} needs {needed / 2**30:.1f} GiB and this machine has "
            f"{held / 2**30:.1f} GiB of memory: use less padding, pool a part at a time, or give "
            "out=numpy.memmap(...)"
        )
