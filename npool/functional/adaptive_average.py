"""Adaptive averages under torch's names: results of a given size, in 1-D, 2-D, 3-D."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from npool.adaptive import adaptive_avg_pool
from npool.arrays import described
from npool.bins import Targets
from npool.functional.adaptive import check_adaptive
from npool.functional.arguments import refused

__all__ = ["adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"]


def adaptive_avg_pool1d(input: NDArray[Any], output_size: Targets) -> NDArray[Any]:
    """Mean of each of `output_size` bins along the last axis.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, L) or (C, L), of which N and C may be 0. Any supported dtype.
    output_size : int or tuple of one int
        Length of the result, 0 or more.

    Returns
    -------
    numpy.ndarray
        Shape (N, C, L_out) or (C, L_out). The dtype of `input`; integers, which torch
        does not take here, are cut off toward zero as in :func:`avg_pool1d`.

    Raises
    ------
    ArgumentError
        A value or a shape is refused: both a ValueError and a RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.adaptive_avg_pool : any axes, float64 means of integers.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_avg_pool1d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import adaptive_avg_pool1d
    >>> adaptive_avg_pool1d(np.array([[1.0, 2.0, 3.0, 4.0, 5.0]]), 2)
    array([[2., 4.]])
    """
    return _avg(1, input, output_size)


def adaptive_avg_pool2d(input: NDArray[Any], output_size: Targets) -> NDArray[Any]:
    """Mean of each of `output_size` bins over the last two axes.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, H, W) or (C, H, W), of which N and C may be 0. Any supported dtype.
    output_size : int or tuple of two ints or None
        Lengths of the result, (H_out, W_out), 0 or more each. None keeps an axis as long as it
        is.

    Returns
    -------
    numpy.ndarray
        Shape (N, C, H_out, W_out) or (C, H_out, W_out). The dtype of `input`; integers, which
        torch does not take here, are cut off toward zero as in :func:`avg_pool2d`.

    Raises
    ------
    ArgumentError
        A value or a shape is refused: both a ValueError and a RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.adaptive_avg_pool : any axes, float64 means of integers.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_avg_pool2d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import adaptive_avg_pool2d
    >>> adaptive_avg_pool2d(np.arange(12.0).reshape(1, 3, 4), (1, None))
    array([[[4., 5., 6., 7.]]])
    """
    return _avg(2, input, output_size)


def adaptive_avg_pool3d(input: NDArray[Any], output_size: Targets) -> NDArray[Any]:
    """Mean of each of `output_size` bins over the last three axes.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, D, H, W) or (C, D, H, W), of which N alone may be 0. Any supported dtype.
    output_size : int or tuple of three ints or None
        Lengths of the result, (D_out, H_out, W_out), 0 or more each. None keeps an axis as long
        as it is.

    Returns
    -------
    numpy.ndarray
        Shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out). The dtype of `input`;
        integers, which torch does not take here, are cut off toward zero as in
        :func:`avg_pool3d`.

    Raises
    ------
    ArgumentError
        A value or a shape is refused: both a ValueError and a RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.adaptive_avg_pool : any axes, float64 means of integers.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_avg_pool3d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import adaptive_avg_pool3d
    >>> adaptive_avg_pool3d(np.arange(16.0).reshape(1, 2, 2, 4), 1)
    array([[[[7.5]]]])
    """
    return _avg(3, input, output_size)


def _avg(n: int, input: NDArray[Any], output_size: Targets) -> NDArray[Any]:
    name = f"adaptive_avg_pool{n}d"
    sizes = check_adaptive(name, n, input, output_size, n if n < 3 else n + 1)
    options: dict[str, Any] = {}
    dtype = described(input).dtype
    if dtype.kind in "iu":
        options.update(dtype=dtype.newbyteorder("="), rounding="trunc")
    with refused(name):
        return adaptive_avg_pool(input, sizes, axes=tuple(range(-n, 0)), **options)
