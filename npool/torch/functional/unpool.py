"""Max unpooling of tensors under torch's names: 1-D, 2-D, 3-D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

import npool
from npool.functional.arguments import ArgumentError, Sizes
from npool.functional.unpool import check_unpool
from npool.torch.arguments import symbolic, unpooled
from npool.torch.functional.forms import as_torch_lays, by_arrays, cast
from npool.torch.library import CALLS
from npool.torch.tensors import array_of, is_plain, stand_in, tensor_of

__all__ = ["max_unpool1d", "max_unpool2d", "max_unpool3d"]


def max_unpool1d(
    input: torch.Tensor,
    indices: torch.Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> torch.Tensor:
    """Put each element where `max_pool1d` found it, and 0 everywhere else.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, L) or (C, L), of which N alone may be 0.
        Any supported dtype, on the CPU or a CUDA device.
    indices : torch.Tensor
        int64, of the shape of `input`: positions in a plane of the result. Of equal ones the
        last counts.
    kernel_size, stride, padding : int or tuple of one int
        Of the pooling.
    output_size : sequence of 1 or 3 int, optional
        Lengths of the result, less than a stride from the default.

    Returns
    -------
    torch.Tensor
        Shape (N, C, L_out) or (C, L_out), in the dtype and
        memory format of `input`. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.max_unpool1d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_unpool1d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import max_pool1d, max_unpool1d
    >>> x = torch.tensor([[3.0, 1.0, 4.0, 1.0, 5.0]])
    >>> values, places = max_pool1d(x, 2, return_indices=True)
    >>> max_unpool1d(values, places, 2, output_size=(5,))
    tensor([[3., 0., 4., 0., 0.]])
    """
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: torch.Tensor,
    indices: torch.Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> torch.Tensor:
    """Put each element where `max_pool2d` found it, and 0 everywhere else.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, H, W) or (C, H, W), of which N alone may be 0.
        Any supported dtype, on the CPU or a CUDA device.
    indices : torch.Tensor
        int64, of the shape of `input`: positions in a plane of the result. Of equal ones the
        last counts.
    kernel_size, stride, padding : int or tuple of one or two ints
        Of the pooling.
    output_size : sequence of 2 or 4 int, optional
        Lengths of the result, less than a stride from the default.

    Returns
    -------
    torch.Tensor
        Shape (N, C, H_out, W_out) or (C, H_out, W_out), in the dtype and
        memory format of `input`. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.max_unpool2d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_unpool2d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import max_pool2d, max_unpool2d
    >>> x = torch.tensor([[[3.0, 7.0], [9.0, 1.0]]])
    >>> values, places = max_pool2d(x, 2, return_indices=True)
    >>> max_unpool2d(values, places, 2)
    tensor([[[0., 0.],
             [9., 0.]]])
    """
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: torch.Tensor,
    indices: torch.Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> torch.Tensor:
    """Put each element where `max_pool3d` found it, and 0 everywhere else.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, D, H, W) or (C, D, H, W), of which N alone may be 0.
        Any supported dtype, on the CPU or a CUDA device.
    indices : torch.Tensor
        int64, of the shape of `input`: positions in a plane of the result. Of equal ones the
        last counts.
    kernel_size, stride, padding : int or tuple of one or three ints
        Of the pooling.
    output_size : sequence of 3 or 5 int, optional
        Lengths of the result, less than a stride from the default.

    Returns
    -------
    torch.Tensor
        Shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out), in the dtype and
        memory format of `input`. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.max_unpool3d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_unpool3d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import max_pool3d, max_unpool3d
    >>> values, places = max_pool3d(torch.tensor([[[[3.0, 7.0]]]]), (1, 1, 2), return_indices=True)
    >>> max_unpool3d(values, places, (1, 1, 2))
    tensor([[[[0., 7.]]]])
    """
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)


def _unpool(
    n: int, input: torch.Tensor, indices: torch.Tensor, kernel_size: Any, stride: Any,
    padding: Any, output_size: Any,
) -> torch.Tensor:  # fmt: skip
    input = cast(input)
    if by_arrays(input) and is_plain(indices):
        pool = getattr(npool.functional, f"max_unpool{n}d")
        made = pool(
            array_of(input), array_of(indices), kernel_size, stride, padding,
            None if output_size is None else tuple(output_size),
        )  # fmt: skip
        return as_torch_lays(tensor_of(made), input)
    axes = tuple(range(-n, 0))
    if symbolic(input.shape):
        sizes = None if output_size is None else list(output_size)[-n:]
        window = unpooled(input, kernel_size, stride or None, padding, sizes, axes)
    else:
        given = check_unpool(
            n, stand_in(input), stand_in(indices), kernel_size, stride, padding,
            None if output_size is None else tuple(output_size),
        )  # fmt: skip
        if by_arrays(indices) and indices.numel() and int(indices.min()) < 0:
            raise ArgumentError(
                f"max_unpool{n}d: Found an invalid max index: {int(indices.min())}: positions "
                "are 0 or more; npool.max_unpool leaves -1 out"
            )
        window = unpooled(input, *given, axes)
    return as_torch_lays(CALLS.max_unpool(input, indices, *window), input)
