"""Average pooling under torch's names: 1-D, 2-D, 3-D."""

from __future__ import annotations

from typing import Any, SupportsIndex

from numpy.typing import NDArray

from npool.arrays import described
from npool.faces import avg_pool
from npool.functional.arguments import Call, Sizes, check_call, check_flag

__all__ = ["avg_pool1d", "avg_pool2d", "avg_pool3d"]


def avg_pool1d(
    input: NDArray[Any],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> NDArray[Any]:
    """Mean of each window along the last axis.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, L) or (C, L), of which N alone may be 0. Any supported dtype.
    kernel_size : int or tuple of one int
        Length of the window.
    stride : int or tuple of one int, optional
        Step between windows. None and an empty tuple mean `kernel_size`.
    padding : int or tuple of one int
        Zeros added at both ends. At most half of `kernel_size`.
    ceil_mode : bool
        Keep a last window that runs past the end.
    count_include_pad : bool
        Divide by the taps in the input and its padding, or by those in the input alone.

    Returns
    -------
    numpy.ndarray
        Shape (N, C, L_out) or (C, L_out). Floats and complex keep their dtype. Integers do
        too, the mean cut off toward zero as torch does for int64, the only integer type it
        averages (the sum is exact here and may wrap there). bool, which torch refuses, gives
        float64.

    Raises
    ------
    ArgumentError
        A value or a shape is refused: both a ValueError and a RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.avg_pool : any axes, any padding, dilation, float64 means of integers.

    Notes
    -----
    torch.nn.functional.avg_pool1d:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool1d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import avg_pool1d
    >>> avg_pool1d(np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]), 3, stride=2)
    array([[2., 4., 6.]])
    >>> avg_pool1d(np.array([[-3, 0, 3, 4]]), 2)
    array([[-1,  3]])
    """
    call = check_call("avg_pool", 1, input, kernel_size, stride, padding, ceil_mode=ceil_mode)
    return _avg(input, call, count_include_pad, None)


def avg_pool2d(
    input: NDArray[Any],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: SupportsIndex | None = None,
) -> NDArray[Any]:
    """Mean of each window over the last two axes.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, H, W) or (C, H, W), of which N alone may be 0. Any supported dtype.
    kernel_size : int or tuple of one or two ints
        Size of the window, (kH, kW).
    stride : int or tuple of one or two ints, optional
        Step between windows. None and an empty tuple mean `kernel_size`.
    padding : int or tuple of one or two ints
        Zeros added on both sides. At most half of `kernel_size`.
    ceil_mode : bool
        Keep last windows that run past the end.
    count_include_pad : bool
        Divide by the taps in the input and its padding, or by those in the input alone.
    divisor_override : int, optional
        Divide by this number instead; any but 0.

    Returns
    -------
    numpy.ndarray
        Shape (N, C, H_out, W_out) or (C, H_out, W_out). The dtypes are those of
        :func:`avg_pool1d`.

    Raises
    ------
    ArgumentError
        A value or a shape is refused: both a ValueError and a RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.avg_pool : any axes, any padding, dilation, float64 means of integers.

    Notes
    -----
    torch.nn.functional.avg_pool2d:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool2d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import avg_pool2d
    >>> x = np.arange(16.0).reshape(1, 4, 4)
    >>> avg_pool2d(x, 2)
    array([[[ 2.5,  4.5],
            [10.5, 12.5]]])
    >>> avg_pool2d(x, 3, stride=3, padding=1, count_include_pad=False)
    array([[[ 2.5,  4.5],
            [10.5, 12.5]]])
    >>> avg_pool2d(x, 4, divisor_override=2)
    array([[[60.]]])
    """
    call = check_call(
        "avg_pool", 2, input, kernel_size, stride, padding,
        ceil_mode=ceil_mode, divisor_override=divisor_override,
    )  # fmt: skip
    return _avg(input, call, count_include_pad, divisor_override)


def avg_pool3d(
    input: NDArray[Any],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: SupportsIndex | None = None,
) -> NDArray[Any]:
    """Mean of each window over the last three axes.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, D, H, W) or (C, D, H, W), of which N alone may be 0. Any supported dtype.
        Each of D, H, W must hold a whole window (torch's rule in 3-D alone).
    kernel_size : int or tuple of one or three ints
        Size of the window, (kD, kH, kW).
    stride : int or tuple of one or three ints, optional
        Step between windows. None and an empty tuple mean `kernel_size`.
    padding : int or tuple of one or three ints
        Zeros added on both sides. At most half of `kernel_size`.
    ceil_mode : bool
        Keep last windows that run past the end.
    count_include_pad : bool
        Divide by the taps in the input and its padding, or by those in the input alone.
    divisor_override : int, optional
        Divide by this number instead; any but 0.

    Returns
    -------
    numpy.ndarray
        Shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out). The dtypes are those
        of :func:`avg_pool1d`.

    Raises
    ------
    ArgumentError
        A value or a shape is refused: both a ValueError and a RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.avg_pool : any axes, any padding, dilation, float64 means of integers.

    Notes
    -----
    torch.nn.functional.avg_pool3d:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool3d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import avg_pool3d
    >>> x = np.arange(16.0).reshape(1, 2, 2, 4)
    >>> avg_pool3d(x, 2)
    array([[[[6.5, 8.5]]]])
    """
    call = check_call(
        "avg_pool", 3, input, kernel_size, stride, padding,
        ceil_mode=ceil_mode, divisor_override=divisor_override, whole_window=True,
    )  # fmt: skip
    return _avg(input, call, count_include_pad, divisor_override)


def _avg(
    input: NDArray[Any], call: Call, count_include_pad: bool, divisor: SupportsIndex | None
) -> NDArray[Any]:
    options: dict[str, Any] = {
        "count_include_pad": check_flag(call.name, "count_include_pad", count_include_pad),
        "divisor_override": divisor,
    }
    dtype = described(input).dtype
    if dtype.kind in "iu":
        options.update(dtype=dtype.newbyteorder("="), rounding="trunc")
    return call.run(avg_pool, input, **options)
