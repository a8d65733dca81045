"""Elements at the positions that pooling returned: the gradient of a gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from npool.cuda.binding import Code, common
from npool.cuda.program import INPUT, POSITIONS, RESULT, Program, Step
from npool.cuda.steps import Launch, grid_of, steps_of
from npool.identities import storage

__all__ = ["Taking", "take_program"]


@dataclass(frozen=True)
class Taking:
    """The shape of a kernel that takes elements; every number has 64 bits.

    Attributes
    ----------
    outer : int
        How many dimensions of the result a loop goes through; threads lie along the last.
    axes : int
        Pooled axes that positions are to be taken apart into.
    """

    outer: int
    axes: int

    wide, parts, params, folded, adding, finishing, placed = True, 1, 0, False, False, True, False

    def pointers(self) -> tuple[str, ...]:
        """Elements, positions, and the result."""
        return "s0", "s1", "d0"

    def numbers(self) -> Iterator[tuple[str, str]]:
        """Names and types of the arguments after the pointers, as of a `Form`.

        ``m`` and ``a`` are the length of a pooled axis and the step along it; ``total`` is how
        many positions there are; ``si``, ``sp`` and ``so`` are the steps of elements, positions
        and results along a dimension, and ``e`` those along the last.
        """
        names = ["lanes", "total", "esi", "esp", "eso"]
        for k in range(self.axes):
            names += [f"m{k}", f"a{k}"]
        for k in range(self.outer):
            names += [f"n{k}", f"si{k}", f"sp{k}", f"so{k}", f"step{k}"]
        yield from ((name, "l") for name in names)

    def source(self) -> str:
        """A function ``kernel`` in Python, for Numba to compile in the namespace of its words."""
        many = range(self.outer)
        lines = ["lane = long(cuda.blockIdx.x) * long(cuda.blockDim.x) + long(cuda.threadIdx.x)",
                 "if lane >= lanes:", "    return",
                 "p = long(cuda.blockIdx.z) * long(cuda.blockDim.z) + "
                 "long(cuda.threadIdx.z)"]  # fmt: skip
        for k in reversed(many[1:]):
            lines += [f"i{k} = remainder(p, n{k})", f"p = quotient(p, n{k})"]
        lines += ["i0 = p", "while i0 < n0:"]
        body = [
            f"{name} = lane * e{stem}" + "".join(f" + i{k} * {stem}{k}" for k in many)
            for name, stem in (("b", "si"), ("q", "sp"), ("t", "so"))
        ]
        body += ["place = long(s1[q])", "there = (place >= 0) & (place < total)",
                 "rest = select(there, place, long(0))"]  # fmt: skip
        for k in reversed(range(1, self.axes)):
            body += [f"up = quotient(rest, m{k})", f"b = b + (rest - up * m{k}) * a{k}",
                     "rest = up"]  # fmt: skip
        body += ["b = b + rest * a0", "d0[t] = select(there, s0[b], NOTHING)"]
        for k in reversed(many[1:]):
            body += [f"i{k} = i{k} + step{k}", f"if i{k} >= n{k}:", f"    i{k} = i{k} - n{k}",
                     f"    i{k - 1} = i{k - 1} + 1"]  # fmt: skip
        body.append("i0 = i0 + step0")
        names = [*self.pointers(), *(name for name, _ in self.numbers())]
        lines += ["    " + line for line in body]
        inside = "\n".join("    " + line for line in lines)
        return f"def kernel({', '.join(names)}):\n{inside}\n"

    def space(self, code: Code, cc: tuple[int, int]) -> dict[str, object]:
        """The namespace of its words."""
        return {**common(self), "NOTHING": code.pointers[0].type(0)}


def take_program(
    dtype: np.dtype[np.generic],
    shape: Sequence[int],
    axes: Sequence[int],
    result: Sequence[int],
    order: Sequence[int],
    strides: Sequence[Sequence[int]],
    index: np.dtype[np.generic],
) -> Program:
    """The launch that takes elements of an array of `shape`.

    Parameters
    ----------
    dtype, index : numpy.dtype
        Of the elements and of the positions.
    shape, result, axes
        Of the array, of the positions, and the axes by which these count, in the caller's order.
    order : sequence of int
        The axes from the slowest in memory to the fastest.
    strides : three sequences of int
        Of the array, the positions and the result, in elements.
    """
    apart: list[list[int]] = []
    for axis in axes:
        size, step = shape[axis], strides[0][axis]
        if apart and apart[-1][1] == step * size:  # one follows upon the other
            apart[-1] = [apart[-1][0] * size, step]
        else:
            apart.append([size, step])
    *outer, last = [a for a in order if result[a] > 1] or [order[-1]]
    form = Taking(max(1, len(outer)), len(apart))

    def step_of(axis: int) -> tuple[int, int, int]:
        return (0 if axis in axes else strides[0][axis], strides[1][axis], strides[2][axis])

    numbers = {"lanes": result[last], "total": prod(shape[axis] for axis in axes)}
    numbers |= dict(zip(("esi", "esp", "eso"), step_of(last), strict=True))
    for k, (size, step) in enumerate(apart):
        numbers |= {f"m{k}": size, f"a{k}": step}
    sizes = [result[axis] for axis in outer] or [1]
    for k, n in enumerate(sizes):
        moves = step_of(outer[k]) if outer else (0, 0, 0)
        numbers |= {f"n{k}": n, f"si{k}": moves[0], f"sp{k}": moves[1], f"so{k}": moves[2]}
    grid, block = grid_of(numbers["lanes"], 1, prod(sizes))
    launch = Launch(form, numbers | steps_of(grid[2] * block[2], sizes), grid, block)
    code = Code.of(form, (storage(dtype), index, storage(dtype)))
    given = tuple(launch.numbers[name] for name, _ in form.numbers())
    pointers = ((INPUT, 0), (POSITIONS, 0), (RESULT, 0))
    return Program((Step(code, launch, given, pointers),), ())
