"""How a large array is pooled piece by piece: which outputs at a time, and what each one reads.

No file is touched here. Outputs are cut so that every piece is one unbroken run of the output
file and the pieces follow one another, so that the result is written front to back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from npool.geometry import Plan, Window

__all__ = ["Piece", "Tiling", "pieces", "tile"]

#: A page fault on a file maps up to this much of it at once, so nothing less is ever resident.
GRAIN = 64 * 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """A box of outputs and the box of inputs that they see.

    Attributes
    ----------
    out_shape : tuple of int
        Of the box of outputs.
    inside : tuple of slice
        Within that box, the outputs that reach into the input. Every other one sees nothing
        but padding.
    inputs : tuple of slice or None
        What those read, in the whole array; None where there are none of them.
    padding : tuple of (int, int)
        ``(before, after)`` of each pooled axis for a call on `inputs` alone, ceil mode on.
    """

    out_shape: tuple[int, ...]
    inside: tuple[slice, ...]
    inputs: tuple[slice, ...] | None
    padding: tuple[tuple[int, int], ...]

    @property
    def is_all_inside(self) -> bool:
        """Whether every output of the box reaches into the input."""
        return all(
            part.start == 0 and part.stop == count
            for part, count in zip(self.inside, self.out_shape, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Tiling:
    """Output lengths of one piece along each axis, and what that costs.

    `wide` is True where not even a single output's window fits the memory given: its part of the
    file has to be let go of while it is still being read. `reads` is what all pieces read
    together, `least` the memory that a single output needs; both in bytes.
    """

    lengths: tuple[int, ...]
    wide: bool
    reads: int
    least: int


def tile(plan: Plan, order: str, itemsize: int, out_itemsize: int, memory: int) -> Tiling:
    """Choose the pieces that read the file least often within `memory` bytes.

    Parameters
    ----------
    plan : Plan
        Of the whole array.
    order : {"C", "F"}
        Memory order of the file, input and output alike.
    itemsize, out_itemsize : int
        Bytes of an input element, and of all that is made for one output.
    memory : int
        Bytes that may be resident for one piece.
    """
    ndim = len(plan.shape)
    outermost_first = range(ndim) if order == "C" else range(ndim - 1, -1, -1)
    nested = list(outermost_first)
    lengths = list(plan.out_shape)

    def read(candidate: Sequence[int]) -> int:
        spans = [_span(plan, axis, candidate[axis]) for axis in nested]
        return _resident(spans, [plan.shape[axis] for axis in nested], itemsize)

    def made(candidate: Sequence[int]) -> int:
        return prod(candidate) * out_itemsize

    def longest(axis: int, lengths: Sequence[int], fits: Callable[[Sequence[int]], bool]) -> int:
        return _largest(plan.out_shape[axis], lambda n: fits(_with(lengths, axis, n)))

    def total(candidate: Sequence[int]) -> int:
        count = prod(-(-o // n) for o, n in zip(plan.out_shape, candidate, strict=True))
        return count * read(candidate)

    best: tuple[int, tuple[int, ...]] | None = None
    for axis in nested:
        # Axes outside this one at one output each, axes inside it whole.
        length = longest(axis, lengths, lambda c: read(c) + made(c) <= memory)
        if length:
            candidate = _with(lengths, axis, length)
            if best is None or total(candidate) < best[0]:
                best = (total(candidate), tuple(candidate))
        lengths[axis] = 1
    least = read(lengths) + made(lengths)
    if best is not None:
        return Tiling(best[1], False, best[0], least)
    # One window alone is too large. Then as many outputs at a time as the output allows, so
    # that the input is read in as few sweeps as can be; but windows that overlap and are long
    # themselves one by one, since an engine that shares work between them keeps a copy. As
    # above, axes outside one that is cut have one output each.
    lengths = list(plan.out_shape)
    first = 0
    row = itemsize
    for depth, axis in reversed(list(enumerate(nested))):
        if axis in plan.axes:
            window = plan.windows[plan.axes.index(axis)]
            if window.stride < window.extent and window.extent * row > memory:
                first = max(first, depth + 1)
        row *= _span(plan, axis, plan.out_shape[axis])
    for axis in nested[:first]:
        lengths[axis] = 1
    for axis in nested[first:]:
        length = longest(axis, lengths, lambda c: made(c) <= memory)
        lengths[axis] = max(1, length)
        if length:
            break
    return Tiling(tuple(lengths), True, total(lengths), least)


def pieces(plan: Plan, tiling: Tiling, order: str) -> Iterator[Piece]:
    """Every piece, in the order in which the output file lies."""
    windows = dict(zip(plan.axes, plan.windows, strict=True))
    cuts = [
        [(first, min(first + length, count)) for first in range(0, count, length)]
        for count, length in zip(plan.out_shape, tiling.lengths, strict=True)
    ]
    # The last axis of a product runs fastest, as the innermost axis of the file must.
    if order == "F":
        cuts.reverse()
    for chosen in product(*cuts):
        yield _piece(plan, windows, chosen if order == "C" else chosen[::-1])


def _piece(plan: Plan, windows: dict[int, Window], ranges: Sequence[tuple[int, int]]) -> Piece:
    inside, inputs = [], []
    pads = dict.fromkeys(plan.axes, (0, 0))
    for axis, (first, stop) in enumerate(ranges):
        window = windows.get(axis)
        if window is None:
            inside.append(slice(0, stop - first))
            inputs.append(slice(first, stop))
            continue
        begin, end = _reaching(window)
        begin, end = max(begin, first), min(end, stop)
        inside.append(slice(begin - first, max(begin, end) - first))
        if begin >= end:
            inputs.append(slice(0, 0))
            continue
        # What the windows reach, and the part of it that lies in the input. What they reach
        # past the trailing padding (ceil mode) does not count as a tap.
        low = window.start(begin)
        high = min(window.start(end - 1) + window.extent, window.size + window.after)
        inputs.append(slice(max(0, low), min(window.size, high)))
        pads[axis] = (max(0, -low), max(0, high - window.size))
    out_shape = tuple(stop - first for first, stop in ranges)
    if any(part.start == part.stop for part in inside):
        return Piece(out_shape, tuple(inside), None, ())
    return Piece(out_shape, tuple(inside), tuple(inputs), tuple(pads[a] for a in plan.axes))


def _reaching(window: Window) -> tuple[int, int]:
    """``[begin, end)`` of the outputs of one axis whose window is not wholly in the padding.

    By the window's two ends; a dilated one may still step over every element.
    """
    # Output i ends at or before the first element where i * stride <= before - extent.
    begin = max(0, (window.before - window.extent) // window.stride + 1)
    end = (window.size - 1 + window.before) // window.stride + 1
    return min(begin, window.out), min(end, window.out)


def _span(plan: Plan, axis: int, count: int) -> int:
    """Input elements that `count` neighbouring outputs of `axis` see, at most."""
    if axis not in plan.axes:
        return count
    window = plan.windows[plan.axes.index(axis)]
    return min(window.size, (count - 1) * window.stride + window.extent)


def _resident(spans: Sequence[int], shape: Sequence[int], itemsize: int) -> int:
    """Bytes of the file that come to memory with a box of `spans`, both outermost first."""
    run = itemsize
    runs = 1
    distance = 0
    stride = itemsize
    unbroken = True
    for span, size in zip(reversed(spans), reversed(shape), strict=True):
        if unbroken:
            run *= span
            unbroken = span == size
        else:
            runs *= span
        distance += (span - 1) * stride
        stride *= size
    # Each run begins and ends somewhere within a grain; runs close together share theirs.
    return min(distance + itemsize, runs * (-(-run // GRAIN) + 1) * GRAIN) + GRAIN


def _with(lengths: Sequence[int], axis: int, count: int) -> list[int]:
    changed = list(lengths)
    changed[axis] = count
    return changed


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """The largest n in 1..most for which `fits(n)` holds, 0 for none; `fits` is monotone."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
