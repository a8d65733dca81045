"""Windows that begin elsewhere in each plane: fractional pooling.

A thread finds from the plane's samples where its window begins, by the formula of
:func:`npool.fractional_max_pool` and rounding as that does, so that nothing is prepared, and
nothing waited for. Large windows are pooled at every position first, axis by axis, and then
picked from: what they cost does not grow with what they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from npool.cuda.binding import Kinds
from npool.cuda.dims import Dim, dims_of
from npool.cuda.forms import Drawing
from npool.cuda.passes import Passes, Pointers
from npool.cuda.program import SAMPLES, TAPS, Build, Program
from npool.cuda.steps import MOST_Z, NARROW, THREADS, Launch, grid_of, steps_of
from npool.dtypes import is_half
from npool.geometry import Window
from npool.operation import Operation

__all__ = ["drawn_program"]

#: Past this float16 cannot hold where a window begins, and float64 is used, as on the CPU.
HALF = 60000


@dataclass(frozen=True)
class _Axis:
    """One dimension of the array, in memory order, and how samples move along it."""

    dim: Dim
    samples: int


def drawn_program(
    operation: Operation,
    dtype: np.dtype[Any],
    in_strides: Sequence[int],
    out_strides: Sequence[int],
    sample: np.dtype[Any],
    sample_strides: Sequence[int],
    aligned: tuple[int, int] = (16, 16),
) -> Program:
    """The launches of fractional pooling.

    Parameters
    ----------
    operation : Operation
        Whose plan has windows drawn at random.
    dtype, in_strides, out_strides, aligned
        As for `npool.cuda.program.program`.
    sample : numpy.dtype
        Of the samples.
    sample_strides : sequence of int
        In elements: one for each axis that is not pooled, then that from one pooled axis to the
        next.
    """
    plan, reducer = operation.plan, operation.types.reducer
    reach = prod(window.size for window in plan.windows)
    place = None
    if operation.index is not None:
        place = np.dtype(np.int32 if reach < 2**31 else np.int64)
    kinds = Kinds(
        dtype, operation.types.accumulator, operation.types.result, place, operation.index
    )
    windows = dict(zip(plan.axes, plan.windows, strict=True))
    dims = dims_of(
        plan.shape, plan.out_shape, [s // dtype.itemsize for s in in_strides],
        [s // operation.types.result.itemsize for s in out_strides], windows, operation.order,
    )  # fmt: skip
    build = Build(operation, kinds, 1)
    source: Pointers = build.input
    folded = prod(window.kernel for window in plan.windows) > TAPS
    if folded:
        dims, source = _everywhere(build, operation, kinds, dims, aligned)
    apart = dict(
        zip((a for a in range(len(plan.shape)) if a not in plan.axes), sample_strides, strict=False)
    )
    axes = [_Axis(dim, apart.get(axis, 0)) for axis, dim in zip(operation.order, dims, strict=True)]
    launch = _arrange(axes, plan.windows, kinds, folded, len(kinds.held(reducer)), sample,
                      sample_strides[-1])  # fmt: skip
    build.add(launch, kinds, [*source, (SAMPLES, 0)], build.results)
    return Program(tuple(build.steps), tuple(build.own))


def _everywhere(
    build: Build, operation: Operation, kinds: Kinds, dims: Sequence[Dim], aligned: tuple[int, int]
) -> tuple[list[Dim], Pointers]:
    """Windows of every position, as accumulators in a buffer."""
    passes = Passes(build, operation, kinds)
    dense = []
    for d in dims:
        if d.window is not None:
            out = d.size - d.window.kernel + 1
            d = replace(d, out=out, window=Window(d.size, d.window.kernel, 1, 1, 0, 0, out))
        dense.append(d)
    made, pointers = passes.folded(dense, aligned)
    found = [replace(d, size=m.size, src=m.src) for m, d in zip(made, dims, strict=True)]
    return found, pointers


def _arrange(
    axes: Sequence[_Axis],
    windows: Sequence[Window],
    kinds: Kinds,
    folded: bool,
    parts: int,
    sample: np.dtype[Any],
    stride: int,
) -> Launch:
    """The launch that folds, or picks, each plane's windows."""
    kept = [a for a in axes if a.dim.axis >= 0 or a.dim.size > 1]
    pooled = [i for i, a in enumerate(kept) if a.dim.axis >= 0]
    row = pooled[-1]
    inner = len(kept) - 1 if row < len(kept) - 1 else None
    outer = [i for i in range(len(kept)) if i not in (row, inner)]
    x = kept[row].dim
    channels = kept[inner].dim.size if inner is not None else 1
    singles = [
        np.dtype(np.float64) if is_half(sample) and w.size - w.kernel > HALF else sample
        for w in windows
    ]
    ranks = tuple(kept[i].dim.axis for i in pooled)
    sizes = [kept[i].dim.out for i in outer] or [1]
    lanes = x.out * channels
    reach = max(*(w.size + w.out for w in windows), lanes + THREADS,
                prod(sizes) + 4 * THREADS * MOST_Z)  # fmt: skip
    form = Drawing(
        kernels=tuple(1 if folded else windows[rank].kernel for rank in ranks),
        outer=tuple(pooled.index(i) if i in pooled else -1 for i in outer) or (-1,),
        inner=inner is not None,
        samples=tuple(singles[rank].name for rank in ranks),
        parts=parts,
        folded=folded,
        order=ranks if kinds.place else (),
        wide=reach > NARROW,
        stored=sample.name,
    )
    numbers: dict[str, Any] = {"lanes": lanes, "channels": channels, "tx": x.dst}
    if inner is not None:
        c = kept[inner]
        numbers |= {"ics": c.dim.src, "ocs": c.dim.dst, "uc": c.samples}
    for a, (i, rank) in enumerate(zip(pooled, ranks, strict=True)):
        window, dim = windows[rank], kept[i].dim
        numbers |= {f"o{a}": window.out, f"last{a}": window.size - window.kernel,
                    f"far{a}": _step(window, singles[rank]), f"m{a}": dim.src,
                    f"u{a}": rank * stride, f"p{a}": dim.place}  # fmt: skip
    for k, i in enumerate(outer):
        dim = kept[i].dim
        numbers |= {f"n{k}": dim.out, f"si{k}": dim.src, f"so{k}": dim.dst,
                    f"su{k}": kept[i].samples}  # fmt: skip
    if not outer:
        numbers |= {"n0": 1, "si0": 0, "so0": 0, "su0": 0}
    grid, block = grid_of(lanes, 1, prod(sizes))
    return Launch(form, numbers | steps_of(grid[2] * block[2], sizes), grid, block)


def _step(window: Window, kind: np.dtype[Any]) -> float:
    """From one window to the next, rounded as the samples are."""
    if window.out < 2:
        return 0.0
    return float(kind.type(window.size - window.kernel) / kind.type(window.out - 1))
