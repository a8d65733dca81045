"""Gradients of pooling that picks an element: added, or taken, at its position."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool import arrays
from npool.bins import Targets, make_bins_plan
from npool.dispatch import device_engine, on_device
from npool.geometry import Padding, Sizes, Window, make_plan
from npool.gradients.checks import check_positions, checked_gradient, picked_axes
from npool.layout import order_of, readable

__all__ = [
    "adaptive_max_pool_backward", "fractional_max_pool_backward", "max_pool_backward",
    "max_unpool_backward", "min_pool_backward", "take_pooled",
]  # fmt: skip

Array = NDArray[Any]


def max_pool_backward(
    grad_output: Array,
    indices: Array,
    input_shape: tuple[int, ...],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    axes: Sizes | None = None,
    out: Any = None,
) -> Any:
    """Gradient of :func:`npool.max_pool` with respect to what was pooled.

    Parameters
    ----------
    grad_output : numpy.ndarray
        Gradient of the maxima: floating or integer, of their shape, any strides.
    indices : numpy.ndarray
        Their positions, as ``max_pool(…, return_indices=True)`` gives them: int64 or int32.
        -1, of a window wholly in the padding, is no position.
    input_shape : sequence of int
        Shape of what was pooled.
    kernel_size, stride, padding, dilation, ceil_mode, axes
        As they were given to :func:`npool.max_pool`, in elements.
    out : numpy.ndarray, optional
        Where to put the gradient; exact shape and dtype, any strides. It may overlap the others.

    Returns
    -------
    numpy.ndarray
        Of shape `input_shape` and the dtype of `grad_output`, in its memory order: at each
        position the sum of the gradients that have it, 0 elsewhere. float16 and bfloat16 are
        summed in float32, integers wrap. The same bits at any number of threads.

    Raises
    ------
    ValueError
        For values and shapes; for a position outside the pooled axes, which the message names.
        `out` is then as it was.
    TypeError
        For types, such as positions that are not integers.

    Notes
    -----
    The gradient of a maximum is that of the element which was picked [1]_: the first of equal
    ones, the last of several NaN. It serves minima as well. A position that lies in the array
    but not in its window counts where it says; finding that takes longer.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html

    Examples
    --------
    >>> import numpy as np, npool
    >>> x = np.array([1.0, 5.0, 2.0, 4.0])
    >>> _, places = npool.max_pool(x, (2,), 1, return_indices=True)
    >>> npool.max_pool_backward(np.array([1.0, 10.0, 100.0]), places, x.shape, (2,), 1)
    array([  0.,  11.,   0., 100.])
    """
    plan = make_plan(
        arrays.checked_shape(input_shape, "input_shape"), kernel_size, stride, padding, dilation,
        ceil_mode, axes,
    )  # fmt: skip
    if type(grad_output) is not np.ndarray and on_device(grad_output):
        return device_engine().gathered("add", grad_output, plan, out, indices)
    gradient = checked_gradient(grad_output, plan.out_shape)
    alone = all(window.stride >= window.extent for window in plan.windows)
    return _added(gradient, indices, plan.shape, plan.axes, plan.windows[0], out, alone)


def min_pool_backward(
    grad_output: Array,
    indices: Array,
    input_shape: tuple[int, ...],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    axes: Sizes | None = None,
    out: Any = None,
) -> Any:
    """Gradient of :func:`npool.min_pool` with respect to what was pooled.

    Parameters
    ----------
    grad_output, indices, input_shape, kernel_size, stride, padding, dilation, ceil_mode, axes, out
        As for :func:`npool.max_pool_backward`, which this is.

    Returns
    -------
    numpy.ndarray
        As for :func:`npool.max_pool_backward`.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.max_pool_backward`.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html, mirrored.

    Examples
    --------
    >>> import numpy as np, npool
    >>> npool.min_pool_backward(np.array([7, 8]), np.array([1, 1]), (3,), (2,), 1)
    array([ 0, 15,  0])
    """
    return max_pool_backward(
        grad_output, indices, input_shape, kernel_size, stride, padding, dilation, ceil_mode,
        axes=axes, out=out,
    )  # fmt: skip


def adaptive_max_pool_backward(
    grad_output: Array,
    indices: Array,
    input_shape: tuple[int, ...],
    output_size: Targets,
    *,
    axes: Sizes | None = None,
    out: Any = None,
) -> Any:
    """Gradient of :func:`npool.adaptive_max_pool` with respect to what was pooled.

    Parameters
    ----------
    grad_output, indices, input_shape, out
        As for :func:`npool.max_pool_backward`.
    output_size, axes
        As they were given to :func:`npool.adaptive_max_pool`.

    Returns
    -------
    numpy.ndarray
        As for :func:`npool.max_pool_backward`.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.max_pool_backward`.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool2d.html

    Examples
    --------
    >>> import numpy as np, npool
    >>> npool.adaptive_max_pool_backward(np.array([1.0, 2.0]), np.array([1, 1]), (3,), (2,))
    array([0., 3., 0.])
    """
    plan = make_bins_plan(arrays.checked_shape(input_shape, "input_shape"), output_size, axes)
    if type(grad_output) is not np.ndarray and on_device(grad_output):
        return device_engine().gathered("add", grad_output, plan, out, indices)
    gradient = checked_gradient(grad_output, plan.out_shape)
    return _added(gradient, indices, plan.shape, plan.axes, None, out)


def fractional_max_pool_backward(
    grad_output: Array,
    indices: Array,
    input_shape: tuple[int, ...],
    *,
    axes: Sizes,
    out: Any = None,
) -> Any:
    """Gradient of :func:`npool.fractional_max_pool` with respect to what was pooled.

    Positions say all: this adds gradients wherever they came from.

    Parameters
    ----------
    grad_output, indices, input_shape, out
        As for :func:`npool.max_pool_backward`.
    axes : int or sequence of int
        The axes that were pooled, in the order that they were named then; negative ones count
        from the end. The others of `grad_output` have the lengths of `input_shape`.

    Returns
    -------
    numpy.ndarray
        As for :func:`npool.max_pool_backward`.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.max_pool_backward`.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.FractionalMaxPool2d.html

    Examples
    --------
    >>> import numpy as np, npool
    >>> npool.fractional_max_pool_backward(np.array([1.0, 2.0]), np.array([0, 3]), (5,), axes=0)
    array([1., 0., 0., 2., 0.])
    """
    shape = arrays.checked_shape(input_shape, "input_shape")
    picked = picked_axes(shape, axes)
    if type(grad_output) is not np.ndarray and on_device(grad_output):
        _check_others(tuple(grad_output.shape), shape, picked, "grad_output", "input_shape")
        return device_engine().added(grad_output, indices, shape, picked, out)
    gradient = checked_gradient(grad_output, None)
    _check_others(gradient.shape, shape, picked, "grad_output", "input_shape")
    return _added(gradient, indices, shape, picked, None, out)


def take_pooled(x: Array, indices: Array, *, axes: Sizes, out: Any = None) -> Any:
    """Elements of `x` at the positions that pooling returned.

    Of maxima it gives the values again, of another array what lies where they were: the gradient of
    :func:`npool.max_pool_backward` by `grad_output`, and so the second derivative of max pooling.

    Parameters
    ----------
    x : numpy.ndarray
        Any shape, strides and real dtype; never written to.
    indices : numpy.ndarray
        Flat positions inside `axes` of `x`, row-major in their order, int64 or int32; -1 is no
        position, and gives 0. As many axes as `x`, and as long but for `axes`.
    axes : int or sequence of int
        The axes that were pooled, in the order that they were named then; negative ones count
        from the end.
    out : numpy.ndarray, optional
        Where to put the elements; exact shape and dtype, any strides. It may overlap the others.

    Returns
    -------
    numpy.ndarray
        Of the shape of `indices` and the dtype of `x`, in its memory order.

    Raises
    ------
    ValueError
        For shapes; for a position outside `axes`, which the message names. `out` is then as it
        was.
    TypeError
        For types, such as positions that are not integers.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool2d.html: its gradient

    Examples
    --------
    >>> import numpy as np, npool
    >>> x = np.array([[3, 1], [4, 1], [5, 9]])
    >>> values, places = npool.max_pool(x, (2, 2), 1, return_indices=True)
    >>> npool.take_pooled(x, places, axes=(0, 1))
    array([[4],
           [9]])
    """
    if type(x) is not np.ndarray and on_device(x):
        return device_engine().taken(x, indices, picked_axes(tuple(x.shape), axes), out, "x")
    return _taken(checked_gradient(x, None, "fiub", "x"), indices, axes, "x", out)


def max_unpool_backward(grad_output: Array, indices: Array, *, axes: Sizes, out: Any = None) -> Any:
    """Gradient of :func:`npool.max_unpool` with respect to what was unpooled.

    Parameters
    ----------
    grad_output : numpy.ndarray
        Gradient of the result: floating or integer, any strides.
    indices, axes, out
        As for :func:`npool.take_pooled`, which this is.

    Returns
    -------
    numpy.ndarray
        Of the shape of `indices` and the dtype of `grad_output`, in its memory order.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.take_pooled`.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool2d.html

    Examples
    --------
    >>> import numpy as np, npool
    >>> npool.max_unpool_backward(np.array([1.0, 2.0, 3.0]), np.array([2, 0]), axes=0)
    array([3., 1.])
    """
    if type(grad_output) is not np.ndarray and on_device(grad_output):
        picked = picked_axes(tuple(grad_output.shape), axes)
        return device_engine().taken(grad_output, indices, picked, out, "grad_output")
    return _taken(checked_gradient(grad_output, None), indices, axes, "grad_output", out)


def _check_others(
    pooled: tuple[int, ...], shape: tuple[int, ...], axes: tuple[int, ...], name: str, of: str
) -> None:
    """Refuse shapes that differ in other axes than the pooled ones."""
    same = len(pooled) == len(shape) and all(
        axis in axes or n == m for axis, (n, m) in enumerate(zip(pooled, shape, strict=True))
    )
    if not same:
        raise ValueError(
            f"{name} has shape {pooled} and {of} is {shape}: they may differ only along axes={axes}"
        )


def _added(
    gradient: Array,
    indices: Any,
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    window: Window | None,
    out: Any,
    alone: bool = False,
) -> Any:
    """The gradients where `indices` say, added up, in the axes of an array of `shape`."""
    arrays.check_indices(indices, gradient.shape, "grad_output")
    dtype = gradient.dtype.newbyteorder("=")
    order = order_of(gradient)
    results = arrays.results(gradient, shape, order, dtype, None, out)
    target = results.targets[0]
    if target is out:  # before anything of the caller's is written
        check_positions(indices, shape, axes)
        if np.may_share_memory(indices, target):
            indices = indices.copy()
    if target.size and not gradient.size:
        target[...] = 0
        check_positions(indices, shape, axes)
    elif target.size:
        from npool.cpu.scattering import scatter_add

        source, places = readable(gradient), readable(indices)
        if scatter_add(source, places, target, axes, window, alone):
            check_positions(places, shape, axes)
            # Positions of windows other than these: any may be anywhere.
            if scatter_add(source, places, target, axes, None):
                check_positions(places, shape, axes)
                raise ValueError("indices changed while they were used: give some that do not")
    return results.delivered()


def _taken(x: Array, indices: Any, axes: Any, name: str, out: Any) -> Any:
    """The elements of `x` at `indices`."""
    picked = picked_axes(x.shape, axes)
    arrays.check_indices(indices, getattr(indices, "shape", ()), name)
    _check_others(indices.shape, x.shape, picked, "indices", f"the shape of {name}")
    dtype = x.dtype.newbyteorder("=")
    order = order_of(x)
    results = arrays.results(x, indices.shape, order, dtype, None, out)
    target = results.targets[0]
    if target is out:
        check_positions(indices, x.shape, picked)
        if np.may_share_memory(indices, target):
            indices = indices.copy()
    if target.size:
        from npool.cpu.scattering import flat_unit, gather

        source = readable(x)
        sizes = [source.shape[axis] for axis in picked]
        steps = [source.strides[axis] for axis in picked]
        if flat_unit(sizes, steps) is None:
            last = range(-len(picked), 0)
            together = np.ascontiguousarray(np.moveaxis(source, picked, last))
            source = np.moveaxis(together, last, picked)
        places = readable(indices)
        if 0 in sizes or gather(source, places, target, picked):
            check_positions(places, x.shape, picked)
            raise ValueError("indices changed while they were used: give some that do not")
    return results.delivered()
