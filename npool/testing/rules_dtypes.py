"""Rules of semantics.md section 3 on dtypes: what integers, bool and complex numbers become."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from .exact import BOOL, COMPLEX, INTEGERS, bounds, named_dtype
from .implementations import Implementation
from .judging import agree
from .problems import Problem
from .rules import rule as any_rule
from .strategies import problems

ORDER = ("max", "min")
rule = functools.partial(any_rule, about_dtypes=True)
WIDE = ("int64", "uint64")


@rule(ORDER, dtypes=BOOL + INTEGERS, data=("wide",), vary=("stride",))
def order_keeps_the_dtype(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: max and min of integers and bool keep the dtype, out to its bounds."""
    agree(implementation, problem)


@rule(
    ORDER, dtypes=BOOL + INTEGERS, needs=("padding",), data=("wide", "negative"), vary=("stride",)
)
def integer_padding_never_wins(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: padding never wins among integers either: it is below them all, or above."""
    agree(implementation, problem)


@rule(
    ORDER,
    dtypes=WIDE,
    data=("wide",),
    examples=(Problem("max", (2,), (2**62, 2**62 + 1), "int64", kernel_size=(2,)),),
)
def wide_integers_stay_exact(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: 64-bit integers past 2**53 keep every digit: no way through float64."""
    agree(implementation, problem)


def _passes_the_bounds(problem: Problem) -> bool:
    """Whether some sum is one that the input's dtype does not hold; 64 bits wrap, and do pass."""
    sums = problem.expected().values
    low, high = bounds(named_dtype(problem.dtype))
    return problem.dtype in WIDE or bool(((sums < low) | (sums > high)).any())


@rule(
    ("sum",),
    dtypes=BOOL + INTEGERS,
    data=("wide",),
    where=_passes_the_bounds,
    examples=(Problem("sum", (2,), (100, 100), "int8", kernel_size=(2,)),),
)
def integer_sum_width(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: sums of integers and bool are as wide as numpy.sum's: 64 bits."""
    agree(implementation, problem)


@rule(
    ("avg",),
    dtypes=BOOL + INTEGERS,
    vary=("stride",),
    where=lambda problem: bool((problem.expected().values % 1).any()),
    examples=(Problem("avg", (2,), (0, 1), "uint8", kernel_size=(2,)),),
)
def integer_avg_is_float64(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: the average of integers and bool is a float64, as numpy.mean's is."""
    agree(implementation, problem)


AVERAGED = ("int8", "uint8", "int32", "uint64")
"""Some integer dtypes, for rules with four roundings each."""


def _integer_averages(implementation: Implementation) -> st.SearchStrategy[Problem]:
    dtypes = tuple(d for d in implementation.ops["avg"] if d in AVERAGED)

    def with_result(problem: Problem, rounding: str) -> Problem:
        return problem.with_options(dtype=problem.dtype, rounding=rounding)

    has = implementation.parameters
    return st.builds(
        with_result,
        problems(
            ops=("avg",),
            dtypes=dtypes,
            data=("integers",),
            vary=tuple(sorted({"stride", "ceil_mode", "dilation"} & has)),
            layouts=("C",),
            options={"divisor_override": st.sampled_from([None, 2, 3])},
            empty_windows=False,
        ),
        st.sampled_from(["half_even", "half_up", "floor", "trunc"]),
    )


def _halves(rounding: str) -> Problem:
    problem = Problem("avg", (8,), (0, 1, 1, 2, -1, 0, -2, -1), "int32", kernel_size=(2,))
    return problem.with_options(dtype="int32", rounding=rounding)


@rule(
    ("avg",),
    dtypes=AVERAGED,
    needs=("dtype", "rounding"),
    source=_integer_averages,
    examples=tuple(_halves(r) for r in ("half_even", "half_up", "floor", "trunc")),
)
def integer_avg_rounding(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: avg with an integer dtype rounds the exact quotient: half_even by default,
    half_up, floor or trunc."""
    agree(implementation, problem)


@rule(
    ("avg",),
    dtypes=AVERAGED,
    needs=("dtype",),
    source=lambda implementation: _integer_averages(implementation).map(_without_rounding),
)
def integer_avg_rounds_half_to_even(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: without a rounding given, halves go to the even neighbour."""
    agree(implementation, problem)


def _without_rounding(problem: Problem) -> Problem:
    return replace(problem, options=tuple(o for o in problem.options if o[0] == "dtype"))


def _result_dtypes(implementation: Implementation) -> st.SearchStrategy[Problem]:
    wider: dict[str, tuple[Any, ...]] = {
        "int8": ("int8", "int16", "float32"),
        "uint8": ("uint8", "uint64"),
        "int64": ("float64",),
        "float32": ("float64",),
        "float64": ("float32",),
        "float16": ("float16", "float32"),
    }
    choices = [
        (op, dtype, result)
        for op in ("sum", "avg")
        for dtype in implementation.ops.get(op, ())
        for result in wider.get(dtype, ())
        if op == "sum" or result.startswith("float")
    ]
    return st.builds(
        lambda choice, values, kernel: implementation.adapted(
            Problem(
                choice[0],
                (len(values),),
                tuple(values),
                choice[1],
                (min(kernel, len(values)),),
                options=(("dtype", choice[2]),),
            )
        ),
        st.sampled_from(choices),
        st.lists(st.integers(0, 100), min_size=1, max_size=8),
        st.integers(1, 4),
    )


@rule(
    ("sum", "avg"),
    dtypes=("int8", "uint8", "int64", "float16", "float32", "float64"),
    needs=("dtype",),
    source=_result_dtypes,
)
def result_dtype_as_asked(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: dtype= is the dtype of the result, and sums wrap as numpy.sum's there do."""
    agree(implementation, problem)


@rule(
    ("any", "all", "absmax", "range", "prod", "sum"),
    dtypes=("bool", "int8", "uint64", "int64"),
    data=("wide", "ties"),
    vary=("stride", "padding"),
    empty_windows=True,
)
def integers_in_every_fold(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: integers in any, all, absmax, range, prod and sum give exact integers."""
    agree(implementation, problem)


@rule(("lp", "rms", "var", "std", "logsumexp"), dtypes=("bool", "uint8", "int64"), vary=("stride",))
def integers_in_float_reductions(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: integers in lp, rms, var, std and logsumexp give float64."""
    agree(implementation, problem)


@rule(("sum", "avg"), dtypes=COMPLEX, vary=("stride", "padding", "dilation", "ceil_mode"))
def complex_sum_and_avg(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: complex numbers can be summed and averaged."""
    agree(implementation, problem)
