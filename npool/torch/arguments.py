"""A call's arguments in the form that operators take: lists, one entry an axis.

Pooled axes are counted from the end, and padding is one flat list of before and after, so that
a schema can say what they are. Where torch traces, lengths may be symbolic: then nothing is
looked up or refused here, only put in form, and what the operators' shape functions find is
refused by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch

from npool.bins import make_bins_plan, make_drawn_plan
from npool.functional.adaptive import check_adaptive
from npool.functional.arguments import check_arguments
from npool.geometry import Plan, make_plan
from npool.lengths import output_length, same_padding
from npool.torch.tensors import stand_in
from npool.unpool import unpooled_shape

__all__ = [
    "Windows", "adaptive", "array_arguments", "bins", "bins_arguments", "bins_shape", "drawn",
    "planned", "pooled_shape", "spatial", "symbolic", "unpooled", "windows",
]  # fmt: skip

#: kernel_size, stride, padding (flat pairs), dilation, ceil_mode, axes: an operator's own order.
Windows = tuple[Any, Any, Any, Any, bool, Any]


def symbolic(shape: Any) -> bool:
    """Whether torch traces, so that lengths may stand for any number."""
    return torch.compiler.is_compiling() or any(type(n) is not int for n in shape)


def windows(
    x: torch.Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    axes: Any,
) -> Windows:  # fmt: skip
    """The arguments of an any-axes call, such as one of :func:`npool.max_pool`.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.pool`.
    """
    shape = x.shape
    if not symbolic(shape):
        plan = make_plan(tuple(shape), kernel_size, stride, padding, dilation, ceil_mode, axes)
        return planned(plan, bool(ceil_mode))
    ndim = len(shape)
    if axes is None:
        if not isinstance(kernel_size, (tuple, list)):
            raise ValueError(
                f"kernel_size={kernel_size!r} does not say which axes to pool: give one entry "
                "for each of the last axes, or name the axes, such as axes=(-2, -1)"
            )
        axes = range(-len(kernel_size), 0)
    elif isinstance(axes, int):
        axes = (axes,)
    axes = [axis - ndim if axis >= 0 else axis for axis in axes]
    count = len(axes)
    kernels = _each(kernel_size, count)
    strides = kernels if stride is None else _each(stride, count)
    dilations = _each(dilation, count)
    if isinstance(padding, str):
        pads = [0] * (2 * count)
        if padding != "valid":
            lengths = [shape[axis] for axis in axes]
            pads = []
            for n, k, s, d in zip(lengths, kernels, strides, dilations, strict=True):
                pads += same_padding(n, k, s, d, padding == "same_lower")
    else:
        pads = []
        for entry in _each(padding, count):
            pads += list(entry) if isinstance(entry, (tuple, list)) else [entry, entry]
    return kernels, strides, pads, dilations, ceil_mode, axes


@lru_cache(maxsize=1024)
def planned(plan: Plan, ceil_mode: bool) -> Windows:
    """A plan's windows in this form."""
    each = plan.windows
    return (
        tuple(w.kernel for w in each),
        tuple(w.stride for w in each),
        tuple(side for w in each for side in (w.before, w.after)),
        tuple(w.dilation for w in each),
        ceil_mode,
        tuple(axis - len(plan.shape) for axis in plan.axes),
    )


def _each(value: Any, count: int) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value] * count


def spatial(
    op: str, n: int, input: torch.Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
    dilation: Any = 1, ceil_mode: bool = False, divisor_override: Any = None, *,
    whole_window: bool = False,
) -> Windows:  # fmt: skip
    """The arguments of a call under torch's name, such as ``max_pool2d``.

    Raises
    ------
    ArgumentError, TypeError
        As :mod:`npool.functional`.
    """
    if not symbolic(input.shape):
        call = check_arguments(
            op, n, tuple(input.shape), kernel_size, stride, padding, dilation, ceil_mode,
            divisor_override, whole_window=whole_window,
        )  # fmt: skip
        return planned(call.plan, call.ceil_mode)
    kernels = _spread(kernel_size, n)
    empty = isinstance(stride, (tuple, list)) and not stride
    strides = kernels if stride is None or empty else _spread(stride, n)
    pads = [pad for pad in _spread(padding, n) for _ in range(2)]
    return kernels, strides, pads, _spread(dilation, n), ceil_mode, list(range(-n, 0))


def _spread(value: Any, count: int) -> list[Any]:
    """torch's rule: one entry, in a tuple or not, serves all axes."""
    entries = _each(value, count)
    return entries * count if len(entries) == 1 else entries


def array_arguments(
    kernel_size: Sequence[int], stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], ceil_mode: bool, axes: Sequence[int],
) -> dict[str, Any]:  # fmt: skip
    """The same as npool's array functions take them, in the form that they look up fastest."""
    return {
        "kernel_size": tuple(kernel_size),
        "stride": tuple(stride),
        "padding": tuple(zip(padding[::2], padding[1::2], strict=True)),
        "dilation": tuple(dilation),
        "ceil_mode": ceil_mode,
        "axes": tuple(axes),
    }


def pooled_shape(
    shape: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    axes: Any,
) -> list[Any]:  # fmt: skip
    """Shape of the result, for symbolic lengths too.

    Raises
    ------
    ValueError
        Where the windows do not fit.
    """
    given = array_arguments(kernel_size, stride, padding, dilation, ceil_mode, axes)
    flat = (*shape, *kernel_size, *stride, *padding, *dilation)
    if all(type(n) is int for n in flat):
        return list(make_plan(tuple(shape), **given).out_shape)
    out = list(shape)
    for axis, k, s, (before, after), d in zip(
        axes, kernel_size, stride, given["padding"], dilation, strict=True
    ):
        out[axis] = output_length(shape[axis], k, s, d, before, after, ceil_mode)
        torch._check(
            out[axis] > 0, lambda n=shape[axis]: f"the window does not fit an axis of length {n}"
        )
    return out


# --- bins -----------------------------------------------------------------------------------------


def bins(x: torch.Tensor, output_size: Any, axes: Any) -> tuple[Any, Any]:
    """output_size and axes, one entry an axis, of a call of :func:`npool.adaptive_pool`.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.adaptive_pool`.
    """
    shape = x.shape
    if not symbolic(shape):
        plan = make_bins_plan(tuple(shape), output_size, axes)
        sizes = tuple(window.out for window in plan.windows)
        return sizes, tuple(axis - len(shape) for axis in plan.axes)
    if axes is None:
        if not isinstance(output_size, (tuple, list)):
            raise ValueError(
                f"output_size={output_size!r} does not say which axes to pool: give one entry "
                "for each of the last axes, or name the axes, such as axes=(-2, -1)"
            )
        axes = range(-len(output_size), 0)
    elif isinstance(axes, int):
        axes = (axes,)
    axes = [axis - len(shape) if axis >= 0 else axis for axis in axes]
    each = _each(output_size, len(axes))
    return [
        shape[axis] if size is None else size for size, axis in zip(each, axes, strict=True)
    ], axes


def bins_arguments(output_size: Sequence[int], axes: Sequence[int]) -> dict[str, Any]:
    """The same as npool's array functions take them."""
    return {"output_size": tuple(output_size), "axes": tuple(axes)}


def bins_shape(shape: Any, output_size: Any, axes: Any) -> list[Any]:
    """Shape of the result, for symbolic lengths too."""
    out = list(shape)
    for size, axis in zip(output_size, axes, strict=True):
        out[axis] = size
    return out


def unpooled(
    x: torch.Tensor, kernel_size: Any, stride: Any, padding: Any, output_size: Any, axes: Any
) -> tuple[Any, Any, Any, Any, Any]:
    """kernel_size, stride, padding, output_size and axes of a call of :func:`npool.max_unpool`.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.max_unpool`.
    """
    shape = x.shape
    if symbolic(shape):
        if axes is None:
            axes = range(-len(kernel_size), 0)
        picked = [axes] if isinstance(axes, int) else list(axes)
    else:
        named, made = unpooled_shape(tuple(shape), kernel_size, stride, padding, output_size, axes)
        picked = [axis - len(shape) for axis in named]
        output_size = [made[axis] for axis in named]
    picked = [axis - len(shape) if axis >= 0 else axis for axis in picked]
    count = len(picked)
    kernels, pads = _each(kernel_size, count), _each(padding, count)
    strides = kernels if stride is None else _each(stride, count)
    if output_size is None:
        output_size = [
            (shape[axis] - 1) * s + k - 2 * p
            for axis, k, s, p in zip(picked, kernels, strides, pads, strict=True)
        ]
    return kernels, strides, pads, _each(output_size, count), picked


def drawn(
    x: torch.Tensor, kernel_size: Any, output_size: Any, output_ratio: Any, axes: Any
) -> tuple[Any, Any, Any]:
    """kernel_size, output_size and axes of a call of :func:`npool.fractional_max_pool`.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.fractional_max_pool`.
    """
    shape = x.shape
    if not symbolic(shape):
        plan = make_drawn_plan(tuple(shape), kernel_size, output_size, output_ratio, axes)
        each = plan.windows
        return (
            tuple(w.kernel for w in each),
            tuple(w.out for w in each),
            tuple(axis - len(shape) for axis in plan.axes),
        )
    if axes is None:
        axes = range(-len(kernel_size), 0)
    picked = [axes] if isinstance(axes, int) else list(axes)
    picked = [axis - len(shape) if axis >= 0 else axis for axis in picked]
    if output_size is None:
        ratios = _each(output_ratio, len(picked))
        output_size = [int(shape[axis] * ratio) for axis, ratio in zip(picked, ratios, strict=True)]
    return _each(kernel_size, len(picked)), _each(output_size, len(picked)), picked


def adaptive(
    name: str, n: int, input: torch.Tensor, output_size: Any, filled: int
) -> tuple[Any, Any]:
    """output_size and axes of a call under torch's name; the last `filled` axes are not empty.

    Raises
    ------
    ArgumentError, TypeError
        As :mod:`npool.functional`.
    """
    if symbolic(input.shape):
        sizes = _spread(output_size, n)
    else:
        sizes = list(check_adaptive(name, n, stand_in(input), output_size, filled))
    lengths = input.shape[-n:]
    axes = list(range(-n, 0))
    return [k if size is None else size for size, k in zip(sizes, lengths, strict=True)], axes
