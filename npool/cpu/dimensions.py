"""The dimensions of a call: its axes in memory order, neighbours joined where they can be."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

from npool.geometry import Plan, Window

__all__ = [
    "FLAT",
    "FUSED",
    "PLAIN",
    "ROWS",
    "SEGMENT",
    "Dim",
    "are_vectors",
    "can_widen",
    "choose_modes",
    "dimensions",
    "in_order",
    "join_tiled",
    "join_whole_axes",
    "spans",
    "widen",
]

# How a dimension is treated. PLAIN: not pooled. FUSED: its taps are folded while rows are
# fetched. ROWS and FLAT: fetched with its padding, then folded row by row, or at every
# position at once. SEGMENT: the row's long windows that hardly overlap, each a row of its own.
PLAIN, FUSED, ROWS, FLAT, SEGMENT = range(5)
#: Windows that an element lies in, up to which its rows are read that often: by way of scratch, and
#: where they slide in registers.
FEW, FEW_SLID = 8, 9
#: Taps along the row of windows that slide in registers, at most.
SLID_TAPS = 8


@dataclass(slots=True)
class Dim:
    """One dimension: how it is pooled, where it lies, and how it is cut into tiles."""

    length: int
    out: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    before: int = 0
    in_stride: int = 0
    out_stride: int = 0
    place: int = 0
    pooled: bool = False
    mode: int = PLAIN
    tile: int = 1
    runs: tuple[tuple[int, int], ...] = ()
    #: The geometry of a pooled axis, for engines that ask it for more than the numbers above.
    window: Window | None = None

    @property
    def span(self) -> int:
        return (self.kernel - 1) * self.dilation + 1

    @property
    def is_far_wider(self) -> bool:
        """Whether the window dwarfs the input, so that nearly all it sees is padding."""
        return self.span > 4 * self.length + 4096

    @property
    def overlap(self) -> float:
        """Windows that an element lies in, about."""
        return 1.0 if self.out == 1 else max(1.0, self.kernel / self.stride)

    def extent(self, tile: int, segment: int) -> int:
        """Scratch positions that `tile` outputs need."""
        if self.mode in (ROWS, FLAT):
            return (tile - 1) * self.stride + self.span
        return tile * segment if self.mode == SEGMENT else tile

    @property
    def halo(self) -> int:
        """Scratch positions that neighbouring tiles both need."""
        return max(0, self.span - self.stride) if self.mode in (ROWS, FLAT) else 0


def dimensions(
    plan: Plan,
    order: tuple[int, ...],
    in_strides: tuple[int, ...],
    out_strides: tuple[int, ...],
    pair: int,
    placed: bool,
    counted: bool,
    include_pad: bool,
) -> list[Dim]:
    """The axes in memory order; unpooled neighbours that lie together become one."""
    windows = dict(zip(plan.axes, plan.windows, strict=True))
    places: dict[int, int] = {}
    weight = 1
    for axis in reversed(plan.axes):
        places[axis] = weight
        weight *= plan.shape[axis]
    dims: list[Dim] = []
    for axis in order:
        n = plan.shape[axis]
        strides: dict[str, Any] = {"in_stride": in_strides[axis], "out_stride": out_strides[axis]}
        w = windows.get(axis)
        trivial = w is None or (w.kernel == w.stride == 1 and w.out == n and not w.before)
        if w is None or (trivial and not placed):
            dims.append(Dim(n, n, **strides))
        else:
            dims.append(
                Dim(
                    n,
                    w.out,
                    w.kernel,
                    w.stride,
                    w.dilation,
                    w.before,
                    place=places[axis],
                    pooled=True,
                    runs=w.runs(include_pad) if counted else (),
                    window=w,
                    **strides,
                )
            )
    if pair > 1:
        dims.append(Dim(pair, pair, in_stride=1, out_stride=1))
    merged: list[Dim] = []
    for dim in dims:
        if not dim.pooled and dim.length == 1:
            continue
        last = merged[-1] if merged else None
        if (
            last is not None
            and not last.pooled
            and not dim.pooled
            and last.in_stride == dim.in_stride * dim.length
            and last.out_stride == dim.out_stride * dim.length
        ):
            last.length *= dim.length
            last.out = last.length
            last.in_stride, last.out_stride = dim.in_stride, dim.out_stride
        else:
            merged.append(dim)
    return merged or [Dim(1, 1, in_stride=1, out_stride=1)]


def join_tiled(dims: list[Dim]) -> None:
    """Pool an axis that windows tile, none over an edge, along with the unpooled one before it."""
    i = 1
    while i < len(dims):
        last, dim = dims[i - 1], dims[i]
        if (
            dim.pooled
            and not last.pooled
            and dim.before == 0
            and dim.span <= dim.stride
            and dim.length == dim.out * dim.stride
            and len(dim.runs) <= 1
            and last.in_stride == dim.in_stride * dim.length
            and last.out_stride == dim.out_stride * dim.out
        ):
            dim.runs = tuple((stop * last.length, divisor) for stop, divisor in dim.runs)
            dim.length *= last.length
            dim.out *= last.length
            del dims[i - 1]
        else:
            i += 1


def join_whole_axes(dims: list[Dim]) -> None:
    """Make one dimension of neighbouring axes that one window covers whole (global pooling)."""

    def whole(dim: Dim) -> bool:
        covers = dim.before <= 0 and dim.kernel >= dim.length
        return dim.pooled and dim.out == 1 and dim.dilation == 1 and covers

    while len(dims) > 1:
        last, row = dims[-2], dims[-1]
        if not (
            whole(last)
            and whole(row)
            and last.in_stride == row.in_stride * row.length
            and last.place == row.place * row.length
        ):
            return
        dims.pop()
        last.length *= row.length
        last.kernel = last.length
        last.in_stride, last.place = row.in_stride, row.place
        if last.runs and row.runs:
            last.runs = ((1, last.runs[0][1] * row.runs[0][1]),)


def in_order(dims: list[Dim]) -> bool:
    """Whether taps of the axes before the row, an outer axis first, are in order of position."""
    places = [dim.place for dim in dims[:-1] if dim.pooled]
    return all(a > b for a, b in pairwise(places))


def spans(dim: Dim) -> list[tuple[int, int, int, int]]:
    """Outputs along `dim` that are treated alike, as ``(stop, divisor, base, taps)``.

    Output `o` of a span sees `taps` taps inside the input, the first at
    ``base + o * stride``. Where taps are not fused, only the divisor counts.
    """
    divisors = dim.runs or ((dim.out, 1),)
    if dim.mode != FUSED:
        return [(stop, divisor, 0, 1) for stop, divisor in divisors]
    n, s, b, d, out = dim.length, dim.stride, dim.before, dim.dilation, dim.out
    clipped: list[tuple[int, int, int]] = []

    def add(stop: int, base: int, taps: int) -> None:
        stop = max(0, min(stop, out))
        if stop <= (clipped[-1][0] if clipped else 0):
            return
        if clipped and clipped[-1][1:] == (base, taps):
            clipped.pop()
        clipped.append((stop, base, taps))

    def one_by_one(stop: int) -> None:
        for o in range(clipped[-1][0] if clipped else 0, max(0, min(stop, out))):
            place = o * s - b
            low = max(0, -(place // d))
            high = min(dim.kernel, -((place - n) // d))
            add(o + 1, low * d - b, max(0, high - low))

    # Wholly in the padding; over the edge; inside; over the other edge; wholly beyond.
    add((b - dim.span) // s + 1, 0, 0)
    one_by_one(-(-b // s))
    add((n - dim.span + b) // s + 1, -b, dim.kernel)
    one_by_one(-(-(n + b) // s))
    add(out, 0, 0)
    found: list[tuple[int, int, int, int]] = []
    i = j = 0
    while i < len(clipped):
        stop = min(clipped[i][0], divisors[j][0])
        found.append((stop, divisors[j][1], *clipped[i][1:]))
        i += stop == clipped[i][0]
        j += stop == divisors[j][0] and j + 1 < len(divisors)
    return found


def are_vectors(dims: list[Dim], lanes: int) -> bool:
    """Whether the last dimension is better a row of its own than pooled along with the one before.

    Channels that are whole vectors, and more than one (docs/performance.md), of windows that are
    folded in registers.
    """
    channels = dims[-1].length
    few = prod(dim.kernel for dim in dims) <= FEW_SLID
    return few and channels > lanes > 0 and channels % lanes == 0 and dims[-1].in_stride == 1


def can_widen(row: Dim) -> bool:
    """Whether elements of a row lie a few apart, so that reading what is between costs little."""
    return row.pooled and 1 < row.in_stride <= 4 and row.in_stride * row.stride <= 4


def widen(row: Dim) -> None:
    """Make of a row whose elements lie apart one of all that lies there, pooled as before."""
    apart = row.in_stride
    row.length, row.in_stride = (row.length - 1) * apart + 1, 1
    row.stride, row.dilation, row.before = (
        row.stride * apart,
        row.dilation * apart,
        row.before * apart,
    )


def choose_modes(dims: list[Dim], inner: int, lanes: int) -> int:
    """Set each dimension's mode; return the segment length of the row, 0 if it has none.

    Where windows slide in registers, vectors have so many `lanes`: short rows then cost least
    where they are folded as they are read (docs/performance.md).
    """
    row = dims[-1]
    segment = 0
    if row.pooled and row.is_far_wider:
        # Its padding does not fit any scratch: each tap is fetched as a row of its own.
        dims.append(Dim(1, 1, in_stride=1, out_stride=1))
        row = dims[-1]
    if row.pooled:
        row.mode = FLAT
        if row.dilation == 1 and row.kernel >= 16 and row.overlap < 2:
            row.mode = SEGMENT
            length = 128 if row.kernel < 1024 else 256
            segment = max(1, min(row.kernel, length // inner))
    short = row.length * inner < 48 and (inner > 1 or not lanes)
    slide = lanes and inner == 1 and row.kernel <= SLID_TAPS
    overlap, few = 1.0, FEW_SLID if slide else FEW
    for dim in dims[:-1]:
        if not dim.pooled:
            continue
        if dim.is_far_wider or (
            overlap * dim.overlap <= few and not (short and dim.stride == 1 and dim.overlap > 1)
        ):
            overlap *= dim.overlap
            dim.mode = FUSED
        elif dim.stride > 1 and dim.kernel <= 4 * dim.stride:
            dim.mode = ROWS
        else:
            dim.mode = FLAT
    return segment
