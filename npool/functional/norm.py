"""Power-average pooling under torch's names: 1-D, 2-D, 3-D, to torch's letter.

torch computes ``(mean(x**p) * taps) ** (1/p)`` with `taps` the full window's, in steps whose
results are rounded to their type. In float32 and float64 one fold gives the same. Where the
rounding shows (float16 squares 300 to infinity; the mean of int64 is cut off) the steps are
taken one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.api import pool
from npool.arrays import described
from npool.dispatch import on_device
from npool.faces import avg_pool, max_pool, min_pool
from npool.functional.arguments import ArgumentError, Call, Sizes, check_call, refused
from npool.functional.norm_folds import norm_fold, plain_fold
from npool.values import shown

__all__ = ["lp_pool1d", "lp_pool2d", "lp_pool3d"]


def lp_pool1d(
    input: NDArray[Any],
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> NDArray[Any]:
    """p-norm of each window along the last axis, without absolute values.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, L) or (C, L), of which N alone may be 0. Any real dtype or bool.
    norm_type : int or float
        p, any number but 0. Infinity gives the largest ``|x|``, minus infinity the smallest.
    kernel_size : int or tuple of one int
        Length of the window.
    stride : int or tuple of one int, optional
        Step between windows. None and an empty tuple mean `kernel_size`.
    ceil_mode : bool
        Keep a last window that runs past the end; its sum is scaled up to a full window's.

    Returns
    -------
    numpy.ndarray
        Shape (N, C, L_out) or (C, L_out). Floats keep their dtype, rounded to it after each
        of torch's steps: power, mean, product with the window's size, root. Integers and bool
        give float32 (their own dtype for p = ±inf); with an integer `norm_type` int64 and
        bool are raised and averaged as int64, the mean cut off toward zero, as torch does.
        No absolute value is taken, so a window whose powers sum to less than zero has no
        root: NaN (but for p = 1).

    Raises
    ------
    ArgumentError
        A value or a shape is refused: both a ValueError and a RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.lp_pool : the p-norm proper, of absolute values, nothing scaled; any axes.

    Notes
    -----
    torch.nn.functional.lp_pool1d:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.lp_pool1d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import lp_pool1d
    >>> lp_pool1d(np.array([[3.0, -4.0, 6.0, 8.0]]), 2, 2)
    array([[ 5., 10.]])
    >>> lp_pool1d(np.array([[3.0, -4.0, 6.0, 8.0]]), 1, 2)
    array([[-1., 14.]])
    """
    return _lp(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: NDArray[Any],
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> NDArray[Any]:
    """p-norm of each window over the last two axes, without absolute values.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, H, W) or (C, H, W), of which N alone may be 0. Any real dtype or bool.
    norm_type : int or float
        p, any number but 0. Infinity gives the largest ``|x|``, minus infinity the smallest.
    kernel_size : int or tuple of one or two ints
        Size of the window, (kH, kW).
    stride : int or tuple of one or two ints, optional
        Step between windows. None and an empty tuple mean `kernel_size`.
    ceil_mode : bool
        Keep last windows that run past the end; their sums are scaled up to a full window's.

    Returns
    -------
    numpy.ndarray
        Shape (N, C, H_out, W_out) or (C, H_out, W_out). Dtypes and NaN are as in
        :func:`lp_pool1d`.

    Raises
    ------
    ArgumentError
        A value or a shape is refused: both a ValueError and a RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.lp_pool : the p-norm proper, of absolute values, nothing scaled; any axes.

    Notes
    -----
    torch.nn.functional.lp_pool2d:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.lp_pool2d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import lp_pool2d
    >>> lp_pool2d(np.array([[[1.0, 2.0], [2.0, 4.0]]]), 2, 2)
    array([[[5.]]])
    """
    return _lp(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: NDArray[Any],
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> NDArray[Any]:
    """p-norm of each window over the last three axes, without absolute values.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, D, H, W) or (C, D, H, W), of which N alone may be 0. Any real dtype or
        bool. Each of D, H, W must hold a whole window (torch's rule in 3-D alone).
    norm_type : int or float
        p, any number but 0. Infinity gives the largest ``|x|``, minus infinity the smallest.
    kernel_size : int or tuple of one or three ints
        Size of the window, (kD, kH, kW).
    stride : int or tuple of one or three ints, optional
        Step between windows. None and an empty tuple mean `kernel_size`.
    ceil_mode : bool
        Keep last windows that run past the end; their sums are scaled up to a full window's.

    Returns
    -------
    numpy.ndarray
        Shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out). Dtypes and NaN are as
        in :func:`lp_pool1d`.

    Raises
    ------
    ArgumentError
        A value or a shape is refused: both a ValueError and a RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.lp_pool : the p-norm proper, of absolute values, nothing scaled; any axes.

    Notes
    -----
    torch.nn.functional.lp_pool3d:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.lp_pool3d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import lp_pool3d
    >>> lp_pool3d(np.array([[[[1.0, 3.0], [3.0, 9.0]]]]), 2, (1, 2, 2))
    array([[[[10.]]]])
    """
    return _lp(3, input, norm_type, kernel_size, stride, ceil_mode)


def _lp(
    n: int,
    input: NDArray[Any],
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None,
    ceil_mode: bool,
) -> NDArray[Any]:
    dtype = described(input).dtype.newbyteorder("=")
    p = _check_norm(f"lp_pool{n}d", norm_type, dtype)
    call = check_call(
        "lp_pool", n, input, kernel_size, stride,
        ceil_mode=ceil_mode, whole_window=n == 3 and not math.isinf(p),
    )  # fmt: skip
    taps = math.prod(call.kernel_size)
    if type(input) is not np.ndarray and on_device(input):
        # Each step's rounding is the fold's there: a device's memory is read once.
        if dtype.kind == "b" and math.isinf(p):
            return call.run(max_pool if p > 0 else min_pool, input)
        with refused(call.name):
            fold = norm_fold(dtype, p, taps)
        return call.run(pool, input, reduce=fold)
    if math.isinf(p):
        return _extreme(input, p, call)
    if dtype.kind in "iub":
        if isinstance(p, int) and dtype in (np.int64, np.bool_):
            return _int64_steps(input.astype(np.int64, copy=False), p, taps, call)
        input = input.astype(np.float32)
    elif dtype.itemsize == 2:
        return _half_steps(input, float(p), taps, call)
    return call.run(pool, input, reduce=plain_fold(float(p), taps))


def _check_norm(name: str, norm_type: Any, dtype: np.dtype[Any]) -> int | float:
    """`norm_type` as a Python number, or in words why not."""
    if dtype.kind == "c":
        raise TypeError(
            f"{name} of {dtype} is not defined: pool numpy.abs(input), or its real and imaginary "
            "parts"
        )
    if isinstance(norm_type, (bool, np.bool_)) or not isinstance(
        norm_type, (int, float, np.integer, np.floating)
    ):
        raise TypeError(
            f"{name}(): argument 'norm_type' must be a number, not {type(norm_type).__name__}: "
            f"got {shown(norm_type)}, give any int or float but 0"
        )
    p = int(norm_type) if isinstance(norm_type, (int, np.integer)) else float(norm_type)
    if p == 0:
        raise ArgumentError(
            f"{name}: norm_type must not be 0, whose root 1/0 is undefined: give another "
            "number, or count with npool.pool(x != 0, ..., reduce='sum')"
        )
    whole = dtype.kind in "iub"
    if whole and isinstance(p, int) and p < 0:
        raise ArgumentError(
            f"{name}: Integers to negative integer powers are not allowed: got "
            f"norm_type={shown(p)} for {dtype} input, give {shown(p)}.0 to compute in float32"
        )
    # torch turns p into the type that it computes in.
    largest = _LARGEST["float32" if whole else dtype.name]
    if whole and isinstance(p, int):
        largest = 2**63 - 1
    if abs(p) > largest and p not in (math.inf, -math.inf):
        raise ArgumentError(
            f"{name}: norm_type={shown(p)} is past the largest power for {dtype} input, "
            f"{largest:g}: give a smaller one, or infinity for the largest |x|"
        )
    return p


_LARGEST: dict[str, float] = {
    "float16": 65504.0,
    "bfloat16": 3.38e38,
    "float32": 3.4e38,
    "float64": 1.79e308,
}


def _extreme(input: NDArray[Any], p: float, call: Call) -> NDArray[Any]:
    """The largest |x| (p = inf) or the smallest, as torch finds them by max alone.

    Integers wrap as there: |-128| of int8 is -128, and to p = -inf an unsigned 0 is the largest.
    """
    size = np.abs(input)
    if input.dtype.kind == "b":  # not torch's: bool has no negative
        return call.run(max_pool if p > 0 else min_pool, size)
    if p > 0:
        return call.run(max_pool, size)
    smallest: NDArray[Any] = np.negative(call.run(max_pool, np.negative(size)))
    return smallest


def _int64_steps(input: NDArray[Any], p: int, taps: int, call: Call) -> NDArray[Any]:
    mean = call.run(avg_pool, input**p, dtype=np.int64, rounding="trunc")
    with np.errstate(all="ignore"):
        rooted: NDArray[Any] = (mean * taps).astype(np.float32) ** np.float32(1 / p)
    return rooted


def _half_steps(input: NDArray[Any], p: float, taps: int, call: Call) -> NDArray[Any]:
    half = input.dtype.newbyteorder("=")
    with np.errstate(all="ignore"):
        mean = call.run(avg_pool, _half_power(input.astype(half, copy=False), p))
        # torch takes sign(mean) * relu(|mean|), which turns -0 to 0: so does adding 0.
        scaled = (mean.astype(np.float32) * np.float32(taps) + np.float32(0)).astype(half)
        return _half_power(scaled, 1 / p)


def _half_power(x: NDArray[Any], p: float) -> NDArray[Any]:
    """`x` to the power of `p` with every rounding that torch makes on the way."""
    float16 = x.dtype.char == "e"
    if not float16 and p in _BFLOAT16_POWERS:
        exact: NDArray[Any] = _BFLOAT16_POWERS[p](x)
        return exact
    # The exponent is rounded to the half type too: 1/3 is 0.334 in bfloat16.
    wide, exponent = x.astype(np.float32), np.float32(x.dtype.type(p))
    if abs(p) == 0.5:
        # NumPy may take a square root, which has no answer for -inf; pow's is inf.
        np.copyto(wide, np.float32(np.inf), where=np.isneginf(wide))
    return np.power(wide, exponent).astype(x.dtype)


# torch raises bfloat16, but not float16, to these powers by products and roots, and rounds so.
_BFLOAT16_POWERS: dict[float, Callable[[Any], Any]] = {
    3.0: lambda x: x * x * x,
    0.5: np.sqrt,
    -0.5: lambda x: np.reciprocal(np.sqrt(x.astype(np.float32))).astype(x.dtype),
    -2.0: lambda x: np.reciprocal(x * x),
}
