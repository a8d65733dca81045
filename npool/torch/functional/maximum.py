"""Max pooling of tensors under torch's names: 1-D, 2-D, 3-D, with and without positions."""

from __future__ import annotations

from typing import Any

import torch

import npool
from npool.functional.arguments import Sizes
from npool.torch.arguments import spatial
from npool.torch.functional.forms import as_torch_lays, as_torch_reads, by_arrays, cast, on_arrays
from npool.torch.functional.small import own
from npool.torch.library import CALLS

__all__ = [
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
]

ops = CALLS


def max_pool1d(
    input: torch.Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Largest element of each window over the last axis.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, L) or (C, L), of which N alone may be 0.
        Any real dtype or bool, on the CPU or a CUDA device.
    kernel_size, stride, padding, dilation : int or tuple of one int
        In elements. The stride is the window's own length where it is None; the padding never
        wins and is at most half of the window.
    ceil_mode : bool
        Keep last windows that run past the end.
    return_indices : bool
        Also give the position of each maximum.

    Returns
    -------
    torch.Tensor, or a tuple of two
        Shape (N, C, L_out) or (C, L_out), in the dtype and
        memory format of `input`; positions are int64. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.max_pool1d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool1d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import max_pool1d
    >>> max_pool1d(torch.tensor([[3.0, 7.0, 9.0, 1.0]]), 2)
    tensor([[7., 9.]])
    """
    return _max(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: torch.Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Largest element of each window over the last two axes.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, H, W) or (C, H, W), of which N alone may be 0.
        Any real dtype or bool, on the CPU or a CUDA device.
    kernel_size, stride, padding, dilation : int or tuple of one or two ints
        In elements. The stride is the window's own length where it is None; the padding never
        wins and is at most half of the window.
    ceil_mode : bool
        Keep last windows that run past the end.
    return_indices : bool
        Also give the position of each maximum.

    Returns
    -------
    torch.Tensor, or a tuple of two
        Shape (N, C, H_out, W_out) or (C, H_out, W_out), in the dtype and
        memory format of `input`; positions are int64. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.max_pool2d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool2d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import max_pool2d
    >>> max_pool2d(torch.tensor([[[3.0, 7.0], [9.0, 1.0]]]), 2)
    tensor([[[9.]]])
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    result = None if return_indices else own(torch.max_pool2d, input, *window)
    return _max(2, input, *window, return_indices) if result is None else result


def max_pool3d(
    input: torch.Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Largest element of each window over the last three axes.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, D, H, W) or (C, D, H, W), of which N alone may be 0.
        Any real dtype or bool, on the CPU or a CUDA device.
    kernel_size, stride, padding, dilation : int or tuple of one or three ints
        In elements. The stride is the window's own length where it is None; the padding never
        wins and is at most half of the window.
    ceil_mode : bool
        Keep last windows that run past the end.
    return_indices : bool
        Also give the position of each maximum.

    Returns
    -------
    torch.Tensor, or a tuple of two
        Shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out), in the dtype and
        memory format of `input`; positions are int64. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.max_pool3d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool3d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import max_pool3d
    >>> max_pool3d(torch.tensor([[[[3.0, 7.0], [9.0, 1.0]]]]), (1, 2, 2))
    tensor([[[[9.]]]])
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    result = None if return_indices else own(torch.max_pool3d, input, *window)
    return _max(3, input, *window, return_indices) if result is None else result


def max_pool1d_with_indices(
    input: torch.Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`max_pool1d` that gives the positions whatever `return_indices` is.

    Parameters
    ----------
    input, kernel_size, stride, padding, dilation, ceil_mode
        As for :func:`max_pool1d`.
    return_indices : bool
        Not read.

    Returns
    -------
    values, indices : torch.Tensor
        Each of shape (N, C, L_out) or (C, L_out); `indices` is int64.

    Raises
    ------
    ArgumentError, TypeError
        As for :func:`max_pool1d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool1d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import max_pool1d_with_indices
    >>> max_pool1d_with_indices(torch.tensor([[3.0, 7.0, 9.0, 1.0]]), 2)
    (tensor([[7., 9.]]), tensor([[1, 2]]))
    """
    pooled: tuple[torch.Tensor, torch.Tensor] = _max(
        1, input, kernel_size, stride, padding, dilation, ceil_mode, True
    )
    return pooled


def max_pool2d_with_indices(
    input: torch.Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`max_pool2d` that gives the positions whatever `return_indices` is.

    Parameters
    ----------
    input, kernel_size, stride, padding, dilation, ceil_mode
        As for :func:`max_pool2d`.
    return_indices : bool
        Not read.

    Returns
    -------
    values, indices : torch.Tensor
        Each of shape (N, C, H_out, W_out) or (C, H_out, W_out); `indices` is int64.

    Raises
    ------
    ArgumentError, TypeError
        As for :func:`max_pool2d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool2d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import max_pool2d_with_indices
    >>> max_pool2d_with_indices(torch.tensor([[[3.0, 7.0], [9.0, 1.0]]]), 2)
    (tensor([[[9.]]]), tensor([[[2]]]))
    """
    pooled: tuple[torch.Tensor, torch.Tensor] = _max(
        2, input, kernel_size, stride, padding, dilation, ceil_mode, True
    )
    return pooled


def max_pool3d_with_indices(
    input: torch.Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`max_pool3d` that gives the positions whatever `return_indices` is.

    Parameters
    ----------
    input, kernel_size, stride, padding, dilation, ceil_mode
        As for :func:`max_pool3d`.
    return_indices : bool
        Not read.

    Returns
    -------
    values, indices : torch.Tensor
        Each of shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out); `indices` is int64.

    Raises
    ------
    ArgumentError, TypeError
        As for :func:`max_pool3d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool3d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import max_pool3d_with_indices
    >>> max_pool3d_with_indices(torch.tensor([[[[3.0, 7.0], [9.0, 1.0]]]]), (1, 2, 2))
    (tensor([[[[9.]]]]), tensor([[[[2]]]]))
    """
    pooled: tuple[torch.Tensor, torch.Tensor] = _max(
        3, input, kernel_size, stride, padding, dilation, ceil_mode, True
    )
    return pooled


def _max(
    n: int, input: torch.Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: bool, return_indices: bool,
) -> Any:  # fmt: skip
    if n == 3:
        input = cast(input)
    if by_arrays(input):
        pool = getattr(npool.functional, f"max_pool{n}d")
        return on_arrays(
            pool, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
        )
    input = as_torch_reads(input)
    window = spatial("max_pool", n, input, kernel_size, stride, padding, dilation, ceil_mode)
    if not return_indices:
        return as_torch_lays(ops.max_pool(input, *window), input)
    values, indices = ops.max_pool_with_indices(input, *window, torch.int64)
    _, _, pads, dilations, _, _ = window
    if max(dilations) > 1 and max(pads) > 0:  # else every window holds an element
        indices = ops.torch_positions(indices, input.shape, range(input.ndim), *window)
    return as_torch_lays(values, input), as_torch_lays(indices, input)
