"""Max pooling under torch's names: 1-D, 2-D, 3-D, with and without positions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool.dispatch import on_device
from npool.faces import max_pool
from npool.functional.arguments import Call, Sizes, check_call
from npool.geometry import Plan, Window

__all__ = [
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "put_beginnings",
]


def max_pool1d(
    input: NDArray[Any],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Largest element of each window along the last axis.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, L) or (C, L), of which N alone may be 0. Any real dtype or bool.
    kernel_size : int or tuple of one int
        Length of the window.
    stride : int or tuple of one int, optional
        Step between windows. None and an empty tuple mean `kernel_size`.
    padding : int or tuple of one int
        Added at both ends; never wins. At most half of `kernel_size`.
    dilation : int or tuple of one int
        Distance between the taps of a window.
    ceil_mode : bool
        Keep a last window that runs past the end.
    return_indices : bool
        Also give the position of each maximum.

    Returns
    -------
    numpy.ndarray, or a tuple of two
        Shape (N, C, L_out) or (C, L_out), the dtype of `input`; with `return_indices` also
        the int64 positions on the last axis. NaN wins; of equal elements the first does. A
        window of padding alone (`dilation` can make one) gives -inf, an integer type's
        minimum or False, and the position of its first tap that is not negative, which lies
        outside the input.

    Raises
    ------
    ArgumentError
        A value or a shape is refused: both a ValueError and a RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.max_pool : any axes, any padding.

    Notes
    -----
    torch.nn.functional.max_pool1d:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool1d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import max_pool1d
    >>> x = np.array([[1.0, 5.0, 2.0, 4.0, 3.0]])
    >>> max_pool1d(x, 2)
    array([[5., 4.]])
    >>> max_pool1d(x, 3, stride=2, padding=1, return_indices=True)
    (array([[5., 5., 4.]]), array([[1, 1, 3]]))
    """
    call = check_call("max_pool", 1, input, kernel_size, stride, padding, dilation, ceil_mode)
    return _max(input, call, return_indices)


def max_pool2d(
    input: NDArray[Any],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Largest element of each window over the last two axes.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, H, W) or (C, H, W), of which N alone may be 0. Any real dtype or bool.
    kernel_size : int or tuple of one or two ints
        Size of the window, (kH, kW).
    stride : int or tuple of one or two ints, optional
        Step between windows. None and an empty tuple mean `kernel_size`.
    padding : int or tuple of one or two ints
        Added on both sides; never wins. At most half of `kernel_size`.
    dilation : int or tuple of one or two ints
        Distance between the taps of a window.
    ceil_mode : bool
        Keep last windows that run past the end.
    return_indices : bool
        Also give the position of each maximum.

    Returns
    -------
    numpy.ndarray, or a tuple of two
        Shape (N, C, H_out, W_out) or (C, H_out, W_out), the dtype of `input`; with
        `return_indices` also the int64 positions ``row * W + column`` in the plane. Ties,
        NaN and windows of padding alone are as in :func:`max_pool1d`.

    Raises
    ------
    ArgumentError
        A value or a shape is refused: both a ValueError and a RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.max_pool : any axes, any padding.

    Notes
    -----
    torch.nn.functional.max_pool2d:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool2d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import max_pool2d
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> max_pool2d(x, 3, stride=2, padding=1)
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    >>> max_pool2d(x, (4, 2), return_indices=True)[1]
    array([[[[13, 15]]]])
    """
    call = check_call("max_pool", 2, input, kernel_size, stride, padding, dilation, ceil_mode)
    return _max(input, call, return_indices)


def max_pool3d(
    input: NDArray[Any],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Largest element of each window over the last three axes.

    Parameters
    ----------
    input : numpy.ndarray
        Shape (N, C, D, H, W) or (C, D, H, W), of which N alone may be 0. Any real dtype or
        bool.
    kernel_size : int or tuple of one or three ints
        Size of the window, (kD, kH, kW).
    stride : int or tuple of one or three ints, optional
        Step between windows. None and an empty tuple mean `kernel_size`.
    padding : int or tuple of one or three ints
        Added on both sides; never wins. At most half of `kernel_size`.
    dilation : int or tuple of one or three ints
        Distance between the taps of a window.
    ceil_mode : bool
        Keep last windows that run past the end.
    return_indices : bool
        Also give the position of each maximum.

    Returns
    -------
    numpy.ndarray, or a tuple of two
        Shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out), the dtype of `input`;
        with `return_indices` also the int64 positions ``(slice * H + row) * W + column``.
        Ties, NaN and windows of padding alone are as in :func:`max_pool1d`.

    Raises
    ------
    ArgumentError
        A value or a shape is refused: both a ValueError and a RuntimeError.
    TypeError
        An argument or the dtype is of a wrong type.

    See Also
    --------
    npool.max_pool : any axes, any padding.

    Notes
    -----
    torch.nn.functional.max_pool3d:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool3d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import max_pool3d
    >>> x = np.arange(27.0).reshape(1, 3, 3, 3)
    >>> max_pool3d(x, 2)
    array([[[[13.]]]])
    >>> max_pool3d(x, (1, 3, 3), return_indices=True)[1].ravel()
    array([ 8, 17, 26])
    """
    call = check_call("max_pool", 3, input, kernel_size, stride, padding, dilation, ceil_mode)
    return _max(input, call, return_indices)


def max_pool1d_with_indices(
    input: NDArray[Any],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """:func:`max_pool1d` that gives the positions whatever `return_indices` is, as torch's.

    Parameters
    ----------
    input, kernel_size, stride, padding, dilation, ceil_mode
        As for :func:`max_pool1d`.
    return_indices : bool
        Not read.

    Returns
    -------
    values, indices : numpy.ndarray
        Each of shape (N, C, L_out) or (C, L_out); `indices` is int64.

    Raises
    ------
    ArgumentError, TypeError
        As for :func:`max_pool1d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool1d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import max_pool1d_with_indices
    >>> max_pool1d_with_indices(np.array([[3, 7, 7, 1]]), 4)
    (array([[7]]), array([[1]]))
    """
    call = check_call("max_pool", 1, input, kernel_size, stride, padding, dilation, ceil_mode)
    return _max_and_positions(input, call)


def max_pool2d_with_indices(
    input: NDArray[Any],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """:func:`max_pool2d` that gives the positions whatever `return_indices` is, as torch's.

    Parameters
    ----------
    input, kernel_size, stride, padding, dilation, ceil_mode
        As for :func:`max_pool2d`.
    return_indices : bool
        Not read.

    Returns
    -------
    values, indices : numpy.ndarray
        Each of shape (N, C, H_out, W_out) or (C, H_out, W_out); `indices` is int64.

    Raises
    ------
    ArgumentError, TypeError
        As for :func:`max_pool2d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool2d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import max_pool2d_with_indices
    >>> max_pool2d_with_indices(np.array([[[3, 7], [9, 1]]]), 2)
    (array([[[9]]]), array([[[2]]]))
    """
    call = check_call("max_pool", 2, input, kernel_size, stride, padding, dilation, ceil_mode)
    return _max_and_positions(input, call)


def max_pool3d_with_indices(
    input: NDArray[Any],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """:func:`max_pool3d` that gives the positions whatever `return_indices` is, as torch's.

    Parameters
    ----------
    input, kernel_size, stride, padding, dilation, ceil_mode
        As for :func:`max_pool3d`.
    return_indices : bool
        Not read.

    Returns
    -------
    values, indices : numpy.ndarray
        Each of shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out); `indices` is
        int64.

    Raises
    ------
    ArgumentError, TypeError
        As for :func:`max_pool3d`.

    Notes
    -----
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool3d.html

    Examples
    --------
    >>> import numpy as np
    >>> from npool.functional import max_pool3d_with_indices
    >>> max_pool3d_with_indices(np.array([[[[3, 7], [9, 1]]]]), (1, 2, 2))
    (array([[[[9]]]]), array([[[[2]]]]))
    """
    call = check_call("max_pool", 3, input, kernel_size, stride, padding, dilation, ceil_mode)
    return _max_and_positions(input, call)


def _max(input: NDArray[Any], call: Call, return_indices: bool) -> Any:
    # torch takes any object for return_indices, by its truth.
    if return_indices:
        return _max_and_positions(input, call)
    return call.run(max_pool, input)


def _max_and_positions(input: NDArray[Any], call: Call) -> tuple[NDArray[Any], NDArray[np.int64]]:
    if call.plan.has_empty and on_device(input):
        raise TypeError(
            f"{call.name}: a window lies wholly in the padding, and where torch says that it "
            "begins has no kernel for CUDA devices: use less padding, or npool.max_pool"
        )
    values, indices = call.run(max_pool, input, return_indices=True)
    put_beginnings(indices, call.plan)
    return values, indices


def put_beginnings(indices: NDArray[Any], plan: Plan) -> None:
    """Replace -1, by which npool says that a window has no element, by where torch begins it."""
    if plan.has_empty:
        np.copyto(indices, _beginnings(plan), where=indices < 0)


def _beginnings(plan: Plan) -> NDArray[np.int64]:
    """Flat position, for each window, of its first tap that is not negative on every axis."""
    flat = np.zeros((), np.int64)
    for window in plan.windows:
        flat = flat[..., None] * window.size + _first_taps(window)
    return flat


def _first_taps(window: Window) -> NDArray[np.int64]:
    starts = np.arange(window.out, dtype=np.int64) * window.stride - window.before
    steps = np.maximum(0, -(starts // window.dilation))
    first: NDArray[np.int64] = starts + steps * window.dilation
    return first
