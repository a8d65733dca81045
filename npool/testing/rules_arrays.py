"""Rules of semantics.md section 4: strides, memory order, ``out``, and what is left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .edges import edge
from .implementations import Implementation
from .judging import Deviation, agree, compare, refused, run, shown
from .layouts import DENSE, STRIDED
from .problems import Problem
from .rules import rule

FOLDS = ("max", "min", "avg", "sum")
GEOMETRY = ("stride", "padding", "asymmetric_padding", "dilation", "ceil_mode", "axes")


@rule(
    FOLDS,
    dtypes=("float32", "uint8", "int64"),
    needs=("layouts",),
    layouts=STRIDED,
    vary=("stride", "padding", "axes"),
)
def any_strides(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 4: any strides are read right: Fortran order, views, slices, negative, zero."""
    agree(implementation, problem)


@rule(FOLDS, needs=("layouts",), layouts=DENSE, vary=("stride",), pooled=(1, 2, 3), batch=(0, 1, 2))
def memory_order_kept(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 4: a dense array in any axis order gives a result in the same order."""
    x = problem.array()
    values = agree(implementation, problem, x)
    order = _memory_order(x)
    long = [axis for axis in order if values.shape[axis] > 1 and x.shape[axis] > 1]
    strides = [abs(values.strides[axis]) for axis in long]
    if values.size and strides != sorted(strides, reverse=True):
        raise Deviation(
            problem,
            str(problem),
            f"a result whose axes lie in memory as {order}, slowest first",
            f"as {_memory_order(values)}",
        )


def _memory_order(x: np.ndarray[Any, Any]) -> list[int]:
    return sorted(range(x.ndim), key=lambda axis: (-abs(x.strides[axis]), axis))


@rule(
    FOLDS,
    dtypes=("float16", "float32", "float64", "int16", "int32", "int64", "uint16", "uint64"),
    needs=("layouts",),
    layouts=("big_endian", "unaligned"),
    vary=("stride",),
)
def byte_order_and_alignment(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: big-endian and unaligned input is converted; the result is native."""
    agree(implementation, problem)


@rule(FOLDS, layouts=("read_only",), vary=("stride", "padding"))
def read_only_input(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 4: an input that may not be written to is pooled as any other."""
    agree(implementation, problem)


@rule(
    FOLDS,
    dtypes=("float32", "int64", "uint8"),
    layouts=("C", "F", "sliced"),
    data=("integers", "nan"),
    vary=GEOMETRY,
    empty_windows=True,
)
def input_unchanged(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 4: nothing is ever written to the input."""
    x = problem.array()
    before = x.copy()
    run(implementation, problem, x)
    if not np.array_equal(before, x, equal_nan=x.dtype.kind == "f"):
        raise Deviation(problem, str(problem), f"input left at {shown(before)}", shown(x))


@rule(FOLDS, dtypes=("float32", "float64"), data=("floats",), vary=("stride", "padding"))
def same_bits_each_time(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 4: the same call gives the same bits."""
    first, _ = run(implementation, problem)
    again, _ = run(implementation, problem)
    if first.tobytes() != again.tobytes():
        raise Deviation(problem, str(problem), shown(first), shown(again))


def _filled(problem: Problem, layout: str) -> np.ndarray[Any, Any]:
    """An array for ``out``, of the right shape and dtype, with rubbish in it."""
    answer = problem.expected().values
    if layout == "sliced":
        return np.full([2 * n for n in answer.shape], 99, answer.dtype)[
            tuple(slice(None, None, 2) for _ in answer.shape)
        ]
    if layout == "reversed":
        return np.full(answer.shape, 99, answer.dtype)[
            tuple(slice(None, None, -1) for _ in answer.shape)
        ]
    return np.full(answer.shape, 99, answer.dtype, order="F" if layout == "F" else "C")


@rule(FOLDS, needs=("out",), vary=GEOMETRY, empty_windows=True)
def out_is_filled_and_returned(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 4: out, of the exact shape and dtype and with any strides, gets the result."""
    for layout in ("C", "F", "sliced", "reversed"):
        out = _filled(problem, layout)
        returned, _ = run(implementation, problem, out=out)
        call = f"{str(problem)[:-1]}, out=…)"
        try:
            compare(problem, problem.expected(), out)
        except Deviation as found:
            found.call = f"{call} with a {layout} out"
            raise
        if returned is not out and not np.shares_memory(returned, out):
            raise Deviation(problem, call, "the array given as out", "another array")


@rule(
    FOLDS,
    dtypes=("float32",),
    needs=("out",),
    vary=("stride", "padding", "axes"),
    examples=(edge("window_of_two_overlapping"), edge("padding_half_of_window", op="avg")),
)
def out_may_overlap_the_input(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 4: where out overlaps the input, the result is as if it did not."""
    x = problem.array()
    answer = problem.expected(x)
    room = max(x.size, answer.values.size)
    for shift, backwards in ((0, False), (1, False), (0, True)):
        memory = np.zeros(room + shift, x.dtype)
        source = memory[: x.size].reshape(x.shape)
        source[...] = x
        if backwards:
            flat = memory[::-1][: answer.values.size]
        else:
            flat = memory[shift : shift + answer.values.size]
        out = flat.reshape(answer.values.shape)
        if not np.shares_memory(memory, out):
            continue
        run(implementation, problem, source, out=out)
        try:
            compare(problem, answer, out)
        except Deviation as found:
            where = "backwards over the input" if backwards else f"{shift} elements into the input"
            found.call = f"{str(problem)[:-1]}, out=…) with out {where}"
            raise


def _bad_outs(problem: Problem) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays that must be refused as ``out``."""
    answer = problem.expected().values
    other = np.float64 if answer.dtype != np.float64 else np.float32
    fixed = np.full(answer.shape, 99, answer.dtype)
    fixed.flags.writeable = False
    bad = {
        "one element too many": np.full(
            (*answer.shape[:-1], answer.shape[-1] + 1), 99, answer.dtype
        ),
        "one axis too many": np.full((*answer.shape, 1), 99, answer.dtype),
        "another dtype": np.full(answer.shape, 99, other),
        "a read-only array": fixed,
    }
    if answer.shape[-1] > 1:
        repeated = np.lib.stride_tricks.as_strided(
            np.full(1, 99, answer.dtype), answer.shape, [0] * answer.ndim, writeable=True
        )
        bad["a zero stride"] = repeated
    return bad


@rule(FOLDS, needs=("out", "errors"), vary=("stride", "padding"))
def out_that_does_not_fit_is_refused(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 4: an out of another shape or dtype, or not writeable, is refused unwritten."""
    for what, out in _bad_outs(problem).items():
        before = out.copy()
        call = f"{str(problem)[:-1]}, out=…) with {what} as out"
        refused(_with_out(implementation, out), problem, problem.array(), call)
        if not np.array_equal(before, out):
            raise Deviation(problem, call, "out left alone", f"out holds {shown(out)}")


def _with_out(implementation: Implementation, out: Any) -> Implementation:
    """The same implementation, called with ``out``."""

    def call(x: Any, problem: Problem, **extra: Any) -> Any:
        return implementation.call(x, problem, out=out, **extra)

    return replace(implementation, call=call)


@rule(
    FOLDS,
    needs=("out", "errors"),
    dtypes=("float32",),
    pooled=(1, 2),
    source=lambda implementation: st.builds(
        lambda op, length: implementation.adapted(
            Problem(op, (length,), (1, 2, 3), kernel_size=(length + 1,))
        ),
        st.sampled_from([op for op in FOLDS if "float32" in implementation.ops.get(op, ())]),
        st.integers(1, 4),
    ),
)
def errors_come_before_writing(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 5: errors are raised before anything is written, to out least of all."""
    out = np.full((*problem.shape[:-1], 1), 99, np.float32)
    call = f"{str(problem)[:-1]}, out=…)"
    refused(_with_out(implementation, out), problem, problem.array(), call)
    if not (out == 99).all():
        raise Deviation(problem, call, "out left alone", f"out holds {shown(out)}")
