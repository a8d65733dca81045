"""Adaptive max pooling of tensors under torch's names: 1-D, 2-D, 3-D."""

from __future__ import annotations

import math
from typing import Any

import torch

import npool
from npool.bins import make_bins_plan
from npool.gradients.taps import has_taps
from npool.torch.arguments import adaptive
from npool.torch.functional.forms import as_torch_lays, as_torch_reads, by_arrays, cast, on_arrays
from npool.torch.functional.small import own_bins, remember
from npool.torch.library import CALLS
from npool.torch.tensors import array_dtype, is_eager

__all__ = [
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
]

ops = CALLS
_OWN = torch._C._nn.adaptive_max_pool3d
#: Elements of a volume from which on it matters.
LARGE = 1 << 14


def adaptive_max_pool1d(input: torch.Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest element of each of `output_size` bins of the last axis.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, L) or (C, L), of which N alone may be 0.
        Any real dtype or bool, on the CPU or a CUDA device.
    output_size : int or tuple of one int
        Lengths of the result, in elements.
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
        As :func:`npool.functional.adaptive_max_pool1d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool1d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import adaptive_max_pool1d
    >>> adaptive_max_pool1d(torch.tensor([[3.0, 7.0, 9.0, 1.0]]), 2)
    tensor([[7., 9.]])
    """
    return _max(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: torch.Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest element of each of `output_size` bins of the last two axes.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, H, W) or (C, H, W), of which N alone may be 0.
        Any real dtype or bool, on the CPU or a CUDA device.
    output_size : int or tuple of two ints or None
        Lengths of the result, in elements; None keeps an axis as long as it is.
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
        As :func:`npool.functional.adaptive_max_pool2d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool2d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import adaptive_max_pool2d
    >>> adaptive_max_pool2d(torch.tensor([[[3.0, 7.0], [9.0, 1.0]]]), 1)
    tensor([[[9.]]])
    """
    return _max(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: torch.Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest element of each of `output_size` bins of the last three axes.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, D, H, W) or (C, D, H, W), of which N alone may be 0.
        Any real dtype or bool, on the CPU or a CUDA device.
    output_size : int or tuple of three ints or None
        Lengths of the result, in elements; None keeps an axis as long as it is.
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
        As :func:`npool.functional.adaptive_max_pool3d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool3d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import adaptive_max_pool3d
    >>> adaptive_max_pool3d(torch.tensor([[[[3.0, 7.0], [9.0, 1.0]]]]), 1)
    tensor([[[[9.]]]])
    """
    return _max(3, input, output_size, return_indices)


def adaptive_max_pool1d_with_indices(
    input: torch.Tensor, output_size: Any, return_indices: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`adaptive_max_pool1d` that gives the positions whatever `return_indices` is.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, L) or (C, L), of which N alone may be 0.
        Any real dtype or bool, on the CPU or a CUDA device.
    output_size : int or tuple of one int
        Lengths of the result, in elements.
    return_indices : bool
        Not read.

    Returns
    -------
    values, indices : torch.Tensor
        Shape (N, C, L_out) or (C, L_out), in the dtype and
        memory format of `input`; positions are int64. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.adaptive_max_pool1d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool1d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import adaptive_max_pool1d_with_indices
    >>> adaptive_max_pool1d_with_indices(torch.tensor([[3.0, 7.0, 9.0, 1.0]]), 2)
    (tensor([[7., 9.]]), tensor([[1, 2]]))
    """
    pooled: tuple[torch.Tensor, torch.Tensor] = _max(1, input, output_size, True)
    return pooled


def adaptive_max_pool2d_with_indices(
    input: torch.Tensor, output_size: Any, return_indices: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`adaptive_max_pool2d` that gives the positions whatever `return_indices` is.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, H, W) or (C, H, W), of which N alone may be 0.
        Any real dtype or bool, on the CPU or a CUDA device.
    output_size : int or tuple of two ints or None
        Lengths of the result, in elements; None keeps an axis as long as it is.
    return_indices : bool
        Not read.

    Returns
    -------
    values, indices : torch.Tensor
        Shape (N, C, H_out, W_out) or (C, H_out, W_out), in the dtype and
        memory format of `input`; positions are int64. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.adaptive_max_pool2d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool2d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import adaptive_max_pool2d_with_indices
    >>> adaptive_max_pool2d_with_indices(torch.tensor([[[3.0, 7.0], [9.0, 1.0]]]), 1)
    (tensor([[[9.]]]), tensor([[[2]]]))
    """
    pooled: tuple[torch.Tensor, torch.Tensor] = _max(2, input, output_size, True)
    return pooled


def adaptive_max_pool3d_with_indices(
    input: torch.Tensor, output_size: Any, return_indices: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`adaptive_max_pool3d` that gives the positions whatever `return_indices` is.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, D, H, W) or (C, D, H, W), of which N alone may be 0.
        Any real dtype or bool, on the CPU or a CUDA device.
    output_size : int or tuple of three ints or None
        Lengths of the result, in elements; None keeps an axis as long as it is.
    return_indices : bool
        Not read.

    Returns
    -------
    values, indices : torch.Tensor
        Shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out), in the dtype and
        memory format of `input`; positions are int64. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.adaptive_max_pool3d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool3d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import adaptive_max_pool3d_with_indices
    >>> adaptive_max_pool3d_with_indices(torch.tensor([[[[3.0, 7.0], [9.0, 1.0]]]]), 1)
    (tensor([[[[9.]]]]), tensor([[[[2]]]]))
    """
    pooled: tuple[torch.Tensor, torch.Tensor] = _max(3, input, output_size, True)
    return pooled


def _max(n: int, input: torch.Tensor, output_size: Any, return_indices: bool) -> Any:
    name = f"adaptive_max_pool{n}d"
    if n == 3 and not return_indices:
        known = own_bins(_OWN, input, output_size)
        if known is not None:
            return known[0]
    if n == 3:
        input = cast(input)
    if by_arrays(input):
        return on_arrays(getattr(npool.functional, name), input, output_size, return_indices)
    input = as_torch_reads(input)
    bins = adaptive(name, n, input, output_size, n + 1)
    if n == 3 and not return_indices and _is_torchs(input, *bins):
        remember(_OWN, input, output_size, bins[0])
        return _OWN(input, bins[0])[0]
    if not return_indices:
        return as_torch_lays(ops.adaptive_max_pool(input, *bins), input)
    values, indices = ops.adaptive_max_pool_with_indices(input, *bins, torch.int64)
    return as_torch_lays(values, input), as_torch_lays(indices, input)


def _is_torchs(input: torch.Tensor, sizes: Any, axes: Any) -> bool:
    """Whether bins of volumes are so large that no taps are kept: torch's operator, which picks the
    same elements, took 0.7 of the time of looking for positions.
    """
    if not is_eager(input) or not input.is_contiguous() or input.device.type != "cpu":
        return False
    if input.dtype not in (torch.float32, torch.float64) or 0 in input.shape or 0 in sizes:
        return False
    shape = tuple(input.shape)
    return math.prod(shape[axis] for axis in axes) >= LARGE and not has_taps(
        make_bins_plan(shape, tuple(sizes), tuple(axes)), array_dtype(input.dtype)
    )
