"""Average pooling of tensors under torch's names: 1-D, 2-D, 3-D."""

from __future__ import annotations

from typing import Any

import torch

import npool
from npool.functional.arguments import Sizes
from npool.torch.arguments import spatial
from npool.torch.functional.forms import as_torch_lays, as_torch_reads, by_arrays, cast, on_arrays
from npool.torch.library import CALLS

__all__ = ["avg_pool1d", "avg_pool2d", "avg_pool3d"]


def avg_pool1d(
    input: torch.Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> torch.Tensor:
    """Mean of each window over the last axis.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, L) or (C, L), of which N alone may be 0.
        Any supported dtype, on the CPU or a CUDA device.
    kernel_size, stride, padding : int or tuple of one int
        In elements. The stride is the window's own length where it is None; the padding is 0
        and at most half of the window.
    ceil_mode : bool
        Keep last windows that run past the end.
    count_include_pad : bool
        Divide by the taps in the input and its padding, or by those in the input alone.

    Returns
    -------
    torch.Tensor
        Shape (N, C, L_out) or (C, L_out), in the dtype and
        memory format of `input`: means of integers are cut off toward zero, those of bool are
        float64. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.avg_pool1d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool1d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import avg_pool1d
    >>> avg_pool1d(torch.tensor([[3.0, 7.0, 9.0, 1.0]]), 2)
    tensor([[5., 5.]])
    """
    return _avg(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: torch.Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> torch.Tensor:
    """Mean of each window over the last two axes.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, H, W) or (C, H, W), of which N alone may be 0.
        Any supported dtype, on the CPU or a CUDA device.
    kernel_size, stride, padding : int or tuple of one or two ints
        In elements. The stride is the window's own length where it is None; the padding is 0
        and at most half of the window.
    ceil_mode : bool
        Keep last windows that run past the end.
    count_include_pad : bool
        Divide by the taps in the input and its padding, or by those in the input alone.
    divisor_override : int, optional
        Divide by this number instead; any but 0.

    Returns
    -------
    torch.Tensor
        Shape (N, C, H_out, W_out) or (C, H_out, W_out), in the dtype and
        memory format of `input`: means of integers are cut off toward zero, those of bool are
        float64. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.avg_pool2d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool2d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import avg_pool2d
    >>> avg_pool2d(torch.tensor([[[3.0, 7.0], [9.0, 1.0]]]), 2)
    tensor([[[5.]]])
    """
    return _avg(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    input: torch.Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> torch.Tensor:
    """Mean of each window over the last three axes.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, D, H, W) or (C, D, H, W), of which N alone may be 0.
        Any supported dtype, on the CPU or a CUDA device. Each of D, H, W must
        hold a whole window (torch's rule in 3-D alone).
    kernel_size, stride, padding : int or tuple of one or three ints
        In elements. The stride is the window's own length where it is None; the padding is 0
        and at most half of the window.
    ceil_mode : bool
        Keep last windows that run past the end.
    count_include_pad : bool
        Divide by the taps in the input and its padding, or by those in the input alone.
    divisor_override : int, optional
        Divide by this number instead; any but 0.

    Returns
    -------
    torch.Tensor
        Shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out), in the dtype and
        memory format of `input`: means of integers are cut off toward zero, those of bool are
        float64. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.avg_pool3d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool3d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import avg_pool3d
    >>> avg_pool3d(torch.tensor([[[[3.0, 7.0], [9.0, 1.0]]]]), (1, 2, 2))
    tensor([[[[5.]]]])
    """
    return _avg(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _avg(
    n: int, input: torch.Tensor, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
    count_include_pad: bool, divisor: int | None,
) -> torch.Tensor:  # fmt: skip
    if n == 3:
        input = cast(input)
    if by_arrays(input):
        pool = getattr(npool.functional, f"avg_pool{n}d")
        rest = () if n == 1 else (divisor,)
        made: torch.Tensor = on_arrays(
            pool, input, kernel_size, stride, padding, ceil_mode, count_include_pad, *rest
        )
        return made
    input = as_torch_reads(input)
    window = spatial(
        "avg_pool", n, input, kernel_size, stride, padding, ceil_mode=ceil_mode,
        divisor_override=divisor, whole_window=n == 3,
    )  # fmt: skip
    dtype = input.dtype
    whole = not (dtype.is_floating_point or dtype.is_complex or dtype is torch.bool)
    values = CALLS.avg_pool(
        input, *window, count_include_pad, divisor, dtype if whole else None, "trunc"
    )
    return as_torch_lays(values, input)
