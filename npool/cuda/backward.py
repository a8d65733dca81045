"""Gradients as launches: of sums and averages, and of what picked an element; unpooling too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import numpy as np

from npool.bins import Bins
from npool.cuda.binding import Kinds, bind_gather
from npool.cuda.dims import Dim, dims_of, joined
from npool.cuda.forms import MOST_TILE, MOST_WINDOWS, Gather, Tap, windows_of
from npool.cuda.program import ELEMENTS, INPUT, POSITIONS, RESULT, Program, Step
from npool.cuda.steps import MOST_Y, NARROW, THREADS, WIDEST, Launch, grid_of, steps_of
from npool.dtypes import accumulator_dtype
from npool.geometry import Plan

__all__ = ["Backwards", "backwards", "gather_program"]

#: The most elements of a thread.
MOST_CELLS = 16


class Backwards(NamedTuple):
    """Pooling, of stride 1, of the gradients, whose sums are the gradient."""

    kernels: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilations: tuple[int, ...]
    divisor: int


def backwards(plan: Plan, include_pad: bool | None, divisor: int) -> Backwards | None:
    """The gradient of sums (`include_pad` None) or averages as pooling, where it is one.

    It is for windows at every element, all divided by one number. That is said of windows that
    overlap more than a few times only: then pooling costs less than asking each of them, and
    does not grow with the window.
    """
    pads, many = [], False
    for w in plan.windows:
        if isinstance(w, Bins) or w.stride != 1:
            return None
        before = w.extent - 1 - w.before
        after = w.size - w.out - before + w.extent - 1
        if before < 0 or after < 0:
            return None
        if include_pad is not None and not divisor:
            runs = w.runs(include_pad)
            if len(runs) > 1 or not runs[0][1]:
                return None
        pads.append((before, after))
        many |= w.kernel > MOST_WINDOWS
    if not many:
        return None
    if include_pad is not None and not divisor:
        divisor = prod(w.runs(include_pad)[0][1] for w in plan.windows)
    return Backwards(
        tuple(w.kernel for w in plan.windows), tuple(pads),
        tuple(w.dilation for w in plan.windows), divisor,
    )  # fmt: skip


def gather_program(
    kind: str,
    plan: Plan,
    dtype: np.dtype[Any],
    order: Sequence[int],
    in_strides: Sequence[int],
    out_strides: Sequence[int],
    *,
    index: np.dtype[Any] | None = None,
    include_pad: bool | None = None,
    divisor: int = 0,
    aligned: tuple[int, int] = (16, 16),
    norm: float = 0.0,
    beside: Sequence[int] | None = None,
    apart: Sequence[int] | None = None,
) -> Program:
    """The launch that gives each element of `plan`'s input the gradients of its windows.

    Parameters
    ----------
    kind : {"sum", "average", "add", "last", "norm"}
        As `npool.cuda.gathers.Gather.kind`.
    plan : npool.geometry.Plan
    dtype : numpy.dtype
        Of the gradients.
    order : sequence of int
        The axes from the slowest in memory to the fastest.
    in_strides, out_strides : sequence of int
        Of the gradient that is read and of the one that is written, in bytes.
    index : numpy.dtype, optional
        Of the positions.
    include_pad, divisor
        Of an average: as `npool.operation.Operation` has them.
    aligned : pair of int
        To how many bytes the first elements of both are aligned.
    norm : float
        Of a norm: its p.
    apart, beside : sequence of int
        Strides, in elements: of the positions or norms, and of the elements that had a norm.
        Default: those of the gradients.
    """
    pair = dtype.kind == "c"
    if pair:
        dtype = np.dtype(f"f{dtype.itemsize // 2}")
    size = dtype.itemsize
    windows = dict(zip(plan.axes, plan.windows, strict=True))
    dims = dims_of(plan.shape, plan.out_shape, [s // size for s in in_strides],
                   [s // size for s in out_strides], windows, order)  # fmt: skip
    if pair:
        dims.append(Dim(2, 2, 1, 1))
    if apart is not None and _alike(apart, [d.src for d in dims], [d.out for d in dims], order):
        apart = None
    if beside is not None and _alike(beside, [d.dst for d in dims], [d.size for d in dims], order):
        beside = None
    further = [steps for steps in (apart, beside) if steps is not None]
    if further:
        # The parts of a complex number have one position.
        dims = [replace(dim, more=tuple(steps[axis] for steps in further))
                for axis, dim in zip(order, dims, strict=False)] + [
                replace(dim, more=(0,)) for dim in dims[len(order):]]  # fmt: skip
    kinds = Kinds(dtype, accumulator_dtype("same", dtype), dtype, index=index)
    varying = kind == "average" and not divisor and any(
        w.count(i, bool(include_pad)) != w.kernel for w in plan.windows for i in (0, w.out - 1)
    )  # fmt: skip
    varying |= kind == "average" and not divisor and any(isinstance(w, Bins) for w in plan.windows)
    form = Gather(
        kind, (), (), False, (), counted=varying, include_pad=bool(include_pad),
        power={0.0: "", 1.0: "one", 2.0: "two"}.get(norm, "any"),
        apart=apart is not None, beside=beside is not None,
    )  # fmt: skip
    launch = _arrange(form, joined(dims), kinds, aligned)
    form = launch.form
    code = bind_gather(kinds, form)
    full = divisor or prod(w.kernel for w in plan.windows)
    floating = dict(code.numbers)["full"].kind == "f"
    given = {**launch.numbers, "full": float(full) if floating else full, "less": norm - 1}
    numbers = tuple(given[name] for name, _ in form.numbers())
    at = {"s0": INPUT, "s1": POSITIONS, "s2": ELEMENTS, "d0": RESULT}
    pointers = tuple((at[name], 0) for name in form.pointers())
    return Program((Step(code, launch, numbers, pointers),), ())


def _alike(
    steps: Sequence[int], others: Sequence[int], sizes: Sequence[int], order: Sequence[int]
) -> bool:
    """Whether strides lead to the same elements as others, which are in memory order."""
    return len(others) == len(order) and all(
        steps[axis] == other or n < 2 for axis, other, n in zip(order, others, sizes, strict=True)
    )


def _arrange(
    asked: Gather, dims: list[Dim], kinds: Kinds, aligned: tuple[int, int]
) -> Launch:  # fmt: skip
    pooled = [i for i, dim in enumerate(dims) if dim.window is not None]
    row = pooled[-1]
    inner = len(dims) - 1 if row < len(dims) - 1 else None
    column = pooled[-2] if len(pooled) > 1 else None
    if column is not None and dims[column].size > MOST_Y:
        column = None
    outer = [i for i in range(len(dims)) if i not in (row, column, inner)]
    taps = tuple(_tap(dims[i]) for i in pooled)
    tiled = []
    cells = 1
    for i, tap in zip(pooled, taps, strict=True):
        fits = (
            i in (row, column)
            and 0 < tap.stride <= MOST_TILE
            and windows_of(tap) <= MOST_WINDOWS
            and cells * tap.stride <= MOST_CELLS
        )
        tiled.append(fits)
        cells *= tap.stride if fits else 1
    innermost = dims[inner if inner is not None else row]
    form = replace(
        asked,
        axes=taps,
        outer=tuple(pooled.index(i) if i in pooled else -1 for i in outer) or (-1,),
        inner=inner is not None,
        tiled=tuple(tiled),
        unit=innermost.src == 1 and innermost.dst == 1,
    )
    form = replace(form, wide=_is_wide(dims, pooled, outer, inner))
    if inner is not None and form.unit:
        loaded = (kinds.source.itemsize, kinds.index.itemsize if kinds.index else 1)
        others = [dim for i, dim in enumerate(dims) if i != inner]
        for lanes in (8, 4, 2):
            if (
                lanes * max(loaded) <= WIDEST
                and cells * lanes <= MOST_CELLS
                and dims[inner].size % lanes == 0
                and all(d.src % lanes == 0 for d in others if d.out > 1)
                and all(d.dst % lanes == 0 for d in others if d.size > 1)
                and all(step % lanes == 0 for d in others for step in d.more)
                and all(step == 1 for step in dims[inner].more)
                and not any(a % (lanes * max(loaded)) for a in aligned)
            ):
                form = replace(form, vector=lanes)
                break
    return _launch(form, dims, row, column, inner, outer)


def _tap(dim: Dim) -> Tap:
    window = dim.window
    assert window is not None
    if isinstance(window, Bins):
        return Tap(0, 0, 0)
    return Tap(window.kernel, window.stride, window.dilation)


def _is_wide(
    dims: Sequence[Dim], pooled: Sequence[int], outer: Sequence[int], inner: int | None
) -> bool:
    """Whether an offset within a plane, or a count of planes or lanes, passes 2**31."""
    source = result = 0
    for i, dim in enumerate(dims):
        w = dim.window
        if isinstance(w, Bins) or (
            w is not None
            and 2 * (dim.size + w.before + w.after + w.extent + w.stride * (w.out + 1)) > NARROW
        ):
            return True
        if i not in outer:
            further = max(map(abs, dim.more), default=0)
            source += 2 * (dim.out + MOST_WINDOWS) * max(abs(dim.src), further)
            result += 2 * (dim.size + MOST_TILE) * max(abs(dim.dst), further)
    channels = dims[inner].size if inner is not None else 1
    lanes = (dims[pooled[-1]].size + MOST_TILE) * channels + THREADS
    planes = prod(dims[i].size for i in outer) + 4 * THREADS * MOST_Y
    return max(source, result, lanes, planes) > NARROW


def _launch(
    form: Gather, dims: Sequence[Dim], row: int, column: int | None, inner: int | None,
    outer: Sequence[int],
) -> Launch:  # fmt: skip
    channels = dims[inner].size // form.vector if inner is not None else 1
    numbers: dict[str, Any] = {"channels": channels}
    further = [*(["r"] if form.apart else []), *(["e"] if form.beside else [])]
    if inner is not None:
        numbers |= {"ics": dims[inner].src, "ocs": dims[inner].dst}
        numbers |= {f"{stem}cs": s for stem, s in zip(further, dims[inner].more, strict=True)}
    threads = {"y": 1}
    for letter, i in (("x", row), ("y", column)):
        if i is None:
            continue
        dim, (tap, tiled) = dims[i], form.near[letter]
        window = dim.window
        assert window is not None
        first, threads[letter] = 0, dim.size
        if tiled:
            first = window.before // tap.stride
            threads[letter] = (dim.size - 1 + window.before) // tap.stride - first + 1
        numbers |= {f"n{letter}": dim.size, f"o{letter}": dim.out, f"q{letter}": first,
                    f"b{letter}": window.before, f"s{letter}": dim.src, f"t{letter}": dim.dst,
                    f"a{letter}": dim.size + window.after, f"p{letter}": dim.place}  # fmt: skip
        numbers |= {f"{stem}{letter}": s for stem, s in zip(further, dim.more, strict=True)}
    numbers["lanes"] = threads["x"] * channels
    sizes = [dims[i].size for i in outer] or [1]
    for k, i in enumerate(outer):
        dim = dims[i]
        numbers |= {f"n{k}": dim.size, f"si{k}": dim.src, f"so{k}": dim.dst, f"ps{k}": dim.place}
        numbers |= {f"{stem}i{k}": s for stem, s in zip(further, dim.more, strict=True)}
        if dim.window is not None:
            numbers |= {f"oz{k}": dim.out, f"bz{k}": dim.window.before,
                        f"az{k}": dim.size + dim.window.after}  # fmt: skip
    if not outer:
        numbers |= {"n0": 1, "si0": 0, "so0": 0, "ps0": 0, "ri0": 0, "ei0": 0}
    grid, block = grid_of(numbers["lanes"], threads["y"], prod(sizes))
    return Launch(form, numbers | steps_of(grid[2] * block[2], sizes), grid, block)
