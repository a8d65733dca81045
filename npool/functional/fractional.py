"""Fractional max pooling under torch's names: 2-D and 3-D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.arrays import described
from npool.fractional import fractional_max_pool
from npool.functional.arguments import ArgumentError, Sizes, refused, sizes_of
from npool.functional.samples import ordered_samples
from npool.values import is_number, is_sequence, shown

__all__ = [
    "check_fractional",
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
    "ordered_samples",
]


def fractional_max_pool2d(
    input: NDArray[Any],
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: NDArray[Any] | None = None,
    *,
    generator: np.random.Generator | None = None,
) -> Any:
    """Largest element of windows over the last two axes, at steps drawn at random.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, H, W) or (C, H, W), of which N alone may be 0. Any real dtype or
        bool.
    kernel_size : int or tuple of two ints
        Size of the window, 1 or more each.
    output_size : int or tuple of two ints, optional
        Lengths of the result, 0 or more. ``output_size + kernel_size - 1`` must not be more than
        the length of the input.
    output_ratio : float or tuple of two floats, optional
        Lengths of the result in those of the input, rounded down; not read if there is an
        `output_size`.
    return_indices : bool
        Also return where each maximum is.
    _random_samples : numpy.ndarray, optional
        Shape (at least N, C, 2), (at least 1, C, 2) without N; of the dtype of `input` (of any
        float type for integers and bool), from 0 to 1: samples of W and of H, in that order. With
        torch's own, the result is torch's.
    generator : numpy.random.Generator, optional
        Draws the samples where there are none; by default a new one does.

    Returns
    -------
    numpy.ndarray, or a pair of them with `return_indices`
        Shape (N, C, H_out, W_out) or (C, H_out, W_out), of the dtype of `input`; and positions,
        int64, as :func:`max_pool2d` gives them.

    Raises
    ------
    ArgumentError
        A value or a shape is refused: both a ValueError and a RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.fractional_max_pool : any axes.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fractional_max_pool2d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import fractional_max_pool2d
    >>> x = np.arange(16.0).reshape(1, 4, 4)
    >>> fractional_max_pool2d(x, 2, 2, _random_samples=np.array([[[0.1, 0.9]]]))
    array([[[ 5.,  7.],
            [13., 15.]]])
    """
    return _fractional(
        2, input, kernel_size, output_size, output_ratio, bool(return_indices), _random_samples,
        generator,
    )  # fmt: skip


def fractional_max_pool2d_with_indices(
    input: NDArray[Any],
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: NDArray[Any] | None = None,
    *,
    generator: np.random.Generator | None = None,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """:func:`fractional_max_pool2d` that gives the positions whatever `return_indices` is.

    Parameters
    ----------
    input, kernel_size, output_size, output_ratio, _random_samples, generator
        As for :func:`fractional_max_pool2d`.
    return_indices : bool
        Not read.

    Returns
    -------
    values, indices : numpy.ndarray
        As those of :func:`fractional_max_pool2d`.

    Raises
    ------
    ArgumentError, TypeError
        As for :func:`fractional_max_pool2d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fractional_max_pool2d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import fractional_max_pool2d_with_indices
    >>> x = np.arange(9).reshape(1, 3, 3)
    >>> fractional_max_pool2d_with_indices(x, 2, 1)[1].ravel()
    array([8])
    """
    both: tuple[NDArray[Any], NDArray[np.int64]] = _fractional(
        2, input, kernel_size, output_size, output_ratio, True, _random_samples, generator
    )
    return both


def fractional_max_pool3d(
    input: NDArray[Any],
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: NDArray[Any] | None = None,
    *,
    generator: np.random.Generator | None = None,
) -> Any:
    """Largest element of windows over the last three axes, at steps drawn at random.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, T, H, W) or (C, T, H, W), of which N alone may be 0. Any real dtype or
        bool.
    kernel_size : int or tuple of three ints
        Size of the window, 1 or more each.
    output_size : int or tuple of three ints, optional
        Lengths of the result, 0 or more. ``output_size + kernel_size - 1`` must be less than
        the length of the input (torch's rule in 3-D alone).
    output_ratio : float or tuple of three floats, optional
        Lengths of the result in those of the input, rounded down; not read if there is an
        `output_size`.
    return_indices : bool
        Also return where each maximum is.
    _random_samples : numpy.ndarray, optional
        Shape (at least N, C, 3), (at least 1, C, 3) without N; of the dtype of `input` (of any
        float type for integers and bool), from 0 to 1: samples of T, H and W, in that order. With
        torch's own, the result is torch's.
    generator : numpy.random.Generator, optional
        Draws the samples where there are none; by default a new one does.

    Returns
    -------
    numpy.ndarray, or a pair of them with `return_indices`
        Shape (N, C, T_out, H_out, W_out) or (C, T_out, H_out, W_out), of the dtype of `input`;
        and positions, int64, as :func:`max_pool3d` gives them.

    Raises
    ------
    ArgumentError
        A value or a shape is refused: both a ValueError and a RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.fractional_max_pool : any axes.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fractional_max_pool3d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import fractional_max_pool3d
    >>> x = np.arange(27.0).reshape(1, 3, 3, 3)
    >>> fractional_max_pool3d(x, 2, 1, generator=np.random.default_rng(1))
    array([[[[26.]]]])
    """
    return _fractional(
        3, input, kernel_size, output_size, output_ratio, bool(return_indices), _random_samples,
        generator,
    )  # fmt: skip


def fractional_max_pool3d_with_indices(
    input: NDArray[Any],
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: NDArray[Any] | None = None,
    *,
    generator: np.random.Generator | None = None,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """:func:`fractional_max_pool3d` that gives the positions whatever `return_indices` is.

    Parameters
    ----------
    input, kernel_size, output_size, output_ratio, _random_samples, generator
        As for :func:`fractional_max_pool3d`.
    return_indices : bool
        Not read.

    Returns
    -------
    values, indices : numpy.ndarray
        As those of :func:`fractional_max_pool3d`.

    Raises
    ------
    ArgumentError, TypeError
        As for :func:`fractional_max_pool3d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fractional_max_pool3d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import fractional_max_pool3d_with_indices
    >>> x = np.arange(27).reshape(1, 3, 3, 3)
    >>> fractional_max_pool3d_with_indices(x, 2, 1)[1].ravel()
    array([26])
    """
    both: tuple[NDArray[Any], NDArray[np.int64]] = _fractional(
        3, input, kernel_size, output_size, output_ratio, True, _random_samples, generator
    )
    return both


def _fractional(
    n: int,
    input: NDArray[Any],
    kernel_size: Sizes,
    output_size: Sizes | None,
    output_ratio: Any,
    return_indices: bool,
    samples: Any,
    generator: np.random.Generator | None,
) -> Any:
    name = f"fractional_max_pool{n}d"
    kernels, sizes = check_fractional(n, input, kernel_size, output_size, output_ratio)
    drawn = ordered_samples(n, input, samples, generator)
    with refused(name):
        return fractional_max_pool(
            input, kernels, sizes, samples=drawn, axes=tuple(range(-n, 0)),
            return_indices=return_indices,
        )  # fmt: skip


def check_fractional(
    n: int, input: NDArray[Any], kernel_size: Any, output_size: Any, output_ratio: Any
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """kernel_size and the result's lengths with `n` entries each, once found to be torch's."""
    name = f"fractional_max_pool{n}d"
    shape = described(input).shape
    if output_size is None and output_ratio is None:
        raise ArgumentError(
            f"{name} requires specifying either an output_size or an output_ratio: got neither"
        )
    kernels = _exactly(name, "kernel_size", kernel_size, n)
    _check_shape(name, n, shape)
    if output_size is None:
        sizes = _by_ratio(name, n, output_ratio, shape[-n:])
    else:
        sizes = _exactly(name, "output_size", output_size, n)
    if min(kernels) < 1:
        raise ArgumentError(f"{name}: kernel_size must be 1 or more, got {shown(kernel_size)}")
    if min(sizes) < 0:
        raise ArgumentError(
            f"{name}: Trying to create tensor with negative dimension {shown(min(sizes))}: give "
            "an output_size of 0 or more"
        )
    axes = ("time", "height", "width")[-n:]
    for axis, length, k, size in zip(axes, shape[-n:], kernels, sizes, strict=True):
        if size + k - 1 > length - (n == 3):
            bound = "less than" if n == 3 else "at most"
            raise ArgumentError(
                f"{name}(): pool {axis} {shown(k)} too large relative to input {axis} {length}: "
                f"output_size + kernel_size - 1 = {shown(size + k - 1)} must be {bound} that"
            )
    return kernels, sizes


def _exactly(name: str, what: str, value: Any, n: int) -> tuple[int, ...]:
    if is_sequence(value) and len(value) != n:
        raise ArgumentError(
            f"{name}: {what} must either be a single Int or tuple of "
            f"{'three ' if n == 3 else ''}Ints: got {shown(value)}, which has {len(value)} entries"
        )
    return sizes_of(name, what, value, n)


def _by_ratio(name: str, n: int, ratio: Any, lengths: tuple[int, ...]) -> tuple[int, ...]:
    ratios = tuple(ratio) if is_sequence(ratio) else (ratio,) * n
    if len(ratios) != n:
        raise ArgumentError(
            f"{name} requires output_ratio to either be a single Int or tuple of Ints: got "
            f"{shown(ratio)}, which has {len(ratios)} entries for {n} axes"
        )
    if not all(is_number(one) and 0 <= one < 2**31 for one in ratios):
        raise TypeError(
            f"{name}(): argument 'output_ratio' must be a number between 0 and 1, or {n} of them: "
            f"got {shown(ratio)}"
        )
    return tuple(int(length * one) for length, one in zip(lengths, ratios, strict=True))


def _check_shape(name: str, n: int, shape: tuple[int, ...]) -> None:
    if len(shape) not in (n + 1, n + 2):
        raise ArgumentError(
            f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got: {list(shape)}; "
            "npool.fractional_max_pool pools any axes of any array"
        )
    if 0 in shape[-n - 1 :]:
        raise ArgumentError(
            f"{name}(): Expected input to have non-zero size for non-batch dimensions, but got "
            f"{list(shape)}: N alone may be 0"
        )
