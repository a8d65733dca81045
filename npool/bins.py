"""The rules of pooling to a given size: adaptive bins, and windows drawn at random.

Pure Python integers, as in :mod:`npool.geometry`, whose :class:`~npool.geometry.Plan` these
make too: their axes are windows of another kind, which may differ in length or in where they
begin. An engine asks a window for `start` and `taps`, or whether it is one of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import gcd, prod
from typing import Any, SupportsIndex

from npool.geometry import (
    MAX_ELEMENTS,
    Plan,
    Sizes,
    Window,
    check_lengths,
    each,
    frozen,
    pick_axes,
    plain,
)
from npool.values import integer, is_number, is_sequence, sequence, shown

__all__ = ["Bins", "Drawn", "Targets", "make_bins_plan", "make_drawn_plan"]

#: Lengths of the result, where None keeps an axis as long as it is.
Targets = SupportsIndex | Sequence[SupportsIndex | None]


@dataclass(frozen=True, slots=True)
class Bins(Window):
    """An axis of `size` elements cut into `out` bins, as even as they come.

    Output ``i`` sees the elements from ``floor(i * size / out)`` up to, not including,
    ``ceil((i + 1) * size / out)``. Neighbours share an element where the cut goes through it.
    `kernel` is the length of the longest bin, and `stride` about the distance between two.
    """

    def start(self, i: int) -> int:
        """Position of the first element of bin `i`."""
        return i * self.size // self.out

    def taps(self, i: int) -> tuple[int, int]:
        """``(0, length)`` of bin `i`: all of it lies inside the input."""
        return 0, -(-(i + 1) * self.size // self.out) - self.start(i)

    def count(self, i: int, include_pad: bool) -> int:
        """Elements of bin `i`, which an average divides by."""
        return self.taps(i)[1]

    def runs(self, include_pad: bool) -> tuple[tuple[int, int], ...]:
        """The divisors along this axis as ``(stop, count)``: equal ones in one run."""
        found: list[tuple[int, int]] = []
        for i in range(self.out):
            count = self.taps(i)[1]
            if found and found[-1][1] == count:
                found[-1] = (i + 1, count)
            else:
                found.append((i + 1, count))
        return tuple(found)

    @property
    def shortest(self) -> int:
        """Length of the shortest bin."""
        return -(-self.size // self.out) if self.out else 1

    @property
    def has_empty(self) -> bool:
        """No bin is empty."""
        return False


@dataclass(frozen=True, slots=True)
class Drawn(Window):
    """`out` windows of `kernel` elements of an axis, which begin elsewhere in each plane.

    Where they begin is not known here, but handed to the engine along with the array.
    """

    def start(self, i: int) -> int:
        """Not known."""
        raise NotImplementedError("windows drawn at random begin elsewhere in each plane")

    def taps(self, i: int) -> tuple[int, int]:
        """All of a window lies inside the input."""
        return 0, self.kernel

    @property
    def has_empty(self) -> bool:
        """No window is empty."""
        return False


def make_bins_plan(shape: tuple[int, ...], output_size: Targets, axes: Sizes | None) -> Plan:
    """Check the geometry of an adaptive pooling call and return its (cached) plan.

    Axes whose length is a multiple of their bins have ordinary windows, so that they take the
    paths of those.

    Raises
    ------
    ValueError, TypeError
        For any value or type that the semantics refuse, in words.
    """
    sizes: Any = output_size
    if not _plain_targets(sizes):
        if is_sequence(sizes):
            sizes = tuple(None if n is None else integer(n, "output_size") for n in sizes)
        else:
            sizes = frozen(sizes, "output_size")
    if not plain(axes):
        axes = frozen(axes, "axes")
    named: Any = axes
    return _bins_plan(shape, sizes, named)


def _plain_targets(value: Any) -> bool:
    """Whether `value` is as it is a key that means the same as all that are equal to it."""
    if type(value) is tuple:
        return all(entry is None or type(entry) is int for entry in value)
    return plain(value)


@lru_cache(maxsize=1024)
def _bins_plan(shape: tuple[int, ...], output_size: Any, axes: Any) -> Plan:
    axes = pick_axes(shape, output_size, axes, "output_size", "adaptive_max_pool2d")
    check_lengths(shape, axes)
    if not isinstance(output_size, int):
        if len(output_size) != len(axes):
            raise ValueError(
                f"output_size={shown(output_size)} has {len(output_size)} entries for {len(axes)} "
                f"pooled axes: give one integer for all, or {len(axes)}"
            )
        output_size = tuple(
            shape[axis] if n is None else n for axis, n in zip(axes, output_size, strict=True)
        )
    outs = each(output_size, "output_size", len(axes), 0)
    windows = tuple(_bins(shape[axis], out) for axis, out in zip(axes, outs, strict=True))
    return Plan(shape, axes, windows, _result(shape, axes, outs))


def _bins(size: int, out: int) -> Window:
    if out and size % out == 0:
        kernel = size // out
        return Window(size, kernel, kernel, 1, 0, 0, out)
    # The starts are spread over all remainders that `out` and `size` allow: the furthest lies
    # this short of the next element.
    longest = (size + 2 * out - gcd(size, out) - 1) // out if out else 1
    return Bins(size, longest, max(1, size // out) if out else 1, 1, 0, 0, out)


def _result(shape: tuple[int, ...], axes: tuple[int, ...], outs: Sequence[int]) -> tuple[int, ...]:
    result = list(shape)
    for axis, out in zip(axes, outs, strict=True):
        result[axis] = out
    if prod(result) > MAX_ELEMENTS:
        raise ValueError(
            f"the result would have shape {tuple(result)}, more than 2**62 elements: use a smaller "
            "output_size"
        )
    return tuple(result)


def make_drawn_plan(
    shape: tuple[int, ...],
    kernel_size: Sizes,
    output_size: Sizes | None,
    output_ratio: Any,
    axes: Sizes | None,
) -> Plan:
    """The plan of a fractional pooling call: windows of `kernel_size` that begin at random.

    There are `output_size` of them along an axis, or so many as `output_ratio` of its length.

    Raises
    ------
    ValueError, TypeError
        Where the windows do not fit: an axis needs ``output_size + kernel_size - 1`` elements.
    """
    kernel: Any = frozen(kernel_size, "kernel_size")
    named: Any = None if axes is None else frozen(axes, "axes")
    picked = pick_axes(shape, kernel, named, "kernel_size", "fractional_max_pool2d")
    check_lengths(shape, picked)
    kernels = each(kernel, "kernel_size", len(picked), 1)
    if (output_size is None) == (output_ratio is None):
        given = "neither" if output_size is None else "both"
        raise ValueError(
            f"give either output_size, in elements, or output_ratio, between 0 and 1; got {given}"
        )
    if output_size is None:
        sizes: Any = _by_ratio([shape[axis] for axis in picked], output_ratio)
    else:
        sizes = frozen(output_size, "output_size")
    return _drawn_plan(shape, picked, kernels, each(sizes, "output_size", len(picked), 0))


def _by_ratio(lengths: list[int], ratio: Any) -> tuple[int, ...]:
    ratios = sequence(ratio, "output_ratio") if is_sequence(ratio) else (ratio,) * len(lengths)
    if len(ratios) != len(lengths):
        raise ValueError(
            f"output_ratio={shown(ratio)} has {len(ratios)} entries for {len(lengths)} pooled "
            f"axes: give one number for all, or {len(lengths)}"
        )
    for entry in ratios:
        if not is_number(entry):
            raise TypeError(f"output_ratio must hold numbers, got {shown(ratio)}")
        if not 0 < entry < 1:
            raise ValueError(
                f"output_ratio={shown(ratio)} must lie between 0 and 1, got {shown(entry)}"
            )
    return tuple(int(n * float(entry)) for n, entry in zip(lengths, ratios, strict=True))


@lru_cache(maxsize=1024)
def _drawn_plan(
    shape: tuple[int, ...], axes: tuple[int, ...], kernels: tuple[int, ...], outs: tuple[int, ...]
) -> Plan:
    for axis, k, out in zip(axes, kernels, outs, strict=True):
        if out + k - 1 > shape[axis]:
            raise ValueError(
                f"axis {axis} of the input of shape {shape} has {shape[axis]} elements, fewer than "
                f"output_size + kernel_size - 1 = {shown(out + k - 1)}: use a smaller output_size "
                "or kernel_size"
            )
    windows = tuple(
        Drawn(shape[axis], k, max(1, shape[axis] // max(1, out)), 1, 0, 0, out)
        for axis, k, out in zip(axes, kernels, outs, strict=True)
    )
    return Plan(shape, axes, windows, _result(shape, axes, outs))
