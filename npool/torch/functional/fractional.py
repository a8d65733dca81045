"""Fractional max pooling of tensors under torch's names: 2-D and 3-D."""

from __future__ import annotations

from typing import Any

import torch

import npool
from npool.functional.arguments import Sizes
from npool.functional.fractional import check_fractional, ordered_samples
from npool.torch.arguments import drawn, symbolic
from npool.torch.functional.forms import as_torch_lays, by_arrays, cast, on_arrays
from npool.torch.library import CALLS
from npool.torch.tensors import array_of, is_plain, stand_in

__all__ = [
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
]

ops = CALLS


def fractional_max_pool2d(
    input: torch.Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: torch.Tensor | None = None,
) -> Any:
    """Largest element of windows over the last two axes, at steps drawn at random.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, H, W) or (C, H, W), of which N alone may be 0.
        Any real dtype or bool, on the CPU or a CUDA device.
    kernel_size : int or tuple of two ints
        Size of the window.
    output_size : int or tuple of two ints, optional
        Lengths of the result.
    output_ratio : float or tuple of floats, optional
        Lengths of the result in those of the input.
    return_indices : bool
        Also give the position of each maximum.
    _random_samples : torch.Tensor, optional
        Shape (N, C, 2), from 0 to 1. Without them torch's generator draws the same as for torch's
        own function.

    Returns
    -------
    torch.Tensor, or a tuple of two
        Shape (N, C, H_out, W_out) or (C, H_out, W_out), in the dtype and
        memory format of `input`; positions are int64. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.fractional_max_pool2d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fractional_max_pool2d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import fractional_max_pool2d
    >>> x = torch.arange(9.0).reshape(1, 3, 3)
    >>> fractional_max_pool2d(x, 2, 1)
    tensor([[[8.]]])
    """
    return _fractional(
        2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


def fractional_max_pool2d_with_indices(
    input: torch.Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`fractional_max_pool2d` that gives the positions whatever `return_indices` is.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, H, W) or (C, H, W), of which N alone may be 0.
        Any real dtype or bool, on the CPU or a CUDA device.
    kernel_size : int or tuple of two ints
        Size of the window.
    output_size : int or tuple of two ints, optional
        Lengths of the result.
    output_ratio : float or tuple of floats, optional
        Lengths of the result in those of the input.
    return_indices : bool
        Not read.
    _random_samples : torch.Tensor, optional
        Shape (N, C, 2), from 0 to 1. Without them torch's generator draws the same as for torch's
        own function.

    Returns
    -------
    values, indices : torch.Tensor
        Shape (N, C, H_out, W_out) or (C, H_out, W_out), in the dtype and
        memory format of `input`; positions are int64. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.fractional_max_pool2d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fractional_max_pool2d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import fractional_max_pool2d_with_indices
    >>> x = torch.arange(9.0).reshape(1, 3, 3)
    >>> fractional_max_pool2d_with_indices(x, 2, 1)
    (tensor([[[8.]]]), tensor([[[8]]]))
    """
    pooled: tuple[torch.Tensor, torch.Tensor] = _fractional(
        2, input, kernel_size, output_size, output_ratio, True, _random_samples
    )
    return pooled


def fractional_max_pool3d(
    input: torch.Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: torch.Tensor | None = None,
) -> Any:
    """Largest element of windows over the last three axes, at steps drawn at random.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, D, H, W) or (C, D, H, W), of which N alone may be 0.
        Any real dtype or bool, on the CPU or a CUDA device.
    kernel_size : int or tuple of three ints
        Size of the window.
    output_size : int or tuple of three ints, optional
        Lengths of the result.
    output_ratio : float or tuple of floats, optional
        Lengths of the result in those of the input.
    return_indices : bool
        Also give the position of each maximum.
    _random_samples : torch.Tensor, optional
        Shape (N, C, 3), from 0 to 1. Without them torch's generator draws the same as for torch's
        own function.

    Returns
    -------
    torch.Tensor, or a tuple of two
        Shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out), in the dtype and
        memory format of `input`; positions are int64. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.fractional_max_pool3d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fractional_max_pool3d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import fractional_max_pool3d
    >>> x = torch.arange(27.0).reshape(1, 3, 3, 3)
    >>> fractional_max_pool3d(x, 2, 1)
    tensor([[[[26.]]]])
    """
    return _fractional(
        3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


def fractional_max_pool3d_with_indices(
    input: torch.Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`fractional_max_pool3d` that gives the positions whatever `return_indices` is.

    Parameters
    ----------
    input : torch.Tensor
        Shape (N, C, D, H, W) or (C, D, H, W), of which N alone may be 0.
        Any real dtype or bool, on the CPU or a CUDA device.
    kernel_size : int or tuple of three ints
        Size of the window.
    output_size : int or tuple of three ints, optional
        Lengths of the result.
    output_ratio : float or tuple of floats, optional
        Lengths of the result in those of the input.
    return_indices : bool
        Not read.
    _random_samples : torch.Tensor, optional
        Shape (N, C, 3), from 0 to 1. Without them torch's generator draws the same as for torch's
        own function.

    Returns
    -------
    values, indices : torch.Tensor
        Shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out), in the dtype and
        memory format of `input`; positions are int64. Differentiable, any number of times.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`npool.functional.fractional_max_pool3d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fractional_max_pool3d.html

    Examples
    --------
    >>> import torch
    >>> from npool.torch.functional import fractional_max_pool3d_with_indices
    >>> x = torch.arange(27.0).reshape(1, 3, 3, 3)
    >>> fractional_max_pool3d_with_indices(x, 2, 1)
    (tensor([[[[26.]]]]), tensor([[[[26]]]]))
    """
    pooled: tuple[torch.Tensor, torch.Tensor] = _fractional(
        3, input, kernel_size, output_size, output_ratio, True, _random_samples
    )
    return pooled


def _fractional(
    n: int, input: torch.Tensor, kernel_size: Any, output_size: Any, output_ratio: Any,
    return_indices: bool, samples: Any,
) -> Any:  # fmt: skip
    input = cast(input)
    traced = symbolic(input.shape)
    if not traced:
        kernel_size, output_size = check_fractional(
            n, stand_in(input), kernel_size, output_size, output_ratio
        )
    if samples is None:
        planes = (1 if input.ndim == n + 1 else input.shape[0], input.shape[-n - 1])
        dtype = input.dtype if input.dtype.is_floating_point else torch.float64
        samples = torch.rand(*planes, n, dtype=dtype, device=input.device)
    if by_arrays(input) and is_plain(samples):
        pool = getattr(npool.functional, f"fractional_max_pool{n}d")
        return on_arrays(
            pool, input, kernel_size, output_size, None, return_indices, array_of(samples)
        )
    if not traced:
        ordered_samples(n, stand_in(input), stand_in(samples))
    samples = samples[: input.shape[0]] if input.ndim == n + 2 else samples[0]
    if n == 2:
        samples = samples.flip(-1)  # torch's are those of the width first
    axes = tuple(range(-n, 0))
    ratio = output_ratio if output_size is None else None  # not read if there is a size
    window = drawn(input, kernel_size, output_size, ratio, axes)
    if not return_indices:
        return as_torch_lays(ops.fractional_max_pool(input, samples, *window), input)
    values, indices = ops.fractional_max_pool_with_indices(input, samples, *window, torch.int64)
    return as_torch_lays(values, input), as_torch_lays(indices, input)
