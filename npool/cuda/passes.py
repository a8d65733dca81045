"""Large windows, axis by axis: what they cost grows with the logarithm of the window at most.

Of one window that is the whole of an axis, pieces of 32 taps are folded, then pieces of those.
Windows that hardly overlap are walked. Of windows that overlap much, those of 8, 64, 512… taps
are built from one another at every position, and the digits of the window in base 8 say which of
them make it up. Nothing is ever subtracted, so a NaN stays in its own windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

from npool.bins import Bins
from npool.cuda.binding import Kinds
from npool.cuda.dims import Dim, dense, joined
from npool.cuda.steps import Launch, arrange, grid_of, steps_of
from npool.cuda.walks import Counter, Walk
from npool.geometry import Window
from npool.operation import Operation

if TYPE_CHECKING:
    from npool.cuda.program import Build

__all__ = ["Passes", "launched"]

#: Taps along an axis that are written out; windows that overlap less than so many times are
#: walked; the base in which overlapping windows are built.
ALONG, OVERLAP, BASE = 32, 8, 8
#: The place of a tap within a window has 30 bits.
FARTHEST = 1 << 30

Pointers = list[tuple[int, int]]


class Passes:
    """Adds the passes of an operation to what is being built."""

    def __init__(self, build: Build, operation: Operation, kinds: Kinds) -> None:
        self.build, self.operation, self.kinds = build, operation, kinds

    def run(self, dims: Sequence[Dim], aligned: tuple[int, int], counted: bool) -> None:
        """Every axis, then the last pass."""
        current, pointers = self.folded(dims, aligned)
        self._finish(current, pointers, dims, counted)

    def folded(self, dims: Sequence[Dim], aligned: tuple[int, int]) -> tuple[list[Dim], Pointers]:
        """Every axis, the one that shrinks most first: accumulators in a buffer."""
        current, pointers = [replace(d, out=d.size, window=None) for d in dims], None
        self.aligned = (aligned[0], 16)
        for a in sorted(
            (i for i, d in enumerate(dims) if d.window is not None),
            key=lambda i: dims[i].out / dims[i].size,
        ):
            window = dims[a].window
            assert window is not None
            current, pointers = self._axis(current, pointers, a, window)
        assert pointers is not None
        return current, pointers

    # --- one axis -------------------------------------------------------------------------------

    def _axis(
        self, dims: list[Dim], source: Pointers | None, a: int, window: Window
    ) -> tuple[list[Dim], Pointers]:
        if isinstance(window, Bins):
            return self._walked(dims, source, a, window)
        far = window.extent + window.stride >= FARTHEST
        if window.kernel <= ALONG and not far:
            return self._unrolled(dims, source, a, window)
        if window.out == 1 and not far:
            return self._pieces(dims, source, a, window)
        span = (window.out - 1) * window.stride + window.extent
        if window.kernel <= OVERLAP * window.stride or far or span > 4 * window.size:
            return self._walked(dims, source, a, window)
        return self._built(dims, source, a, window)

    def _target(self, dims: Sequence[Dim], a: int, out: int) -> tuple[list[Dim], Pointers]:
        """The dimensions with `out` elements along one, dense in a new buffer."""
        sizes = [out if i == a else d.size for i, d in enumerate(dims)]
        strides = dense(dims, sizes)
        made = [
            replace(d, size=n, out=n, src=s) for d, n, s in zip(dims, sizes, strides, strict=True)
        ]
        return made, self.build.buffer(prod(sizes))

    def _unrolled(
        self, dims: list[Dim], source: Pointers | None, a: int, window: Window,
        target: tuple[list[Dim], Pointers] | None = None, adding: bool = False,
    ) -> tuple[list[Dim], Pointers]:  # fmt: skip
        made, results = target or self._target(dims, a, window.out)
        folded = source is not None
        passed = [
            replace(d, out=m.size, dst=m.src, window=window if i == a else None)
            for i, (d, m) in enumerate(zip(dims, made, strict=True))
        ]
        needs = self.build.needs(
            (16, 16) if folded else self.aligned, folded=folded, adding=adding, finishing=False
        )
        self.build.add(arrange(passed, needs), self.kinds, source or self.build.input, results)
        return made, results

    def _pieces(
        self, dims: list[Dim], source: Pointers | None, a: int, window: Window
    ) -> tuple[list[Dim], Pointers]:
        """One window: its pieces, then theirs, until one is left."""
        first, stop = window.taps(0)
        if stop == first:
            return self._walked(dims, source, a, window)
        d = window.dilation
        begin = window.start(0) + first * d
        while True:
            count = stop - first
            # The axis ends with the window's last tap, and begins with its first.
            taps = min(ALONG, count)
            piece = Window(begin + (count - 1) * d + 1, taps, taps * d, d, -begin, 0,
                           -(-count // taps))  # fmt: skip
            dims = [replace(x, size=piece.size) if i == a else x for i, x in enumerate(dims)]
            dims, source = self._unrolled(dims, source, a, piece)
            if piece.out == 1:
                return dims, source
            first, stop, d, begin = 0, piece.out, 1, 0

    def _walked(
        self, dims: list[Dim], source: Pointers | None, a: int, window: Window
    ) -> tuple[list[Dim], Pointers]:
        made, results = self._target(dims, a, window.out)
        passed = [replace(d, out=m.size, dst=m.src, window=window if i == a else None)
                  for i, (d, m) in enumerate(zip(dims, made, strict=True))]  # fmt: skip
        kind = "adaptive" if isinstance(window, Bins) else "window"
        launch = self.walk(kind, passed, source is not None)
        self.build.add(launch, self.kinds, source or self.build.input, results)
        return made, results

    def _built(
        self, dims: list[Dim], source: Pointers | None, a: int, window: Window
    ) -> tuple[list[Dim], Pointers]:
        """Windows that overlap much, from those of 1, 8, 64… taps."""
        target = self._target(dims, a, window.out)
        w, left, done, apart = window, window.kernel, 0, window.dilation
        # Positions from the first window's start to the last one's end.
        span = (w.out - 1) * w.stride + w.extent
        size, before, adding = w.size, w.before, False
        level, pointers = dims, source
        while True:
            left, digit = divmod(left, BASE)
            if digit:
                some = Window(size, digit, w.stride, apart, before - done * w.dilation, 0, w.out)
                self._unrolled(level, pointers, a, some, target, adding)
                adding = True
                done += digit * apart // w.dilation
            if not left:
                return target
            span -= (BASE - 1) * apart
            step = Window(size, BASE, 1, apart, before, 0, span)
            level, pointers = self._unrolled(level, pointers, a, step)
            size, before, apart = span, 0, apart * BASE

    # --- walks --------------------------------------------------------------------------------

    def walk(self, kind: str, dims: Sequence[Dim], folded: bool) -> Launch:
        """A walk along the dimension that has a window; every other is gone through."""
        dims = joined(dims)
        row = next(i for i, d in enumerate(dims) if d.window is not None)
        inner = len(dims) - 1 if row < len(dims) - 1 else None
        outer = [i for i in range(len(dims)) if i not in (row, inner)]
        x = dims[row]
        assert x.window is not None
        w = x.window
        channels = dims[inner].size if inner is not None else 1
        walk = Walk(kind, max(1, len(outer)), inner is not None, folded=folded,
                    order=(0,) if self.kinds.place else ())  # fmt: skip
        numbers = {"lanes": x.out * channels, "channels": channels, "sx": x.src, "tx": x.dst,
                   "ox": x.out, "nx": x.size, "bx": w.before, "kernel": w.kernel,
                   "stride": w.stride, "apart": w.dilation, "px": x.place}  # fmt: skip
        if inner is not None:
            numbers |= {"ics": dims[inner].src, "ocs": dims[inner].dst, "pc": dims[inner].place}
        return launched(walk, numbers, [dims[i] for i in outer])

    def _finish(
        self, dims: Sequence[Dim], pointers: Pointers, given: Sequence[Dim], counted: bool
    ) -> None:
        """Results from the accumulators."""
        passed = joined([replace(d, dst=g.dst) for d, g in zip(dims, given, strict=True)])
        windows = {g.axis: g.window for g in given if g.window is not None}
        row = len(passed) - 1
        kind = "padded" if self.operation.include_pad else "inside"
        counters: list[Counter] = []
        numbers: dict[str, Any] = {
            "lanes": passed[row].size,
            "sx": passed[row].src,
            "tx": passed[row].dst,
        }
        for i, dim in enumerate(passed):
            if counted and dim.axis >= 0:
                w, m = windows[dim.axis], len(counters)
                counters.append(
                    Counter(-1 if i == row else i, "adaptive" if isinstance(w, Bins) else kind)
                )
                numbers |= {f"cn{m}": w.size, f"co{m}": w.out, f"cs{m}": w.stride,
                            f"cb{m}": w.before, f"ck{m}": w.kernel, f"cd{m}": w.dilation,
                            f"cl{m}": w.size + w.after}  # fmt: skip
        walk = Walk("finish", max(1, row), folded=True, counters=tuple(counters),
                    order=(0,) if self.kinds.place else (),
                    imaginary=self.build.imaginary)  # fmt: skip
        launch = launched(walk, numbers, passed[:row])
        self.build.add(launch, self.kinds, pointers, self.build.results)


def launched(walk: Walk, numbers: dict[str, Any], outer: Sequence[Dim]) -> Launch:
    """A walk with its numbers and its grid."""
    for k, dim in enumerate(outer):
        numbers |= {f"n{k}": dim.out, f"si{k}": dim.src, f"so{k}": dim.dst, f"ps{k}": dim.place}
    if not outer:
        numbers |= {"n0": 1, "si0": 0, "so0": 0, "ps0": 0}
    sizes = [dim.out for dim in outer] or [1]
    grid, block = grid_of(numbers["lanes"], 1, prod(sizes))
    return Launch(walk, numbers | steps_of(grid[2] * block[2], sizes), grid, block)
