"""Gradients added wherever their positions say, of windows that nothing is known of.

No atomics, nothing zeroed first, and the same bits each time: each element looks for the results
that have its position. It need not look at all. Along each pooled axis, and for each plane, the
positions of the results of one index there lie between bounds, which are found first; of these
follows, for each index of an element, the first and the last index of a result that may have it.
Windows that move along the axes, as those of fractional pooling do, leave a few. Positions in
any other order are found as well, but take longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from npool.cuda.binding import Code, common, gradient_words
from npool.cuda.program import INPUT, OWN, POSITIONS, RESULT, Program, Step
from npool.cuda.steps import NARROW, Launch, grid_of, steps_of
from npool.dtypes import accumulator_dtype
from npool.identities import storage

__all__ = ["Anywhere", "anywhere_program"]


@dataclass(frozen=True)
class Anywhere:
    """The shape of such a kernel; every number has 64 bits.

    Attributes
    ----------
    stage : str
        ``"bounds"``: of positions along an axis; ``"spans"``: of results that may have an element
        of an index; ``"add"``.
    dims : tuple of int
        What threads (the last) and a loop (the others) go through, the slowest first: the number
        of a pooled axis in the caller's order, or -1.
    axes : int
        How many pooled axes there are.
    axis : int
        Of bounds: along which.
    dtype : numpy.dtype or None
        Of the gradients.
    """

    stage: str
    dims: tuple[int, ...]
    axes: int
    axis: int = 0
    dtype: np.dtype[Any] | None = None

    wide, parts, params, folded, adding, finishing, placed = True, 1, 0, False, False, True, False

    def pointers(self) -> tuple[str, ...]:
        """Sources, then results."""
        return {"bounds": ("s1", "d0"), "spans": ("s0", "d0"), "add": ("s0", "s1", "s2", "d0")}[
            self.stage
        ]

    @property
    def searched(self) -> list[int]:
        """Pooled axes whose results a thread goes through, in the caller's order."""
        if self.stage == "spans":
            return []
        return [a for a in range(self.axes) if self.stage == "add" or a != self.axis]

    def numbers(self) -> Iterator[tuple[str, str]]:
        """Names and types of the arguments after the pointers, as of a `Form`.

        Along a dimension ``n`` is its length; ``si``, ``pi`` and ``so`` are the steps of
        gradients, positions and results, ``pl`` that of the number of a plane. Of a pooled axis
        ``o`` is how many results there are, ``m`` how many elements, ``ps`` the step of a
        position, ``sj`` and ``pj`` those of gradients and positions. ``first`` and ``last`` are
        where a table begins, ``read`` and ``beyond`` that which is read.
        """
        names = ["lanes", "total", "first", "last", "read", "beyond"]
        for a in range(self.axes):
            names += [f"o{a}", f"m{a}", f"ps{a}", f"sj{a}", f"pj{a}", f"first{a}", f"last{a}"]
        for k in range(len(self.dims)):
            names += [f"n{k}", f"si{k}", f"pi{k}", f"so{k}", f"pl{k}", f"step{k}"]
        yield from ((name, "l") for name in names)

    def source(self) -> str:
        """A function ``kernel`` in Python, for Numba to compile in the namespace of its words."""
        names = [*self.pointers(), *(name for name, _ in self.numbers())]
        body = {"bounds": self._bounds, "spans": self._spans, "add": self._add}[self.stage]()
        inside = "\n".join("    " + line for line in self._planes(body))
        return f"def kernel({', '.join(names)}):\n{inside}\n"

    def _planes(self, body: list[str]) -> list[str]:
        """A loop over all dimensions but the last, whose digits go up by those of a step."""
        lane = len(self.dims) - 1
        many = range(lane)
        lines = [f"i{lane} = long(cuda.blockIdx.x) * long(cuda.blockDim.x) + "
                 "long(cuda.threadIdx.x)", f"if i{lane} >= lanes:", "    return",
                 "p = long(cuda.blockIdx.z) * long(cuda.blockDim.z) + "
                 "long(cuda.threadIdx.z)"]  # fmt: skip
        for k in reversed(many[1:]):
            lines += [f"i{k} = remainder(p, n{k})", f"p = quotient(p, n{k})"]
        lines += ["i0 = p", "while i0 < n0:"]
        body = [*body]
        for k in reversed(many[1:]):
            body += [f"i{k} = i{k} + step{k}", f"if i{k} >= n{k}:", f"    i{k} = i{k} - n{k}",
                     f"    i{k - 1} = i{k - 1} + 1"]  # fmt: skip
        return lines + ["    " + line for line in [*body, "i0 = i0 + step0"]]

    def _along(self, stem: str, free: bool = True) -> str:
        """The sum of the steps along the dimensions that are not pooled, or along all."""
        terms = [f"i{k} * {stem}{k}" for k, a in enumerate(self.dims) if a < 0 or not free]
        return " + ".join(terms) or "long(0)"

    def _searched(self, starts: dict[str, str], inside: list[str]) -> list[str]:
        """Loops over the results of the searched axes; `b` and `q` lead to each."""
        lines: list[str] = []
        depth = 0

        def say(*more: str) -> None:
            lines.extend("    " * depth + line for line in more)

        at = dict(starts)
        for a in self.searched:
            begin, end = ("l", "h") if self.stage == "add" else ("", "")
            say(f"j{a} = {f'{begin}{a}' if begin else 'long(0)'}",
                f"while j{a} {f'<= {end}{a}' if end else f'< o{a}'}:")  # fmt: skip
            depth += 1
            for name, stem in (("b", "sj"), ("q", "pj")):
                if name in at:
                    say(f"{name}{a} = {at[name]} + j{a} * {stem}{a}")
                    at[name] = f"{name}{a}"
        say(*(f"{name}_ = {where}" for name, where in at.items()), *inside)
        for a in reversed(self.searched):
            say(f"j{a} = j{a} + 1")
            depth -= 1
        return lines

    def _bounds(self) -> list[str]:
        a, lane = self.axis, len(self.dims) - 1
        inside = [
            "place = long(s1[q_])",
            "there = (place >= 0) & (place < total)",
            f"c = remainder(quotient(select(there, place, long(0)), ps{a}), m{a})",
            "low = select(there & (c < low), c, low)",
            "high = select(there & (c > high), c, high)",
        ]
        return [
            f"low, high = m{a}, long(-1)",
            *self._searched({"q": f"{self._along('pi')} + i{lane} * pj{a}"}, inside),
            f"w = ({self._along('pl')}) * o{a} + i{lane}",
            "d0[first + w] = cell(low)",
            "d0[last + w] = cell(high)",
        ]

    def _spans(self) -> list[str]:
        a, lane = self.axis, len(self.dims) - 1
        return [
            f"near, far, o = o{a}, long(-1), long(0)",
            f"w = i0 * o{a}",
            f"while o < o{a}:",
            f"    there = (long(s0[read + w + o]) <= i{lane}) & "
            f"(i{lane} <= long(s0[beyond + w + o]))",
            "    near = select(there, min(near, o), near)",
            "    far = select(there, o, far)",
            "    o = o + 1",
            f"w = i0 * m{a} + i{lane}",
            "d0[first + w] = cell(near)",
            "d0[last + w] = cell(far)",
        ]

    def _add(self) -> list[str]:
        digit = {a: f"i{k}" for k, a in enumerate(self.dims) if a >= 0}
        lines = [f"plane = {self._along('pl')}"]
        for a in range(self.axes):
            lines += [f"w = plane * m{a} + {digit[a]}", f"l{a} = long(s2[first{a} + w])",
                      f"h{a} = long(s2[last{a} + w])"]  # fmt: skip
        mine = " + ".join(f"{digit[a]} * ps{a}" for a in range(self.axes))
        inside = ["if long(s1[q_]) == mine:", "    total_ = keep0(total_ + keep0(lift(s0[b_])))"]
        starts = {"b": self._along("si"), "q": self._along("pi")}
        return [*lines, f"mine = {mine}", "total_ = NOTHING", *self._searched(starts, inside),
                f"d0[{self._along('so', free=False)}] = encode(total_)"]  # fmt: skip

    def space(self, code: Code, cc: tuple[int, int]) -> dict[str, object]:
        """The namespace of its words."""
        found = {**common(self), "cell": code.pointers[-1].type}
        if self.dtype is not None:
            found |= gradient_words(self.dtype, accumulator_dtype("same", self.dtype), cc)
        return found


def anywhere_program(
    dtype: np.dtype[Any],
    shape: Sequence[int],
    axes: Sequence[int],
    result: Sequence[int],
    order: Sequence[int],
    strides: Sequence[Sequence[int]],
    index: np.dtype[Any],
) -> Program:
    """The launches that add gradients where positions say.

    Parameters
    ----------
    dtype, index : numpy.dtype
        Of the gradients and of the positions.
    shape, result, axes
        Of the elements, of the gradients, and the axes by which positions count, in the caller's
        order.
    order : sequence of int
        The axes from the slowest in memory to the fastest.
    strides : three sequences of int
        Of the gradients, the positions and the elements, in elements.
    """
    free = [a for a in order if a not in axes]
    planes = prod(shape[a] for a in free)
    lengths = [(result[axis], shape[axis]) for axis in axes]
    wide = max(max(pair) for pair in lengths) > NARROW
    cell = np.dtype(np.int64 if wide else np.int32)
    known: dict[str, Any] = {"total": prod(shape[axis] for axis in axes)}
    # Two tables an axis: of bounds in one buffer, and of spans in the other.
    bounds, spans, step = 0, 0, known["total"]
    tables = []
    for a, axis in enumerate(axes):
        outs, size = lengths[a]
        step //= max(1, size)
        tables.append((bounds, bounds + planes * outs, spans, spans + planes * size))
        bounds, spans = bounds + 2 * planes * outs, spans + 2 * planes * size
        known |= {f"o{a}": outs, f"m{a}": size, f"ps{a}": step, f"sj{a}": strides[0][axis],
                  f"pj{a}": strides[1][axis], f"first{a}": tables[a][2],
                  f"last{a}": tables[a][3]}  # fmt: skip
    plane_steps, count = {}, 1
    for axis in reversed(free):
        plane_steps[axis] = count
        count *= shape[axis]
    steps: list[Step] = []

    def add(form: Anywhere, dims: Sequence[int | None], sizes: Sequence[int],
            pointers: tuple[tuple[int, int], ...], kinds: tuple[np.dtype[Any], ...],
            **more: int) -> None:  # fmt: skip
        if not prod(sizes):
            return
        grid, block = grid_of(sizes[-1], 1, prod(sizes[:-1]))
        numbers = {"lanes": sizes[-1], "first": 0, "last": 0, "read": 0, "beyond": 0, **known,
                   **more}  # fmt: skip
        for k, (axis, n) in enumerate(zip(dims, sizes, strict=True)):
            moves = [0, 0, 0] if axis is None else [s[axis] for s in strides]
            names = ("n", "si", "pi", "so", "pl", "step")
            values = (n, *moves, plane_steps.get(-1 if axis is None else axis, 0), 0)
            numbers |= {f"{stem}{k}": v for stem, v in zip(names, values, strict=True)}
        numbers |= steps_of(grid[2] * block[2], sizes[:-1])
        launch = Launch(form, numbers, grid, block)
        code = Code.of(form, kinds)
        steps.append(
            Step(code, launch, tuple(numbers[name] for name, _ in form.numbers()), pointers)
        )

    count = len(axes)
    for a, (low, high, first, last) in enumerate(tables):
        outs, size = lengths[a]
        dims: list[int | None] = [*free, None] if free else [None, None]
        sizes = [*[shape[x] for x in free], outs] if free else [1, outs]
        add(Anywhere("bounds", (-1,) * len(dims), count, a), dims, sizes,
            ((POSITIONS, 0), (OWN, 0)), (index, cell), first=low, last=high)  # fmt: skip
        add(Anywhere("spans", (-1, -1), count, a), (None, None), (planes, size),
            ((OWN, 0), (OWN + 1, 0)), (cell, cell),
            first=first, last=last, read=low, beyond=high)  # fmt: skip
    kept = [axis for axis in order if shape[axis] > 1 or axis in axes]
    ranks = [list(axes).index(axis) if axis in axes else -1 for axis in kept]
    dims, held = [*kept], storage(dtype)
    if len(dims) == 1:
        dims, ranks = [None, *dims], [-1, *ranks]
    add(
        Anywhere("add", tuple(ranks), count, 0, dtype),
        dims,
        [1 if axis is None else shape[axis] for axis in dims],
        ((INPUT, 0), (POSITIONS, 0), (OWN + 1, 0), (RESULT, 0)),
        (held, index, cell, held),
    )
    size = cell.itemsize
    return Program(tuple(steps), (max(1, bounds) * size, max(1, spans) * size))
