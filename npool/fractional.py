"""Fractional max pooling of any axes: windows of one size, at steps drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray
from numpy.typing import DTypeLike, NDArray

from npool import arrays
from npool.bins import make_drawn_plan
from npool.dispatch import adapter_of, device_engine, on_device
from npool.dtypes import is_float, is_half
from npool.geometry import Plan, Sizes
from npool.operation import planned_operation

__all__ = ["checked_samples", "fractional_max_pool"]

Array = NDArray[Any]


def fractional_max_pool(
    x: Array,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Any = None,
    *,
    samples: Array | np.random.Generator,
    axes: Sizes | None = None,
    return_indices: bool = False,
    index_dtype: DTypeLike = np.int64,
    out: Any = None,
) -> Any:
    """Largest element of windows that begin at steps drawn at random, in each plane others.

    Along an axis of n elements, with a sample u, output ``i`` sees `kernel_size` elements from
    ``floor((i + u) * a) - floor(u * a)`` on, where ``a = (n - kernel_size) / (output_size - 1)``;
    the last output sees the last ones.

    Parameters
    ----------
    x : numpy.ndarray
        Any shape, strides and supported real dtype; never written to.
    kernel_size : int or sequence of int
        Window, in elements. A sequence of n entries pools the last n axes, or `axes`.
    output_size : int or sequence of int, optional
        Length of the result, in elements. ``output_size + kernel_size - 1`` must fit the axis.
    output_ratio : float or sequence of float, optional
        In place of `output_size`: the length of the result in that of the input, rounded down.
    samples : numpy.ndarray or numpy.random.Generator
        Floats from 0 to 1 of shape ``(*lengths of the axes that are not pooled, pooled axes)``,
        or what broadcasts to it: one for each plane and axis, axes in the order given. A
        generator draws them, as float64. The steps are computed in their type. For an array on
        a device they may lie there too.
    axes : int or sequence of int, optional
        The axes to pool; negative ones count from the end. An int serves all of them.
    return_indices : bool
        Also return the position of each maximum.
    index_dtype : {numpy.int64, numpy.int32}
        Type of the positions.
    out : numpy.ndarray, or a pair of them with `return_indices`, optional
        Where to put the result; exact shape and dtype, any strides. It may overlap `x`.

    Returns
    -------
    numpy.ndarray, or a pair of them with `return_indices`
        `x`'s shape with `output_size` for the lengths of the pooled axes, in the memory order
        of `x`. NaN and positions are those of :func:`npool.max_pool`.

    Raises
    ------
    ValueError
        For values and shapes: the message says which bound was broken and what to do.
    TypeError
        For types, such as a dtype that is not supported.

    Notes
    -----
    The formula for the steps is PyTorch's [2]_, of the method of [1]_; given the same samples,
    in the order of its axes, the results are the same.

    References
    ----------
    .. [1] B. Graham, "Fractional Max-Pooling", 2014. https://arxiv.org/abs/1412.6071
    .. [2] https://docs.pytorch.org/docs/stable/generated/torch.nn.FractionalMaxPool2d.html

    Examples
    --------
    >>> import numpy as np, npool
    >>> x = np.arange(7)
    >>> npool.fractional_max_pool(x, (2,), (3,), samples=np.array([0.0]))
    array([1, 3, 6])
    >>> npool.fractional_max_pool(x, (2,), (3,), samples=np.array([0.7]))
    array([1, 4, 6])
    >>> npool.fractional_max_pool(x, (2,), (3,), samples=np.random.default_rng(1)).shape
    (3,)
    """
    if type(x) is not ndarray and (adapter := adapter_of(x)) is not None:
        return adapter.fractional_max_pool(
            x, kernel_size, output_size, output_ratio, samples=samples, axes=axes,
            return_indices=return_indices, index_dtype=index_dtype, out=out,
        )  # fmt: skip
    if type(x) is not ndarray and on_device(x):
        plan = make_drawn_plan(tuple(x.shape), kernel_size, output_size, output_ratio, axes)
        return device_engine().fractional_max_pool(
            x, out, samples, plan, return_indices, index_dtype
        )
    x = arrays.checked_input(x)
    plan = make_drawn_plan(x.shape, kernel_size, output_size, output_ratio, axes)
    operation = planned_operation(x, plan, "max", None, "half_even", return_indices, index_dtype)
    apart = tuple(n for axis, n in enumerate(x.shape) if axis not in plan.axes)
    drawn = checked_samples(samples, (*apart, len(plan.axes)))
    return operation.apply(x, out, _starts(plan, drawn))


def checked_samples(samples: Any, shape: tuple[int, ...]) -> Array:
    """One sample for each plane and pooled axis, checked or drawn.

    Raises
    ------
    ValueError, TypeError
        For an array of another shape or type, and for samples that do not lie between 0 and 1.
    """
    if isinstance(samples, np.random.Generator):
        return samples.random(shape)
    if not isinstance(samples, np.ndarray) or not is_float(samples.dtype):
        kind = samples.dtype if isinstance(samples, np.ndarray) else type(samples).__name__
        raise TypeError(
            f"samples must be a numpy.ndarray of floats or a numpy.random.Generator, got {kind}"
        )
    try:
        whole = np.broadcast_to(samples, shape)
    except ValueError:
        raise ValueError(
            f"samples has shape {samples.shape}, which does not broadcast to {shape}: one for each "
            "index of the axes that are not pooled, and in the last axis one for each pooled axis"
        ) from None
    inside = (samples >= 0) & (samples <= 1)
    if not inside.all():
        raise ValueError(
            f"samples must lie between 0 and 1, got {samples[~inside].ravel()[0]}: draw them with "
            "numpy.random.default_rng().random(...)"
        )
    return whole.astype(samples.dtype.newbyteorder("="), copy=False)


def _starts(plan: Plan, samples: Array) -> tuple[Array, ...]:
    """Where the windows begin, for each pooled axis: an array of a row of outputs a plane."""
    found = []
    for k, window in enumerate(plan.windows):
        kind = samples.dtype
        last = window.size - window.kernel
        if is_half(kind) and last > 60000:  # which float16 cannot hold
            kind = np.dtype(np.float64)
        u = samples[..., k, None].astype(kind, copy=False)
        starts = np.full((*samples.shape[:-1], window.out), last, np.int64)
        if window.out > 1:
            # Step by step in the type of the samples, as torch rounds.
            step = kind.type(last) / kind.type(window.out - 1)
            i = np.arange(window.out - 1).astype(kind)
            begun = ((i + u) * step).astype(np.int64) - (u * step).astype(np.int64)
            # Eight bits of a bfloat16 may round past the end, where torch gives up.
            np.minimum(begun, last, out=starts[..., :-1])
        found.append(starts)
    return tuple(found)
