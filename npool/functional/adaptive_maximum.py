"""Adaptive maxima under torch's names: results of a given size, in 1-D, 2-D, 3-D."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.adaptive import adaptive_max_pool
from npool.bins import Targets
from npool.functional.adaptive import check_adaptive
from npool.functional.arguments import refused

__all__ = [
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
]


def adaptive_max_pool1d(
    input: NDArray[Any], output_size: Targets, return_indices: bool = False
) -> Any:
    """Largest element of each of `output_size` bins along the last axis.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, L) or (C, L), of which the first may be 0. Any real dtype or
        bool.
    output_size : int or tuple of one int
        Length of the result, 0 or more.
    return_indices : bool
        Also return where each maximum is.

    Returns
    -------
    numpy.ndarray, or a pair of them with `return_indices`
        Shape (N, C, L_out) or (C, L_out), of the dtype of `input`; and positions, int64,
        as :func:`max_pool1d` gives them.

    Raises
    ------
    ArgumentError
        A value or a shape is refused: both a ValueError and a RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.adaptive_max_pool : any axes.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool1d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import adaptive_max_pool1d
    >>> adaptive_max_pool1d(np.array([[1, 5, 3, 4, 2]]), 2, return_indices=True)
    (array([[5, 4]]), array([[1, 3]]))
    """
    return _max(1, input, output_size, bool(return_indices))


def adaptive_max_pool1d_with_indices(
    input: NDArray[Any], output_size: Targets, return_indices: bool = False
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """:func:`adaptive_max_pool1d` that gives the positions whatever `return_indices` is.

    Parameters
    ----------
    input, output_size
        As for :func:`adaptive_max_pool1d`.
    return_indices : bool
        Not read.

    Returns
    -------
    values, indices : numpy.ndarray
        As those of :func:`adaptive_max_pool1d`.

    Raises
    ------
    ArgumentError, TypeError
        As for :func:`adaptive_max_pool1d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool1d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import adaptive_max_pool1d_with_indices
    >>> adaptive_max_pool1d_with_indices(np.array([[3, 7, 9]]), 1)
    (array([[9]]), array([[2]]))
    """
    both: tuple[NDArray[Any], NDArray[np.int64]] = _max(1, input, output_size, True)
    return both


def adaptive_max_pool2d(
    input: NDArray[Any], output_size: Targets, return_indices: bool = False
) -> Any:
    """Largest element of each of `output_size` bins over the last two axes.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, H, W) or (C, H, W), of which the first may be 0. Any real dtype or
        bool.
    output_size : int or tuple of two ints or None
        Lengths of the result, (H_out, W_out), 0 or more each. None keeps an axis as long as it
        is.
    return_indices : bool
        Also return where each maximum is.

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
    npool.adaptive_max_pool : any axes.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool2d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import adaptive_max_pool2d
    >>> adaptive_max_pool2d(np.arange(12).reshape(1, 3, 4), (2, 2))
    array([[[ 5,  7],
            [ 9, 11]]])
    """
    return _max(2, input, output_size, bool(return_indices))


def adaptive_max_pool2d_with_indices(
    input: NDArray[Any], output_size: Targets, return_indices: bool = False
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """:func:`adaptive_max_pool2d` that gives the positions whatever `return_indices` is.

    Parameters
    ----------
    input, output_size
        As for :func:`adaptive_max_pool2d`.
    return_indices : bool
        Not read.

    Returns
    -------
    values, indices : numpy.ndarray
        As those of :func:`adaptive_max_pool2d`.

    Raises
    ------
    ArgumentError, TypeError
        As for :func:`adaptive_max_pool2d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool2d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import adaptive_max_pool2d_with_indices
    >>> adaptive_max_pool2d_with_indices(np.array([[[3, 7, 9]]]), 1)
    (array([[[9]]]), array([[[2]]]))
    """
    both: tuple[NDArray[Any], NDArray[np.int64]] = _max(2, input, output_size, True)
    return both


def adaptive_max_pool3d(
    input: NDArray[Any], output_size: Targets, return_indices: bool = False
) -> Any:
    """Largest element of each of `output_size` bins over the last three axes.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, D, H, W) or (C, D, H, W), of which the first may be 0. Any real dtype or
        bool.
    output_size : int or tuple of three ints or None
        Lengths of the result, (D_out, H_out, W_out), 0 or more each. None keeps an axis as long
        as it is.
    return_indices : bool
        Also return where each maximum is.

    Returns
    -------
    numpy.ndarray, or a pair of them with `return_indices`
        Shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out), of the dtype of `input`;
        and positions, int64, as :func:`max_pool3d` gives them.

    Raises
    ------
    ArgumentError
        A value or a shape is refused: both a ValueError and a RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.adaptive_max_pool : any axes.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool3d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import adaptive_max_pool3d
    >>> adaptive_max_pool3d(np.arange(16).reshape(1, 2, 2, 4), (1, None, 1))
    array([[[[11],
             [15]]]])
    """
    return _max(3, input, output_size, bool(return_indices))


def adaptive_max_pool3d_with_indices(
    input: NDArray[Any], output_size: Targets, return_indices: bool = False
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """:func:`adaptive_max_pool3d` that gives the positions whatever `return_indices` is.

    Parameters
    ----------
    input, output_size
        As for :func:`adaptive_max_pool3d`.
    return_indices : bool
        Not read.

    Returns
    -------
    values, indices : numpy.ndarray
        As those of :func:`adaptive_max_pool3d`.

    Raises
    ------
    ArgumentError, TypeError
        As for :func:`adaptive_max_pool3d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool3d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import adaptive_max_pool3d_with_indices
    >>> adaptive_max_pool3d_with_indices(np.array([[[[3, 7, 9]]]]), 1)
    (array([[[[9]]]]), array([[[[2]]]]))
    """
    both: tuple[NDArray[Any], NDArray[np.int64]] = _max(3, input, output_size, True)
    return both


def _max(n: int, input: NDArray[Any], output_size: Targets, return_indices: bool) -> Any:
    name = f"adaptive_max_pool{n}d"
    sizes = check_adaptive(name, n, input, output_size, n + 1)
    with refused(name):
        return adaptive_max_pool(
            input, sizes, axes=tuple(range(-n, 0)), return_indices=return_indices
        )
