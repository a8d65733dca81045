"""Max unpooling under torch's names: elements back to where they came from, in 1-D, 2-D, 3-D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from npool.arrays import check_indices, described
from npool.dispatch import device_engine, on_device
from npool.functional.arguments import ArgumentError, Sizes, refused, sizes_of
from npool.unpool import place, unpooled_shape
from npool.values import is_sequence, shown

__all__ = ["check_unpool", "max_unpool1d", "max_unpool2d", "max_unpool3d"]


def max_unpool1d(
    input: NDArray[Any],
    indices: NDArray[np.int64],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[SupportsIndex] | None = None,
) -> NDArray[Any]:
    """Put each element where :func:`max_pool1d` found it, and 0 everywhere else.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, L) or (C, L), of which N alone may be 0. Any supported dtype.
    indices : numpy.ndarray
        int64, of the shape of `input`: positions in a plane of the result. Of equal ones the
        last counts.
    kernel_size : int or tuple of one int
        Window of the pooling.
    stride : int or tuple of one int, optional
        Step between windows. Default: `kernel_size`.
    padding : int or tuple of one int
        Elements that were added on both sides.
    output_size : sequence of 1 or 3 int, optional
        Lengths of the result; of 3, the first two are not read. Less than a stride from the
        default, ``(length - 1) * stride + kernel_size - 2 * padding``.

    Returns
    -------
    numpy.ndarray
        Shape (N, C, L_out) or (C, L_out), of the dtype of `input`.

    Raises
    ------
    ArgumentError
        A value or a shape is refused, or a position lies outside: both a ValueError and a
        RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.max_unpool : any axes.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_unpool1d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import max_pool1d, max_unpool1d
    >>> values, places = max_pool1d(np.array([[3, 1, 4, 1, 5]]), 2, return_indices=True)
    >>> max_unpool1d(values, places, 2, output_size=(5,))
    array([[3, 0, 4, 0, 0]])
    """
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: NDArray[Any],
    indices: NDArray[np.int64],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[SupportsIndex] | None = None,
) -> NDArray[Any]:
    """Put each element where :func:`max_pool2d` found it, and 0 everywhere else.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, H, W) or (C, H, W), of which N alone may be 0. Any supported dtype.
    indices : numpy.ndarray
        int64, of the shape of `input`: positions in a plane of the result. Of equal ones the
        last counts.
    kernel_size : int or tuple of one or two ints
        Window of the pooling.
    stride : int or tuple of one or two ints, optional
        Step between windows. Default: `kernel_size`.
    padding : int or tuple of one or two ints
        Elements that were added on both sides.
    output_size : sequence of 2 or 4 int, optional
        Lengths of the result; of 4, the first two are not read. Less than a stride from the
        default, ``(length - 1) * stride + kernel_size - 2 * padding``.

    Returns
    -------
    numpy.ndarray
        Shape (N, C, H_out, W_out) or (C, H_out, W_out), of the dtype of `input`.

    Raises
    ------
    ArgumentError
        A value or a shape is refused, or a position lies outside: both a ValueError and a
        RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.max_unpool : any axes.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_unpool2d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import max_pool2d, max_unpool2d
    >>> values, places = max_pool2d(np.array([[[3, 7], [9, 1]]]), 2, return_indices=True)
    >>> max_unpool2d(values, places, 2)
    array([[[0, 0],
            [9, 0]]])
    """
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: NDArray[Any],
    indices: NDArray[np.int64],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[SupportsIndex] | None = None,
) -> NDArray[Any]:
    """Put each element where :func:`max_pool3d` found it, and 0 everywhere else.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, D, H, W) or (C, D, H, W), of which N alone may be 0. Any supported dtype.
    indices : numpy.ndarray
        int64, of the shape of `input`: positions in a plane of the result. Of equal ones the
        last counts.
    kernel_size : int or tuple of one or three ints
        Window of the pooling.
    stride : int or tuple of one or three ints, optional
        Step between windows. Default: `kernel_size`.
    padding : int or tuple of one or three ints
        Elements that were added on both sides.
    output_size : sequence of 3 or 5 int, optional
        Lengths of the result; of 5, the first two are not read. Less than a stride from the
        default, ``(length - 1) * stride + kernel_size - 2 * padding``.

    Returns
    -------
    numpy.ndarray
        Shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out), of the dtype of `input`.

    Raises
    ------
    ArgumentError
        A value or a shape is refused, or a position lies outside: both a ValueError and a
        RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.max_unpool : any axes.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_unpool3d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import max_pool3d, max_unpool3d
    >>> values, places = max_pool3d(np.array([[[[3, 7], [9, 1]]]]), (1, 2, 2), return_indices=True)
    >>> max_unpool3d(values, places, (1, 2, 2))
    array([[[[0, 0],
             [9, 0]]]])
    """
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)


def _unpool(
    n: int,
    input: NDArray[Any],
    indices: Any,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    output_size: Any,
) -> NDArray[Any]:
    name = f"max_unpool{n}d"
    window = check_unpool(n, input, indices, kernel_size, stride, padding, output_size)
    with refused(name):
        if type(input) is not np.ndarray and on_device(input):
            away: NDArray[Any] = device_engine().unpool(
                input, indices, *window, tuple(range(-n, 0)), None
            )
            return away
        picked, whole = unpooled_shape(input.shape, *window, tuple(range(-n, 0)))
        return place(input, indices, picked, whole, 0, None)


def check_unpool(
    n: int,
    input: NDArray[Any],
    indices: Any,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    output_size: Any,
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...] | None]:
    """kernel_size, stride, padding and output_size with `n` entries each, once found to be torch's.

    Of the arrays no element is read.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`max_unpool2d`, but for positions.
    """
    name = f"max_unpool{n}d"
    shape = described(input).shape
    kernels = sizes_of(name, "kernel_size", kernel_size, n)
    strides = sizes_of(name, "stride", stride, n, default=kernels)
    pads = sizes_of(name, "padding", padding, n)
    if min(strides) < 1:
        raise ArgumentError(
            f"{name}: strides should be greater than zero, but got stride: {list(strides)}"
        )
    away = type(input) is not np.ndarray and on_device(input) and on_device(indices)
    _check_arrays(name, n, shape, device_engine().described(indices) if away else indices, away)
    defaults = [
        (length - 1) * s + k - 2 * p
        for length, s, k, p in zip(shape[-n:], strides, kernels, pads, strict=True)
    ]
    sizes = None
    if output_size is not None:
        sizes = _check_output_size(name, n, output_size, defaults, strides)
    elif min(defaults) < 0:
        raise ArgumentError(
            f"{name}: output_size must contain non-negative spatial dimensions, but got "
            f"{defaults}: give less padding={shown(padding)}"
        )
    return kernels, strides, pads, sizes


def _check_arrays(name: str, n: int, shape: tuple[int, ...], indices: Any, away: bool) -> None:
    if away or isinstance(indices, np.ndarray):
        if indices.dtype.kind in "biuf" and indices.dtype.newbyteorder("=") != np.int64:
            raise ArgumentError(
                f"{name}: elements in indices should be type int64 but got: {indices.dtype}: give "
                "the positions that max_pool returned"
            )
        if indices.shape != shape:
            raise ArgumentError(
                f"{name}: Expected shape of indices to be same as that of the input tensor "
                f"({list(shape)}) but got indices tensor with shape: {list(indices.shape)}"
            )
    if not away:
        check_indices(indices, shape, "x")
    if len(shape) not in (n + 1, n + 2):
        raise ArgumentError(
            f"Input to {name} should be a {n + 1}d or {n + 2}d Tensor, but got a tensor with "
            f"{len(shape)} dimensions; npool.max_unpool takes any axes of any array"
        )
    if 0 in shape[-n - 1 :]:
        raise ArgumentError(
            f"{name}: Expected input to have non-zero size for non-batch dimensions, but got "
            f"{list(shape)}: N alone may be 0"
        )


def _check_output_size(
    name: str, n: int, output_size: Any, defaults: list[int], strides: tuple[int, ...]
) -> tuple[int, ...]:
    if not is_sequence(output_size):
        raise TypeError(
            f"{name}(): argument 'output_size' must be tuple of ints, not "
            f"{type(output_size).__name__}: got {shown(output_size)}"
        )
    if len(output_size) not in (n, n + 2):
        raise ArgumentError(
            f"{name}: output_size should be a sequence containing {n} or {n + 2} elements, but it "
            f"has a length of '{len(output_size)}': {shown(output_size)}"
        )
    given = tuple(output_size)[-n:]
    sizes = sizes_of(name, "output_size", given, n)
    for d, (size, plain, stride) in enumerate(zip(sizes, defaults, strides, strict=True)):
        if not plain - stride < size < plain + stride:
            raise ArgumentError(
                f'{name}: invalid output_size "{shown(given)}" (dim {d} must be between '
                f"{plain - stride} and {plain + stride}), neither of them itself"
            )
    return sizes
