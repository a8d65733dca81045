"""Every rule on shapes: windows, padding, dilation, ceil mode, SAME, divisors.

Pure Python integers, which never wrap; no NumPy and no Numba. The result is a
frozen, cached :class:`Plan`, the only thing that engines know of a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import gcd, prod
from typing import Any, SupportsIndex

from npool.values import integer, is_sequence, sequence, shown

__all__ = [
    "LIMIT", "MAX_ELEMENTS", "Padding", "Plan", "Sizes", "Window", "check_lengths", "each",
    "frozen", "make_plan", "pick_axes", "plain",
]  # fmt: skip

#: Largest kernel size, stride, dilation or padding. Far past any real window, and small
#: enough that every position in an engine (size * stride + kernel * dilation) fits 64 bits.
LIMIT = 2**31 - 1
#: Largest number of elements in an array that 64-bit positions can name.
MAX_ELEMENTS = 2**62

Sizes = SupportsIndex | Sequence[SupportsIndex]
Padding = SupportsIndex | Sequence[SupportsIndex | Sequence[SupportsIndex]] | str


@dataclass(frozen=True, slots=True)
class Window:
    """How one pooled axis is read: a window of `kernel` taps, `dilation` apart.

    Output ``i`` sees the positions ``i * stride - before + j * dilation`` for ``j`` in
    ``range(kernel)``; those outside ``[0, size)`` are padding.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    out: int

    @property
    def extent(self) -> int:
        """Effective window: the distance from the first tap to the last, plus one."""
        return self.dilation * (self.kernel - 1) + 1

    def start(self, i: int) -> int:
        """Position of the first tap of output `i`; negative in the leading padding."""
        return i * self.stride - self.before

    def taps(self, i: int) -> tuple[int, int]:
        """``(first, stop)`` of the taps of output `i` that lie inside the input."""
        start, d = self.start(i), self.dilation
        first = max(0, -(start // d))
        stop = min(self.kernel, -((start - self.size) // d))
        return first, max(first, stop)

    def count(self, i: int, include_pad: bool) -> int:
        """Taps of output `i` that an average divides by (semantics: Avg divisor).

        With padding, the taps in ``[start, min(start + extent, size + after))``: a window
        that ceil mode lets run past the trailing padding is clipped there.
        """
        if not include_pad:
            first, stop = self.taps(i)
            return stop - first
        start = self.start(i)
        end = min(start + self.extent, self.size + self.after)
        return -((start - end) // self.dilation)

    def runs(self, include_pad: bool) -> tuple[tuple[int, int], ...]:
        """The divisors along this axis as ``(stop, count)``: equal ones in one run.

        Only the outputs whose window crosses an edge are looked at one by one.
        """
        s, n, e = self.stride, self.size, self.extent
        stretches = [
            (-(-(left + self.before) // s), (right - e + self.before) // s + 1)
            for left, right in ((-self.before, 0), (0, n), (n, n + self.after))
        ]
        runs: list[tuple[int, int]] = []
        i = 0
        while i < self.out:
            count = self.count(i, include_pad)
            stop = next((high for low, high in stretches if low <= i < high), i + 1)
            i = min(stop, self.out)
            if runs and runs[-1][1] == count:
                runs[-1] = (i, count)
            else:
                runs.append((i, count))
        return tuple(runs)

    @property
    def has_empty(self) -> bool:
        """Whether some output sees padding only."""
        if self.start(0) + self.extent <= 0 or self.start(self.out - 1) >= self.size:
            return True
        if self.dilation <= self.size or self.before == 0:
            return False
        # The taps can step over the whole input. Where they do depends on the start modulo
        # the dilation, which repeats.
        period = self.dilation // gcd(self.stride, self.dilation)
        leading = -(-self.before // self.stride)
        return any(self.count(i, False) == 0 for i in range(min(leading, period, self.out)))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pooling call does to a shape.

    Attributes
    ----------
    shape, out_shape : tuple of int
        Of the input and of the result.
    axes : tuple of int
        The pooled axes, non-negative, in the order the caller gave.
    windows : tuple of Window
        One for each of `axes`.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    windows: tuple[Window, ...]
    out_shape: tuple[int, ...]

    @property
    def has_empty(self) -> bool:
        """Whether some output window holds no element of the input."""
        return any(window.has_empty for window in self.windows)


def make_plan(
    shape: tuple[int, ...],
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    axes: Sizes | None = None,
) -> Plan:
    """Check a call's geometry and return its (cached) plan.

    Raises
    ------
    ValueError, TypeError
        For any value or type that the semantics refuse, in words.
    """
    # Equal keys must mean equal calls, but 2 == 2.0 == True: only plain ints go to the cache
    # as they are. 0.6 us for the common call.
    if not (
        plain(kernel_size)
        and plain(stride)
        and plain(padding)
        and plain(dilation)
        and plain(axes)
        and type(ceil_mode) is bool
    ):
        kernel_size = frozen(kernel_size, "kernel_size")
        stride = None if stride is None else frozen(stride, "stride")
        padding = frozen(padding, "padding", nested=True)
        dilation = frozen(dilation, "dilation")
        axes = None if axes is None else frozen(axes, "axes")
        # numpy.bool is told by its name: this file imports nothing.
        if type(ceil_mode).__name__ not in ("bool", "bool_"):
            raise TypeError(
                f"ceil_mode must be True or False, got {shown(ceil_mode)} of type "
                f"{type(ceil_mode).__name__}"
            )
        ceil_mode = bool(ceil_mode)
    key: Any = (shape, kernel_size, stride, padding, dilation, ceil_mode, axes)
    return _plan(*key)


def plain(value: Any) -> bool:
    """Whether `value` is None, a string, or made of plain ints: equal then means the same."""
    kind = type(value)
    if kind is int or value is None or kind is str:
        return True
    if kind is not tuple:
        return False
    for entry in value:
        if type(entry) is not int and not (type(entry) is tuple and plain(entry)):
            return False
    return True


def frozen(value: Any, name: str, nested: bool = False) -> Any:
    """`value` as plain ints and tuples."""
    if isinstance(value, str):
        return value
    if nested and getattr(value, "ndim", 0) == 2:
        value = value.tolist()  # an array of (before, after) pairs, as numpy.pad takes
    if not is_sequence(value):
        if getattr(value, "ndim", 0) or (hasattr(value, "__iter__") and not hasattr(value, "ndim")):
            return sequence(value, name)
        return integer(value, name)
    entries = sequence(value, name)
    if nested:
        return tuple(frozen(e, name) if is_sequence(e) else integer(e, name) for e in entries)
    return tuple(integer(e, name) for e in entries)


@lru_cache(maxsize=4096)
def _plan(
    shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    axes: Any,
) -> Plan:
    axes = pick_axes(shape, kernel_size, axes, "kernel_size", "max_pool2d")
    count = len(axes)
    kernels = each(kernel_size, "kernel_size", count, 1)
    strides = kernels if stride is None else each(stride, "stride", count, 1)
    dilations = each(dilation, "dilation", count, 1)
    check_lengths(shape, axes)
    pads = _paddings(padding, [shape[a] for a in axes], kernels, strides, dilations)
    windows = tuple(
        _window(shape, axis, k, s, d, before, after, ceil_mode)
        for axis, k, s, d, (before, after) in zip(
            axes, kernels, strides, dilations, pads, strict=True
        )
    )
    out = list(shape)
    for axis, window in zip(axes, windows, strict=True):
        out[axis] = window.out
    if prod(out) > MAX_ELEMENTS:
        raise ValueError(
            f"the result would have shape {tuple(out)}, more than 2**62 elements: use less padding"
        )
    if prod(w.kernel for w in windows) > MAX_ELEMENTS:
        raise ValueError(
            f"kernel_size={tuple(kernels)} makes a window of more than 2**62 taps: "
            "use a smaller one"
        )
    return Plan(tuple(shape), axes, windows, tuple(out))


def pick_axes(
    shape: tuple[int, ...], value: Any, axes: Any, name: str, kin: str
) -> tuple[int, ...]:
    """The axes to pool, from 0 on: those named by `axes`, or as many as `value` has entries.

    `name` is what the caller calls `value`; `kin` an example of the functions that take an int.
    """
    ndim = len(shape)
    if isinstance(value, str) or value is None:
        raise TypeError(f"{name} must be an integer or a sequence of integers, got {shown(value)}")
    if axes is None:
        if isinstance(value, int):
            raise ValueError(
                f"{name}={shown(value)} does not say which axes of the input of shape "
                f"{shape} to pool: give one entry for each of the last axes, such as "
                f"{name}=({shown(value)}, {shown(value)}); or name the axes, such "
                f"as axes=(-2, -1); or call npool.functional.{kin} and its kin"
            )
        if len(value) > ndim:
            raise ValueError(
                f"{name}={shown(value)} pools the last {len(value)} axes, but the "
                f"input of shape {shape} has {ndim}: give at most {ndim} entries"
            )
        picked = tuple(range(ndim - len(value), ndim))
    else:
        if isinstance(axes, str):
            raise TypeError(f"axes must be an integer or a sequence of integers, got {shown(axes)}")
        named = (axes,) if isinstance(axes, int) else axes
        if not all(isinstance(axis, int) for axis in named):
            raise TypeError(f"axes must hold integers, got {shown(axes)}")
        for axis in named:
            if not -ndim <= axis < ndim:
                raise ValueError(
                    f"axes={shown(axes)} names axis {shown(axis)}, but the input of shape {shape} "
                    + (f"has axes {-ndim} to {ndim - 1}" if ndim else "has no axes")
                )
        picked = tuple(axis % ndim for axis in named)
        if len(set(picked)) < len(picked):
            raise ValueError(f"axes={shown(axes)} names an axis twice: name each axis once")
    if not picked:
        what = f"{name}=()" if axes is None else "axes=()"
        raise ValueError(f"{what} pools no axis: name at least one")
    return picked


def check_lengths(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    """Refuse a pooled axis without elements."""
    for axis in axes:
        if shape[axis] == 0:
            raise ValueError(
                f"axis {axis} of the input of shape {shape} has length 0 and cannot be pooled: "
                "a pooled axis needs at least one element (other axes may be empty)"
            )


def each(value: Any, name: str, count: int, least: int) -> tuple[int, ...]:
    """`value` as `count` integers from `least` to `LIMIT`."""
    if isinstance(value, str) or value is None:
        raise TypeError(f"{name} must be an integer or a sequence of integers, got {shown(value)}")
    entries = (value,) * count if isinstance(value, int) else value
    if len(entries) != count:
        raise ValueError(
            f"{name}={shown(value)} has {len(entries)} entries for {count} pooled axes: give one "
            f"integer for all, or {count}"
        )
    for entry in entries:
        if not isinstance(entry, int):
            raise TypeError(f"{name} must hold integers, got {shown(value)}")
        _bounded(entry, name, value, least)
    return tuple(entries)


def _bounded(entry: int, name: str, value: Any, least: int) -> None:
    if entry < least:
        bound = "at least 1" if least else "0 or more"
        raise ValueError(f"{name}={shown(value)} must be {bound}, got {shown(entry)}")
    if entry > LIMIT:
        raise ValueError(f"{name}={shown(value)} is past the largest allowed, {LIMIT} (2**31 - 1)")


def _paddings(
    padding: Any,
    sizes: Sequence[int],
    kernels: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[tuple[int, int]]:
    count = len(sizes)
    if isinstance(padding, str):
        if padding == "valid":
            return [(0, 0)] * count
        if padding not in ("same", "same_lower"):
            raise ValueError(
                f"padding={shown(padding)} is not known: use 'valid', 'same', 'same_lower', an "
                "integer, one integer an axis, or one (before, after) pair an axis"
            )
        pads = []
        for n, k, s, d in zip(sizes, kernels, strides, dilations, strict=True):
            # ONNX SAME_UPPER and SAME_LOWER, with the dilated window.
            total = max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
            small, large = total // 2, total - total // 2
            pads.append((small, large) if padding == "same" else (large, small))
        return pads
    if padding is None:
        raise TypeError("padding must be an integer, a sequence or a name, got None: use 0")
    if isinstance(padding, int):
        _bounded(padding, "padding", padding, 0)
        return [(padding, padding)] * count
    if len(padding) != count:
        hint = ""
        if count == 1 and len(padding) == 2:
            hint = f"; for one axis with two sides write padding=({tuple(padding)},)"
        raise ValueError(
            f"padding={shown(padding)} has {len(padding)} entries for {count} pooled axes: give "
            f"one integer for all, one an axis, or one (before, after) pair an axis{hint}"
        )
    pads = []
    for entry in padding:
        pair = (entry, entry) if isinstance(entry, int) else entry
        if len(pair) != 2 or not all(isinstance(side, int) for side in pair):
            raise ValueError(
                f"padding={shown(padding)} holds {shown(entry)}: an entry is an integer or a "
                "(before, after) pair"
            )
        for side in pair:
            _bounded(side, "padding", padding, 0)
        pads.append((pair[0], pair[1]))
    return pads


def _window(
    shape: tuple[int, ...],
    axis: int,
    kernel: int,
    stride: int,
    dilation: int,
    before: int,
    after: int,
    ceil_mode: bool,
) -> Window:
    n = shape[axis]
    extent = dilation * (kernel - 1) + 1
    out = (n + before + after - extent + (stride - 1 if ceil_mode else 0)) // stride + 1
    # The last window must start inside the input or the leading padding (torch's rule).
    if ceil_mode and (out - 1) * stride >= n + before:
        out -= 1
    if out <= 0:
        raise ValueError(
            f"the window does not fit axis {axis} of the input of shape {shape}: length {n} "
            f"with padding ({before}, {after}) is {n + before + after}, shorter than the "
            f"effective window {extent} (kernel_size {kernel}, dilation {dilation}): use a "
            "smaller window or more padding"
        )
    return Window(n, kernel, stride, dilation, before, after, out)
