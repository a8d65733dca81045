"""torch's rules on the arguments of its pooling functions, and its errors.

torch accepts less than npool does: channels-first input alone, one padding for both sides, at
most half a window of it. Code that moves over meets the same limits here, in words that hold
torch's own phrase. The geometry itself is :mod:`npool.geometry`'s.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import NDArray

from npool.arrays import described
from npool.geometry import Plan, Sizes, make_plan
from npool.values import is_sequence, shown

__all__ = [
    "ArgumentError",
    "Call",
    "Sizes",
    "check_arguments",
    "check_call",
    "check_divisor",
    "check_flag",
    "check_shape",
    "refused",
    "sizes_of",
]

Pooled = TypeVar("Pooled")

_WORDS = {1: "a tuple of one int", 2: "a tuple of two ints", 3: "a tuple of three ints"}
_SPATIAL = {1: "L", 2: "H, W", 3: "D, H, W"}


class ArgumentError(ValueError, RuntimeError):
    """A value or a shape that torch's function of this name refuses too.

    torch raises RuntimeError where npool's rule is ValueError. This is both, so that
    ``except RuntimeError`` in ported code goes on working.

    Examples
    --------
    >>> import numpy as np
    >>> from npool import functional as F
    >>> try:
    ...     F.max_pool1d(np.ones((1, 4)), kernel_size=0)
    ... except RuntimeError as error:
    ...     print(isinstance(error, ValueError))
    True
    """


@contextmanager
def refused(name: str) -> Iterator[None]:
    """Within it, what npool refuses by a ValueError is an ArgumentError of the function `name`."""
    try:
        yield
    except ArgumentError:
        raise
    except ValueError as error:
        raise ArgumentError(f"{name}: {error}") from None


@dataclass(frozen=True, slots=True)
class Call:
    """The checked arguments of one call, each a tuple with one entry per spatial axis."""

    name: str
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil_mode: bool
    axes: tuple[int, ...]
    plan: Plan

    def run(self, pool: Callable[..., Pooled], input: NDArray[Any], **options: Any) -> Pooled:
        """Call `pool`, one of npool's own functions, with these arguments and `options`.

        Raises
        ------
        ArgumentError
            Where `pool` raises ValueError: a result larger than the memory, say.
        TypeError
            For a dtype that `pool` does not take.
        """
        try:
            return pool(
                input,
                kernel_size=self.kernel_size,
                stride=self.stride,
                padding=self.padding,
                dilation=self.dilation,
                ceil_mode=self.ceil_mode,
                axes=self.axes,
                **options,
            )
        except ValueError as error:
            raise ArgumentError(f"{self.name}: {error}") from None


def check_call(
    op: str,
    n: int,
    input: NDArray[Any],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    divisor_override: SupportsIndex | None = None,
    *,
    whole_window: bool = False,
) -> Call:
    """Check the arguments of a call, such as one of ``max_pool2d``, as torch does.

    Parameters
    ----------
    op : str
        The function's name without its rank, such as ``"max_pool"``.
    n : int
        The number of spatial axes: 1, 2 or 3.
    input, kernel_size, stride, padding, dilation, ceil_mode, divisor_override
        The function's arguments, as they came.
    whole_window : bool
        Whether a window without its padding must fit the input.

    Raises
    ------
    ArgumentError
        A value or a shape is refused (a ValueError and a RuntimeError).
    TypeError
        An argument has the wrong type.
    """
    shape = described(input).shape
    return check_arguments(
        op, n, shape, kernel_size, stride, padding, dilation, ceil_mode, divisor_override,
        whole_window=whole_window,
    )  # fmt: skip


def check_arguments(
    op: str,
    n: int,
    shape: tuple[int, ...],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    divisor_override: SupportsIndex | None = None,
    *,
    whole_window: bool = False,
) -> Call:
    """:func:`check_call` for an input that is known by its shape alone.

    Raises
    ------
    ArgumentError, TypeError
        As :func:`check_call`.
    """
    name = f"{op}{n}d"
    kernels = sizes_of(name, "kernel_size", kernel_size, n)
    # An empty stride is torch's own way to say None.
    strides = sizes_of(name, "stride", stride, n, default=kernels)
    paddings = sizes_of(name, "padding", padding, n)
    dilations = sizes_of(name, "dilation", dilation, n)
    ceil_mode = check_flag(name, "ceil_mode", ceil_mode)
    check_divisor(name, divisor_override)
    return _checked(op, shape, kernels, strides, paddings, dilations, ceil_mode, whole_window)


def check_flag(name: str, what: str, value: Any) -> bool:
    """`value` as a bool; TypeError for anything but True and False, as torch has it."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise TypeError(
        f"{name}(): argument '{what}' must be bool, not {type(value).__name__}: "
        f"got {shown(value)}, give True or False"
    )


def check_divisor(name: str, value: Any) -> None:
    """Refuse a `divisor_override` that is not None or an integer other than 0.

    Raises
    ------
    ArgumentError, TypeError
    """
    if value is None:
        return
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(
            f"{name}(): argument 'divisor_override' must be int, not {type(value).__name__}: "
            f"got {shown(value)}, give an integer other than 0, or None"
        )
    if operator.index(value) == 0:
        raise ArgumentError(
            f"{name}: divisor must be not zero: got divisor_override={value}, give another "
            "integer, or None to divide by the size of the window"
        )


def sizes_of(
    name: str, what: str, value: Any, n: int, default: tuple[int, ...] | None = None
) -> tuple[int, ...]:
    """`value` as n ints; `default` where it is None or empty.

    Raises
    ------
    ArgumentError, TypeError
    """
    if type(value) is int:  # the common case
        return (value,) * n
    if value is None and default is not None:
        return default
    if hasattr(value, "__index__") and not getattr(value, "ndim", 0):
        return (_size(name, what, value, value, n),) * n
    if not is_sequence(value):
        raise _not_ints(name, what, value, n)
    if not len(value) and default is not None:
        return default
    if len(value) not in (1, n):
        raise ArgumentError(
            f"{name}: {what} must either be a single int, or {_WORDS[n]}: got {shown(value)}, "
            f"which has {len(value)} entries"
        )
    sizes = tuple(_size(name, what, entry, value, n) for entry in value)
    return sizes if len(sizes) == n else sizes * n


def _size(name: str, what: str, entry: Any, value: Any, n: int) -> int:
    if isinstance(entry, (bool, np.bool_)):
        raise _not_ints(name, what, value, n)
    try:
        return operator.index(entry)
    except TypeError:
        raise _not_ints(name, what, value, n) from None


def _not_ints(name: str, what: str, value: Any, n: int) -> TypeError:
    return TypeError(
        f"{name}(): argument '{what}' must be tuple of ints, not {type(value).__name__}: "
        f"got {shown(value)}, give a single int or {_WORDS[n]}"
    )


# Checking costs more than pooling a small image; the arguments of a call seldom change.
@lru_cache(maxsize=1024)
def _checked(
    op: str,
    shape: tuple[int, ...],
    kernels: tuple[int, ...],
    strides: tuple[int, ...],
    paddings: tuple[int, ...],
    dilations: tuple[int, ...],
    ceil_mode: bool,
    whole_window: bool,
) -> Call:
    n = len(kernels)
    name = f"{op}{n}d"
    _check_values(op, kernels, strides, paddings, dilations)
    check_shape(op, n, shape)
    if whole_window:
        _check_whole_window(op, shape, kernels)
    _check_fit(op, shape, kernels, strides, paddings, dilations, ceil_mode)
    axes = tuple(range(-n, 0))
    try:
        plan = make_plan(shape, kernels, strides, paddings, dilations, ceil_mode, axes)
    except ValueError as error:
        raise ArgumentError(f"{name}: {error}") from None
    return Call(name, kernels, strides, paddings, dilations, ceil_mode, axes, plan)


def _check_values(
    op: str,
    kernels: tuple[int, ...],
    strides: tuple[int, ...],
    paddings: tuple[int, ...],
    dilations: tuple[int, ...],
) -> None:
    name = f"{op}{len(kernels)}d"
    for what, sizes in (("kernel_size", kernels), ("stride", strides), ("dilation", dilations)):
        if min(sizes) < 1:
            raise ArgumentError(
                f"{name}: {what} must be greater than zero, but got {shown(min(sizes))}: "
                f"{what}={_shown(sizes)} needs every entry to be 1 or more"
            )
    everything = f"padding={_shown(paddings)} and kernel_size={_shown(kernels)}"
    for pad, kernel, dilation in zip(paddings, kernels, dilations, strict=True):
        if pad < 0:
            raise ArgumentError(
                f"{name}: pad must be non-negative, but got pad: {shown(pad)} (padding="
                f"{_shown(paddings)}): give 0 or more; to pool less of the input, slice it"
            )
        if pad <= kernel // 2:
            continue
        # torch checks twice, in other words: first half of the dilated window, then half of
        # the window without its dilation, which is never more.
        if pad > (dilation * (kernel - 1) + 1) // 2:
            phrase = "pad should be at most half of effective kernel size"
        else:
            phrase = "pad should be smaller than or equal to half of kernel size"
        raise ArgumentError(
            f"{name}: {phrase}, but got pad={shown(pad)}, kernel_size={shown(kernel)} and "
            f"dilation={shown(dilation)} (of {everything}): give at most {shown(kernel // 2)}; "
            f"npool.{op} takes any padding"
        )


def check_shape(op: str, n: int, shape: tuple[int, ...]) -> None:
    """Refuse a shape other than (C, *spatial) or (N, C, *spatial), or empty but for N.

    Raises
    ------
    ArgumentError
    """
    name = f"{op}{n}d"
    ranks = f"{n + 1}D or {n + 2}D"
    forms = (
        f"give an array of shape (C, {_SPATIAL[n]}) or (N, C, {_SPATIAL[n]}) in which N alone "
        f"may be 0; npool.{op} pools any axes of any array"
    )
    if len(shape) not in (n + 1, n + 2):
        expected = (
            f"non-empty {ranks} (batch mode) tensor expected for input"
            if n == 3
            else f"Expected {ranks} (batch mode) tensor with optional 0 dim batch size for input"
        )
        raise ArgumentError(f"{name}: {expected}, but got: {list(shape)}: {forms}")
    if 0 in shape[-n - 1 :]:
        expected = (
            "Expected input's non-batch dimensions to have positive length"
            if n == 3
            else f"Expected {ranks} (batch mode) tensor with optional 0 dim batch size for input"
        )
        raise ArgumentError(f"{name}: {expected}, but got: {list(shape)}: {forms}")


def _check_whole_window(op: str, shape: tuple[int, ...], kernels: tuple[int, ...]) -> None:
    # torch's avg_pool3d and lp_pool3d, alone among their kin, do not count the padding.
    spatial = shape[-3:]
    if any(length < kernel for length, kernel in zip(spatial, kernels, strict=True)):
        given = " ".join(f"{d}: {length}" for d, length in zip("THW", spatial, strict=True))
        wanted = " ".join(f"k{d}: {shown(k)}" for d, k in zip("THW", kernels, strict=True))
        raise ArgumentError(
            f"{op}3d: input image ({given}) smaller than kernel size ({wanted}): give a smaller "
            f"kernel_size; npool.{op} counts the padding as input"
        )


def _check_fit(
    op: str,
    shape: tuple[int, ...],
    kernels: tuple[int, ...],
    strides: tuple[int, ...],
    paddings: tuple[int, ...],
    dilations: tuple[int, ...],
    ceil_mode: bool,
) -> None:
    n = len(kernels)
    name = f"{op}{n}d"
    spatial = shape[-n:]
    extents = [d * (k - 1) + 1 for d, k in zip(dilations, kernels, strict=True)]
    outs = [
        (length + 2 * pad - extent + (stride - 1 if ceil_mode else 0)) // stride + 1
        for length, pad, extent, stride in zip(spatial, paddings, extents, strides, strict=True)
    ]
    if min(outs) >= 1:
        return
    too_small = (
        f"Invalid computed output size: {shown(outs[0])}, Output size is too small"
        if n == 1
        else f"Calculated output size: ({_cross((shape[-n - 1], *outs))}). Output size is too small"
    )
    raise ArgumentError(
        f"{name}: Given input size: ({_cross(shape[-n - 1 :])}). {too_small}: the window covers "
        f"{_shown(extents)} of the input's {_shown(spatial)} with padding {_shown(paddings)}: "
        "give a smaller kernel_size or dilation"
    )


def _cross(sizes: Sequence[int]) -> str:
    return "x".join(map(shown, sizes))


def _shown(sizes: Sequence[int]) -> str:
    return shown(sizes[0] if len(sizes) == 1 else tuple(sizes))
