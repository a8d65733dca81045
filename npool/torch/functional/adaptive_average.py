"""Adaptive average pooling of tensors under torch's names: 1-D, 2-D, 3-D."""

from __future__ import annotations

from typing import Any

import torch

import npool
from npool.torch.arguments import adaptive
from npool.torch.functional.forms import as_torch_lays, as_torch_reads, by_arrays, cast, on_arrays
from npool.torch.functional.small import own_bins, remember
from npool.torch.library import CALLS
from npool.torch.tensors import is_eager

__all__ = ["adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"]

ops = CALLS
#: Elements for each bin, of images that are differentiated, between which torch's own operator is
#: faster: of contiguous ones whose bins differ, and of channels-last ones (docs/torch.md).
MIDDLING, MIDDLING_LAST = (13, 100), (0, 60)
_SAME_TYPES = (torch.float32, torch.float64)
_OWN = torch._C._nn.adaptive_avg_pool2d


def adaptive_avg_pool1d(input: torch.Tensor, output_size: Any) -> torch.Tensor:
    """Mean of each of `output_size` bins of the last axis.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, L) or (C, L), of which N alone may be 0.
        Any supported dtype, on the CPU or a CUDA device.
    output_size : int or tuple of one int
        Lengths of the result, in elements.

    Returns
    -------
    torch.Tensor
        Shape (N, C, L_out) or (C, L_out), in the dtype and
        memory format of `input`: means of integers are cut off toward zero, those of bool are
        float64. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.adaptive_avg_pool1d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_avg_pool1d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import adaptive_avg_pool1d
    >>> adaptive_avg_pool1d(torch.tensor([[3.0, 7.0, 9.0, 1.0]]), 2)
    tensor([[5., 5.]])
    """
    return _avg(1, input, output_size)


def adaptive_avg_pool2d(input: torch.Tensor, output_size: Any) -> torch.Tensor:
    """Mean of each of `output_size` bins of the last two axes.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, H, W) or (C, H, W), of which N alone may be 0.
        Any supported dtype, on the CPU or a CUDA device.
    output_size : int or tuple of two ints or None
        Lengths of the result, in elements; None keeps an axis as long as it is.

    Returns
    -------
    torch.Tensor
        Shape (N, C, H_out, W_out) or (C, H_out, W_out), in the dtype and
        memory format of `input`: means of integers are cut off toward zero, those of bool are
        float64. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.adaptive_avg_pool2d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_avg_pool2d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import adaptive_avg_pool2d
    >>> adaptive_avg_pool2d(torch.tensor([[[3.0, 7.0], [9.0, 1.0]]]), 1)
    tensor([[[5.]]])
    """
    return _avg(2, input, output_size)


def adaptive_avg_pool3d(input: torch.Tensor, output_size: Any) -> torch.Tensor:
    """Mean of each of `output_size` bins of the last three axes.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, D, H, W) or (C, D, H, W), of which N alone may be 0.
        Any supported dtype, on the CPU or a CUDA device.
    output_size : int or tuple of three ints or None
        Lengths of the result, in elements; None keeps an axis as long as it is.

    Returns
    -------
    torch.Tensor
        Shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out), in the dtype and
        memory format of `input`: means of integers are cut off toward zero, those of bool are
        float64. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.adaptive_avg_pool3d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_avg_pool3d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import adaptive_avg_pool3d
    >>> adaptive_avg_pool3d(torch.tensor([[[[3.0, 7.0], [9.0, 1.0]]]]), 1)
    tensor([[[[5.]]]])
    """
    return _avg(3, input, output_size)


def _avg(n: int, input: torch.Tensor, output_size: Any) -> torch.Tensor:
    name = f"adaptive_avg_pool{n}d"
    if n == 2 and (known := own_bins(_OWN, input, output_size)) is not None:
        return known
    if n == 3:
        input = cast(input)
    if by_arrays(input):
        made: torch.Tensor = on_arrays(getattr(npool.functional, name), input, output_size)
        return made
    input = as_torch_reads(input)
    bins = adaptive(name, n, input, output_size, n if n < 3 else n + 1)
    if n == 2 and input.device.type == "cpu" and is_eager(input) and _is_torchs(input, *bins[0]):
        remember(_OWN, input, output_size, bins[0])
        own: torch.Tensor = _OWN(input, bins[0])
        return own
    dtype = input.dtype
    whole = not (dtype.is_floating_point or dtype.is_complex or dtype is torch.bool)
    values = ops.adaptive_avg_pool(input, *bins, dtype if whole else None, "trunc")
    return as_torch_lays(values, input)


def _is_torchs(input: torch.Tensor, rows: int, columns: int) -> bool:
    """Whether torch's own operator adds up as precisely, and has both results before npool."""
    height, width = input.shape[-2:]
    if input.dtype not in _SAME_TYPES or rows * columns <= 1:
        return False
    each: float = height * width / (rows * columns)
    if input.is_contiguous():
        differ: bool = height % rows > 0 or width % columns > 0
        return differ and MIDDLING[0] <= each < MIDDLING[1]
    if input.ndim != 4 or not input.is_contiguous(memory_format=torch.channels_last):
        return False
    return MIDDLING_LAST[0] <= each < MIDDLING_LAST[1]
