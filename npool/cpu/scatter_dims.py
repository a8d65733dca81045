"""The axes of positions: gradients in memory order, and sums on their way to the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from npool.layout import memory_order

__all__ = ["FEW", "Dim", "Line", "dims_of", "flat_unit", "joined", "merged", "row_last"]

#: Channels, and elements of a row, that are worth while.
FEW = 16


@dataclass(slots=True)
class Dim:
    """One or more axes of the gradients, in memory order."""

    length: int
    stride: int
    index_stride: int
    far: int = 0
    pooled: bool = False
    cut: bool = False
    tile: int = 0
    rise: int = 0
    climb: int = 0


class Line(NamedTuple):
    """Sums that lie `near` one another in scratch, and `away` in the result."""

    span: int
    of: int
    near: int
    away: int


def flat_unit(sizes: list[int], strides: list[int]) -> int | None:
    """How far apart neighbouring positions lie, or None where that is not the same everywhere."""
    weight, unit = 1, None
    for size, stride in zip(reversed(sizes), reversed(strides), strict=True):
        if size > 1:
            if unit is None:
                unit = stride // weight if stride % weight == 0 else 0
            if stride != weight * unit:
                return None
        weight *= size
    return 1 if unit is None else unit


def dims_of(
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    strides: tuple[int, ...],
    i_strides: tuple[int, ...],
    far: tuple[int, ...],
    size: int,
    i_bytes: int,
    far_bytes: int,
) -> list[tuple[int, Dim]]:
    """Each axis with its dimension, in memory order."""
    return [
        (
            axis,
            Dim(
                shape[axis],
                strides[axis] // size,
                i_strides[axis] // i_bytes,
                0 if axis in axes else far[axis] // far_bytes,
                axis in axes,
            ),
        )
        for axis in memory_order(shape, strides)
    ]


def row_last(found: list[tuple[int, Dim]]) -> None:
    """Where the last axis is short, with those that it lies together with, let the longest be
    the row.
    """
    reach = 1
    for i in reversed(range(len(found))):
        dim, last = found[i][1], found[-1][1]
        apart = dim.stride != last.stride * reach or dim.index_stride != last.index_stride * reach
        if dim.pooled != last.pooled or apart:
            break
        reach *= dim.length
    if found and reach < FEW:
        longest = max(range(len(found)), key=lambda i: (found[i][1].length, i))
        found.append(found.pop(longest))


def merged(found: list[tuple[int, Dim]], cut: int) -> list[Dim]:
    """Neighbours of one kind that lie together as one; two at least."""
    merged: list[Dim] = []
    for axis, dim in found:
        dim.cut = axis == cut
        last = merged[-1] if merged else None
        if dim.length == 1 and not dim.cut:
            continue
        if (
            last is not None
            and last.pooled == dim.pooled
            and not (last.cut or dim.cut)
            and last.stride == dim.stride * dim.length
            and last.index_stride == dim.index_stride * dim.length
            and (dim.pooled or last.far == dim.far * dim.length)
        ):
            last.length *= dim.length
            last.stride, last.index_stride, last.far = dim.stride, dim.index_stride, dim.far
        else:
            merged.append(dim)
    while len(merged) < 2:
        merged.insert(0, Dim(1, 0, 0, pooled=True))
    return merged


def joined(lines: list[Line]) -> list[Line]:
    """Neighbours that lie together at both ends as one; two at least."""
    joined: list[Line] = []
    for line in lines:
        if line.span == 1 and line.of < 0:
            continue
        last = joined[-1] if joined else None
        if (
            last is not None
            and line.of < 0
            and last.near == line.span * line.near
            and last.away == line.span * line.away
        ):
            joined[-1] = Line(last.span * line.span, last.of, line.near, line.away)
        else:
            joined.append(line)
    while len(joined) < 2:
        joined.insert(0, Line(1, -1, 0, 0))
    return joined
