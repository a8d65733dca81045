"""An array as a kernel sees it: dimensions in memory order, neighbours joined where they can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from npool.geometry import Window

__all__ = ["Dim", "dense", "dims_of", "joined"]


@dataclass(frozen=True)
class Dim:
    """One dimension of a pass.

    Attributes
    ----------
    size, out : int
        Elements of the source and of the result.
    src, dst : int
        Distance between neighbours, in elements.
    window : Window or None
        How it is pooled in this pass.
    place : int
        By how much a step along it moves a position.
    axis : int
        Which of the plan's pooled axes it is, or -1.
    more : tuple of int
        Distance between neighbours in further arrays, which lie beside source or result.
    """

    size: int
    out: int
    src: int
    dst: int
    window: Window | None = None
    place: int = 0
    axis: int = -1
    more: tuple[int, ...] = ()


def dims_of(
    shape: Sequence[int],
    out_shape: Sequence[int],
    src: Sequence[int],
    dst: Sequence[int],
    windows: dict[int, Window],
    order: Sequence[int],
) -> list[Dim]:
    """The dimensions of a call in memory order, the slowest first.

    `windows` is that of each pooled axis, in the caller's order, by which positions count.
    """
    places, step = {}, 1
    for axis in reversed(list(windows)):
        places[axis] = step
        step *= shape[axis]
    ranks = {axis: rank for rank, axis in enumerate(windows)}
    return [
        Dim(shape[axis], out_shape[axis], src[axis], dst[axis], windows.get(axis),
            places.get(axis, 0), ranks.get(axis, -1))
        for axis in order
    ]  # fmt: skip


def joined(dims: Sequence[Dim]) -> list[Dim]:
    """Neighbours that no window tells apart and that lie together, made one."""
    found: list[Dim] = []
    for dim in dims:
        if dim.axis < 0 and dim.size == 1 and dim.out == 1:
            continue
        last = found[-1] if found else None
        if (
            last is not None
            and last.axis < 0
            and dim.axis < 0
            and last.src == dim.src * dim.size
            and last.dst == dim.dst * dim.out
            and last.more == tuple(step * dim.size for step in dim.more)
        ):
            size = last.size * dim.size
            found[-1] = replace(dim, size=size, out=size)
        else:
            found.append(dim)
    return found


def dense(dims: Sequence[Dim], sizes: Sequence[int]) -> tuple[int, ...]:
    """Strides of a new array of `sizes` in the order of `dims`."""
    strides, step = [], 1
    for size in reversed(sizes):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))
