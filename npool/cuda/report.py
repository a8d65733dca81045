"""A call's kernels as a table: what ptxas made of them, and what that means for a GPU's memory.

No GPU is needed, and none is asked: all that is said of speed is an estimate from the listing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np

from npool.cuda.anywhere import Anywhere
from npool.cuda.forms import Drawing, Form, Gather
from npool.cuda.inspect import Sass, examine
from npool.cuda.launching import signature
from npool.cuda.program import Program, Step, program
from npool.cuda.toolkit import ptx
from npool.cuda.walks import Walk
from npool.layout import memory_order
from npool.operation import Operation, operation

__all__ = ["ARCHITECTURES", "MEMORY_BOUND", "Row", "as_dicts", "describe", "report", "rows"]

#: What is looked at where nothing else is asked for: A100, H100 and B200.
ARCHITECTURES = ((8, 0), (9, 0), (10, 0))
#: Instructions of a thread a byte up to which memory, not issue, is expected to be the limit: an
#: H100 issues about 10 in the time that a byte takes (an estimate, not a measurement).
MEMORY_BOUND = 4.0


@dataclass(frozen=True)
class Row:
    """One kernel on one architecture.

    Attributes
    ----------
    kernel, architecture : str
    registers, spills, stack : int
        Of a thread; instructions that spill, and bytes of its stack.
    double : int
        Instructions of float64.
    instructions : float or None
        Of the interior's loop, a result; None where it has no loop that is only that.
    loads : dict
        Loads in that loop, by their bytes.
    calls : int
        Calls and divisions in that loop.
    bytes : float
        The floor: bytes of memory a result, everything read and written once.
    per_byte : float or None
    bound : str
        What is expected to be the limit: "memory" or "instructions"; "unknown".
    """

    kernel: str
    architecture: str
    registers: int
    spills: int
    stack: int
    double: int
    instructions: float | None
    loads: dict[int, int]
    calls: int
    bytes: float
    per_byte: float | None
    bound: str


def describe(step: Step) -> str:
    """What a kernel is, in a few words."""
    form = step.code.form
    if isinstance(form, Form):
        windows = "x".join(str(tap.kernel) for tap in form.axes)
        words = [f"taps {windows}"]
        words += [f"{form.vector} channels at once"] if form.vector > 1 else []
        words += [f"{form.across} columns"] if form.across > 1 else []
        words += [f"{form.down} rows"] if form.down > 1 else []
        words += ["with positions"] if form.placed else []
        return ", ".join(words)
    if isinstance(form, Gather):
        return f"gradient ({form.kind}), windows " + "x".join(str(tap.kernel) for tap in form.axes)
    if isinstance(form, Drawing):
        windows = "x".join(map(str, form.kernels))
        return f"drawn, taps {windows}" + (", with positions" if form.placed else "")
    if isinstance(form, Anywhere):
        return f"gradients at positions, {form.stage}"
    if not isinstance(form, Walk):
        return "elements at positions"
    return {"window": "walk along an axis", "adaptive": "walk over adaptive bins",
            "finish": "last pass"}[form.kind]  # fmt: skip


def rows(made: Program, floor: float, architectures: Sequence[tuple[int, int]]) -> list[Row]:
    """A program's kernels. `floor` is that of its only step; of several, each has its own."""
    found = []
    for step in {id(step.code): step for step in made.steps}.values():
        code = step.code
        function = code.function(architectures[0])
        texts = ptx(function, signature(code), *architectures)
        written = sum(
            dtype.itemsize
            for dtype, name in zip(code.pointers, code.form.pointers(), strict=True)
            if name[0] == "d"
        )
        least = floor if len(made.steps) == 1 else _own_floor(step, written)
        for cc, (text, _) in zip(architectures, texts, strict=True):
            found.append(_row(step, cc, examine(text, cc), written, least))
    return found


def _own_floor(step: Step, written: int) -> float:
    """Bytes a result of one pass of several: its own elements read and written once."""
    code, numbers = step.code, step.launch.numbers
    read = sum(dtype.itemsize for dtype, name in
               zip(code.pointers, code.form.pointers(), strict=True) if name[0] == "s")  # fmt: skip
    ratio = 1.0
    for stem in "xy":
        if f"n{stem}" in numbers and f"o{stem}" in numbers:
            ratio *= numbers[f"n{stem}"] / max(1, numbers[f"o{stem}"])
    return written + read * ratio


def _row(step: Step, cc: tuple[int, int], sass: Sass, written: int, floor: float) -> Row:
    loop = sass.interior
    each = per_byte = None
    loads: dict[int, int] = {}
    calls = 0
    if loop is not None and isinstance(step.code.form, (Drawing, Form, Gather)):
        each = loop.instructions * written / loop.stored
        per_byte = each / floor
        loads = dict(sorted(loop.loads.items()))
        calls = sum(name.startswith(("CALL", "MUFU.RCP")) for name in loop.body)
    bound = "unknown"
    if per_byte is not None:
        bound = "memory" if per_byte <= MEMORY_BOUND else "instructions"
    return Row(describe(step), f"sm_{cc[0]}{cc[1]}", sass.registers, sass.spilled, sass.stack,
               sass.double, each, loads, calls, floor, per_byte, bound)  # fmt: skip


@dataclass(frozen=True)
class _Seen:
    """An array that is not there: what an operation is made of."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]


def report(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    axes: Any = None,
    reduce: Any = "max",
    return_indices: bool = False,
    architectures: Sequence[tuple[int, int]] = ARCHITECTURES,
) -> list[Row]:
    """The kernels of a call on a contiguous array of `shape`.

    Parameters
    ----------
    shape, dtype
        Of the array.
    kernel_size, stride, padding, dilation, ceil_mode, axes, reduce, return_indices
        As for :func:`npool.pool`.
    architectures : sequence of (int, int)
        Compute capabilities.

    Returns
    -------
    list of Row
        Kernel by kernel, architecture by architecture.

    Raises
    ------
    ValueError, TypeError
        As :func:`npool.pool`.
    FileNotFoundError
        Where cuobjdump is not installed.
    """
    seen: Any = _Seen(shape, _contiguous(shape, dtype.itemsize), dtype)
    asked = operation(seen, kernel_size, stride, padding, dilation, ceil_mode, axes, reduce, None,
                      None, None, "half_even", return_indices, np.int64)  # fmt: skip
    return _of(asked, seen, architectures)


def _of(asked: Operation, seen: Any, architectures: Sequence[tuple[int, int]]) -> list[Row]:
    plan, types = asked.plan, asked.types
    assert asked.order == memory_order(plan.shape, seen.strides)
    out_strides = _contiguous(plan.out_shape, types.result.itemsize)
    made = program(asked, seen.dtype, seen.strides, out_strides)
    sizes = [types.result.itemsize] + ([asked.index.itemsize] if asked.index else [])
    results = max(1, prod(plan.out_shape))
    floor = prod(plan.shape) * seen.dtype.itemsize / results + sum(sizes)
    return rows(made, floor, architectures)


def _contiguous(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    strides, step = [], itemsize
    for n in reversed(shape):
        strides.append(step)
        step *= max(1, n)
    return tuple(reversed(strides))


def as_dicts(found: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as plain data, for JSON."""
    return [asdict(row) for row in found]
