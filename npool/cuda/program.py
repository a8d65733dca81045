"""A call as launches: one for windows of few taps, several passes for large ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from npool.bins import Bins
from npool.cuda.binding import Code, Kinds, bind
from npool.cuda.dims import Dim, dims_of
from npool.cuda.forms import Gather
from npool.cuda.passes import Passes
from npool.cuda.steps import Launch, Needs, arrange, numbers_of
from npool.operation import Operation

__all__ = [
    "ELEMENTS", "INPUT", "POSITIONS", "RESULT", "SAMPLES", "TAPS", "Build", "Program", "Step",
    "program",
]  # fmt: skip

#: Buffers by number; those of a program's own come after.
INPUT, RESULT, POSITIONS, SAMPLES, ELEMENTS, OWN = 0, 1, 2, 3, 4, 5
#: The most taps that are written out in one kernel, and along one axis of it.
TAPS, ALONG = 50, 32


@dataclass(frozen=True)
class Step:
    """One launch.

    Attributes
    ----------
    code : Code
    launch : Launch
    numbers : tuple
        Arguments after the pointers, in order.
    pointers : tuple of (int, int)
        For each pointer, a buffer and the bytes to be added to its address.
    """

    code: Code
    launch: Launch
    numbers: tuple[Any, ...]
    pointers: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Program:
    """The launches of a call, in order, and the bytes of the buffers that they need besides.

    Buffer ``OWN + i`` has ``own[i]`` bytes.
    """

    steps: tuple[Step, ...]
    own: tuple[int, ...]


def program(
    operation: Operation,
    dtype: np.dtype[Any],
    in_strides: Sequence[int],
    out_strides: Sequence[int],
    aligned: tuple[int, int] = (16, 16),
) -> Program:
    """The launches of an operation on an array of `dtype` with strides in bytes.

    `aligned` says to how many bytes the first elements of input and result are aligned. The
    positions, where there are any, have the strides of the values, in elements.
    """
    plan, (reducer, accumulator, result) = operation.plan, operation.types
    pair, imaginary = dtype.kind == "c", result.kind == "c" and dtype.kind != "c"
    if pair:
        dtype = np.dtype(f"f{dtype.itemsize // 2}")
    if result.kind == "c":
        result = np.dtype(f"f{result.itemsize // 2}")
    index = operation.index
    reach = prod(window.size for window in plan.windows)
    place = None if index is None else np.dtype(np.int32 if reach < 2**31 else np.int64)
    kinds = Kinds(dtype, accumulator, result, place, index)
    windows = dict(zip(plan.axes, plan.windows, strict=True))
    dims = dims_of(
        plan.shape, plan.out_shape, [s // dtype.itemsize for s in in_strides],
        [s // result.itemsize for s in out_strides], windows, operation.order,
    )  # fmt: skip
    if pair:  # the parts of complex numbers are channels
        dims.append(Dim(2, 2, 1, 1))
    adaptive = any(isinstance(w, Bins) for w in plan.windows)
    clipped = adaptive or any(w.count(i, operation.include_pad) != w.kernel
                  for w in plan.windows for i in (0, w.out - 1))  # fmt: skip
    counted = reducer.finish is not None and index is None and not operation.divisor and clipped
    taps = prod(w.kernel for w in plan.windows)
    full = operation.divisor or taps
    build = Build(operation, kinds, full, imaginary)
    # A place within a window is a number for each axis, packed into 30 bits.
    most = 1 << 30 // len(plan.windows) if index else 1 << 62
    near = all(w.extent + 4 * w.stride < most for w in plan.windows)
    if near and not adaptive and taps <= TAPS and all(w.kernel <= ALONG for w in plan.windows):
        build.direct(dims, counted, aligned)
    else:
        Passes(build, operation, kinds).run(dims, aligned, counted)
    return Program(tuple(build.steps), tuple(build.own))


class Build:
    """Steps and buffers as they come."""

    def __init__(
        self, operation: Operation, kinds: Kinds, full: int, imaginary: bool = False
    ) -> None:
        self.operation, self.kinds, self.full = operation, kinds, full
        #: Whether results are complex and elements are not.
        self.imaginary = imaginary
        self.reducer = operation.types.reducer
        self.held = kinds.held(self.reducer)
        self.input = [(INPUT, 0)]
        self.results = [(RESULT, 0)] + ([(POSITIONS, 0)] if kinds.index else [])
        self.steps: list[Step] = []
        self.own: list[int] = []

    def buffer(self, elements: int) -> list[tuple[int, int]]:
        """A new buffer of accumulators: where each of its parts begins."""
        starts, size = [], 0
        for part in self.held:
            starts.append((OWN + len(self.own), size))
            size += -(-elements * part.itemsize // 256) * 256
        self.own.append(size)
        return starts

    def needs(self, aligned: tuple[int, int], **more: Any) -> Needs:
        """What a pass over elements that writes results needs, or as `more` says."""
        kinds, reducer = self.kinds, self.reducer
        folded, finishing = more.get("folded", False), more.get("finishing", True)
        loaded = self.held if folded else (kinds.element(reducer),)
        stored = kinds.written(reducer) if finishing else self.held
        given = {"placed": kinds.place is not None, "parts": len(self.held),
                 "include_pad": self.operation.include_pad,
                 "imaginary": finishing and self.imaginary, **more}  # fmt: skip
        return Needs(
            tuple(d.itemsize for d in loaded), tuple(d.itemsize for d in stored), aligned, **given
        )

    def direct(self, dims: Sequence[Dim], counted: bool, aligned: tuple[int, int]) -> None:
        """All windows at once."""
        kinds, source = self.kinds, list(dims)
        if kinds.native(self.reducer) and _paired(source, aligned):
            # Two half elements, side by side in memory, are one of 32 bits.
            kinds = replace(kinds, pairs=True)
            source = [replace(d, src=d.src // 2, dst=d.dst // 2) for d in source[:-1]]
            last = dims[-1]
            source.append(replace(last, size=last.size // 2, out=last.out // 2))
            needs = replace(self.needs(aligned, counted=counted), loaded=(4,), stored=(4,))
        else:
            needs = self.needs(aligned, counted=counted)
        self.add(arrange(source, needs), kinds, self.input, self.results)

    def add(
        self,
        launch: Launch,
        kinds: Kinds,
        sources: Sequence[tuple[int, int]],
        results: Sequence[tuple[int, int]],
    ) -> None:
        """A launch that reads `sources` and writes `results`."""
        form = launch.form
        assert not isinstance(form, Gather)
        code = bind(self.reducer, kinds, form)
        params = {f"param{k}": p for k, p in enumerate(self.reducer.params)}
        count = dict(code.numbers).get("full", np.dtype(np.int64))
        full = float(self.full) if count.kind == "f" else self.full
        numbers = numbers_of(replace(launch, form=code.form), full=full, **params)
        self.steps.append(Step(code, launch, tuple(numbers), (*sources, *results)))


def _paired(dims: Sequence[Dim], aligned: tuple[int, int]) -> bool:
    """Whether half elements may be taken two at a time: channels, an even number of them."""
    last = dims[-1]
    return (
        last.window is None
        and last.size % 2 == 0
        and (last.src, last.dst) == (1, 1)
        and all(d.src % 2 == 0 and d.dst % 2 == 0 for d in dims[:-1] if d.size > 1 or d.out > 1)
        and not any(a % 4 for a in aligned)
    )
