"""Power-average pooling of tensors under torch's names: 1-D, 2-D, 3-D."""

from __future__ import annotations

import math
from typing import Any

import torch

import npool
from npool.functional.arguments import Sizes
from npool.torch.arguments import spatial
from npool.torch.functional.forms import as_torch_lays, as_torch_reads, by_arrays, cast, on_arrays
from npool.torch.library import CALLS

__all__ = ["lp_pool1d", "lp_pool2d", "lp_pool3d"]

ops = CALLS


def lp_pool1d(
    input: torch.Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> torch.Tensor:
    """p-norm of each window over the last axis, without absolute values.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, L) or (C, L), of which N alone may be 0.
        Any real dtype or bool, on the CPU or a CUDA device.
    norm_type : int or float
        p, any number but 0. Infinity gives the largest ``|x|``, minus infinity the smallest.
    kernel_size, stride : int or tuple of one int
        In elements. The stride is the window's own length where it is None.
    ceil_mode : bool
        Keep last windows that run past the end; their sums are scaled up to a full window's.

    Returns
    -------
    torch.Tensor
        Shape (N, C, L_out) or (C, L_out), in the memory format
        of `input`, float32 for integers. Differentiable, any number of times; the gradient of a
        window of zeros is 0, where torch's is NaN.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.lp_pool1d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.lp_pool1d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import lp_pool1d
    >>> lp_pool1d(torch.tensor([[3.0, 4.0, 6.0, 8.0]]), 2, 2)
    tensor([[ 5., 10.]])
    """
    return _lp(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: torch.Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> torch.Tensor:
    """p-norm of each window over the last two axes, without absolute values.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, H, W) or (C, H, W), of which N alone may be 0.
        Any real dtype or bool, on the CPU or a CUDA device.
    norm_type : int or float
        p, any number but 0. Infinity gives the largest ``|x|``, minus infinity the smallest.
    kernel_size, stride : int or tuple of one or two ints
        In elements. The stride is the window's own length where it is None.
    ceil_mode : bool
        Keep last windows that run past the end; their sums are scaled up to a full window's.

    Returns
    -------
    torch.Tensor
        Shape (N, C, H_out, W_out) or (C, H_out, W_out), in the memory format
        of `input`, float32 for integers. Differentiable, any number of times; the gradient of a
        window of zeros is 0, where torch's is NaN.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.lp_pool2d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.lp_pool2d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import lp_pool2d
    >>> lp_pool2d(torch.tensor([[[1.0, 3.0], [3.0, 9.0]]]), 2, 2)
    tensor([[[10.]]])
    """
    return _lp(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: torch.Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> torch.Tensor:
    """p-norm of each window over the last three axes, without absolute values.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, D, H, W) or (C, D, H, W), of which N alone may be 0.
        Any real dtype or bool, on the CPU or a CUDA device. Each of D, H, W must
        hold a whole window (torch's rule in 3-D alone).
    norm_type : int or float
        p, any number but 0. Infinity gives the largest ``|x|``, minus infinity the smallest.
    kernel_size, stride : int or tuple of one or three ints
        In elements. The stride is the window's own length where it is None.
    ceil_mode : bool
        Keep last windows that run past the end; their sums are scaled up to a full window's.

    Returns
    -------
    torch.Tensor
        Shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out), in the memory format
        of `input`, float32 for integers. Differentiable, any number of times; the gradient of a
        window of zeros is 0, where torch's is NaN.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.lp_pool3d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.lp_pool3d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import lp_pool3d
    >>> lp_pool3d(torch.tensor([[[[1.0, 3.0], [3.0, 9.0]]]]), 2, (1, 2, 2))
    tensor([[[[10.]]]])
    """
    return _lp(3, input, norm_type, kernel_size, stride, ceil_mode)


def _lp(
    n: int, input: torch.Tensor, norm_type: Any, kernel_size: Any, stride: Any, ceil_mode: bool
) -> torch.Tensor:
    if n == 3:
        input = cast(input)
    if by_arrays(input):
        pool = getattr(npool.functional, f"lp_pool{n}d")
        made: torch.Tensor = on_arrays(pool, input, norm_type, kernel_size, stride, ceil_mode)
        return made
    input = as_torch_reads(input)
    infinite = isinstance(norm_type, float) and math.isinf(norm_type)
    window = spatial(
        "lp_pool", n, input, kernel_size, stride, ceil_mode=ceil_mode,
        whole_window=n == 3 and not infinite,
    )  # fmt: skip
    if infinite and input.dtype.is_floating_point:
        # The norm is then an element, and its gradient goes there.
        if norm_type > 0:
            values = ops.max_pool(input.abs(), *window)
        else:
            values = ops.min_pool(input.abs(), *window)
    else:
        values = ops.lp_pool_as_torch(input, norm_type, *window)
    return as_torch_lays(values, input)
