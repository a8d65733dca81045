"""Rules of semantics.md section 3 on values and positions: order, NaN, divisors, sums, norms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .edges import edge
from .exact import FLOATS
from .implementations import Implementation
from .judging import Deviation, agree, compare, run
from .operations import OPERATIONS
from .oracle import Fold
from .problems import Problem
from .rules import rule
from .strategies import noise_problems

ORDER = ("max", "min")
NAN, INF = math.nan, math.inf

_LINE: dict[str, Any] = {"kernel_size": (2,), "stride": 1}


@rule(
    ORDER,
    dtypes=FLOATS,
    data=("nan",),
    vary=("stride",),
    examples=(
        Problem("max", (4,), (1, NAN, 3, 2), **_LINE),
        Problem("min", (4,), (1, NAN, 3, 2), **_LINE),
    ),
)
def nan_propagates(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: NaN propagates: a window with a NaN anywhere in it gives NaN."""
    agree(implementation, problem)


@rule(
    ORDER,
    dtypes=FLOATS,
    needs=("padding",),
    vary=("asymmetric_padding", "stride"),
    data=("negative", "integers"),
)
def padding_never_wins(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: padding counts as -inf for max and +inf for min, not as 0: it never wins."""
    agree(implementation, problem)


def _infinite(implementation: Implementation) -> st.SearchStrategy[Problem]:
    has = {op: implementation.ops[op] for op in ORDER if op in implementation.ops}
    choices = [
        (op, dtype, value)
        for op, value in (("max", -INF), ("min", INF))
        for dtype in has.get(op, ())
        if dtype in ("float32", "float64", "float16")
    ]
    return st.builds(
        lambda choice, length, kernel: implementation.adapted(
            Problem(choice[0], (length,), (choice[2],), choice[1], (min(kernel, length),))
        ),
        st.sampled_from(choices),
        st.integers(1, 5),
        st.sampled_from(implementation.kernel_sizes or (1, 2, 3)),
    ).filter(lambda problem: implementation.refuses(problem) is None)


@rule(
    ORDER,
    dtypes=("float32", "float64", "float16"),
    source=_infinite,
    examples=(
        Problem("max", (4,), (1, -INF, -INF, 2), **_LINE),
        Problem("min", (4,), (1, INF, INF, 2), **_LINE),
    ),
)
def true_infinity_kept(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: the maximum of -inf is -inf, and the minimum of +inf is +inf."""
    agree(implementation, problem)


POSITIONS = {"return_indices": st.just(True)}


@rule(
    ORDER,
    needs=("return_indices",),
    one_plane=True,
    options=POSITIONS,
    data=("ties",),
    vary=("stride",),
)
def tie_first_position(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: of equal elements, the first one's position is given."""
    agree(implementation, problem)


@rule(
    ORDER,
    dtypes=FLOATS,
    needs=("return_indices",),
    one_plane=True,
    options=POSITIONS,
    data=("nan",),
    vary=("stride",),
    examples=(
        Problem("max", (3,), (NAN, 1, NAN), kernel_size=(3,)).with_options(return_indices=True),
    ),
)
def nan_last_position(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: with NaN in the window, the position of the last NaN is given."""
    agree(implementation, problem)


@rule(
    ORDER,
    needs=("return_indices",),
    one_plane=True,
    options=POSITIONS,
    vary=("stride", "padding", "asymmetric_padding", "dilation", "ceil_mode", "axes"),
    pooled=(2, 3, 4),
)
def index_row_major(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: positions are flat and row-major over the pooled axes, padding left out."""
    agree(implementation, problem)


@rule(ORDER, needs=("return_indices",), options=POSITIONS, pooled=(1, 2), batch=(1, 2))
def index_per_plane(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: positions count inside the pooled axes, from 0 in each plane."""
    agree(implementation, problem)


@rule(
    ORDER,
    needs=("return_indices", "padding", "dilation"),
    one_plane=True,
    options=POSITIONS,
    empty_windows=True,
    pooled=(1, 2),
    examples=(edge("all_padding_window", values=(1,)).with_options(return_indices=True),),
)
def no_position_is_minus_one(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: a window that lies in the padding has no position: -1."""
    agree(implementation, problem)


@rule(
    ORDER,
    dtypes=("float32",),
    needs=("return_indices", "index_dtype"),
    options={**POSITIONS, "index_dtype": st.sampled_from([np.int64, np.int32])},
    vary=("stride",),
)
def index_dtype_is_kept(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: index_dtype is the dtype of the positions."""
    agree(implementation, problem)


COUNT = {"count_include_pad": st.sampled_from([True, False])}


@rule(
    ("avg",),
    needs=("padding", "ceil_mode"),
    vary=("stride",),
    examples=(edge("ceil_uneven", op="avg"), edge("ceil_window_past_input", op="avg")),
)
def avg_divisor_clipped(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: the divisor counts taps in input and padding, none past the end of both."""
    agree(implementation, problem)


@rule(
    ("avg",),
    needs=("padding", "count_include_pad"),
    options={"count_include_pad": st.just(False)},
    vary=("stride", "asymmetric_padding", "ceil_mode"),
)
def avg_may_leave_out_padding(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: with count_include_pad=False the divisor counts taps in the input only."""
    agree(implementation, problem)


@rule(
    ("avg",),
    needs=("padding", "dilation"),
    options=COUNT,
    vary=("stride", "ceil_mode"),
    examples=tuple(
        Problem(
            "avg", (6,), (1, 2, 3, 4, 5, 6), kernel_size=(2,), stride=1, padding=1, dilation=2
        ).with_options(count_include_pad=include)
        for include in (True, False)
    ),
)
def avg_divisor_dilated(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: the divisor counts taps on the dilated grid, not the elements they span."""
    agree(implementation, problem)


@rule(
    ("avg",),
    needs=("divisor_override",),
    options={"divisor_override": st.integers(1, 9)},
    vary=("stride", "padding", "ceil_mode"),
)
def divisor_override_ignores_clipping(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: divisor_override takes the place of the count, at the edges too."""
    agree(implementation, problem)


@rule(
    ("sum", "avg"),
    dtypes=("float16", "bfloat16"),
    source=lambda implementation: st.builds(
        lambda choice, small: implementation.adapted(
            Problem(choice[0], (len(small) + 1,), (2048, *small), choice[1], (len(small) + 1,))
        ),
        st.sampled_from(
            [
                (op, dtype)
                for op in ("sum", "avg")
                for dtype in implementation.ops.get(op, ())
                if dtype in ("float16", "bfloat16")
            ]
        ),
        st.lists(st.integers(0, 3), min_size=3, max_size=40),
    ),
)
def halves_accumulate_in_float32(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: float16 and bfloat16 accumulate in float32 and are rounded once."""
    agree(implementation, problem)


@rule(
    ("avg", "sum"),
    dtypes=("float32",),
    pooled=(1,),
    source=lambda implementation: (
        noise_problems(
            [op for op in ("avg", "sum") if "float32" in implementation.ops.get(op, ())],
            ("float32",),
        )
        .map(implementation.adapted)
        .filter(lambda problem: implementation.refuses(problem) is None)
    ),
)
def float_accuracy_8ulp(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: on random data of one sign, float32 avg and sum lie within 8 ulp of exact."""
    agree(implementation, problem, allowed_ulps=8)


@rule(
    ("avg", "sum", "lp", "rms", "var", "logsumexp"),
    dtypes=("float32", "float64"),
    data=("spike",),
    vary=("stride",),
    pooled=(1, 2),
    examples=(
        Problem("avg", (4,), (NAN, 1, 2, 3), **_LINE),
        Problem("sum", (5,), (1, 1e17, 1, 2, 3), "float64", **_LINE),
    ),
)
def nan_does_not_spread(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: a NaN, an infinity or 1e17 never touches a window that it is not in."""
    x = problem.array()
    answer = problem.expected(x)
    values, _ = run(implementation, problem, x)
    # Windows with 1e17 in them are not asked for accuracy: they may lose the small ones.
    limit = 1e-3 * np.abs(answer.values.astype(np.float64)) + answer.allowed
    small = np.abs(answer.values) < 1e3
    loose = answer._replace(allowed=np.where(small, answer.allowed, limit))
    compare(problem, loose, values)


@rule(
    ("lp",),
    dtypes=("float32", "float64"),
    options={"norm_type": st.sampled_from([1, 2, 3])},
    vary=("stride",),
)
def lp_uses_absolute_values(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: lp is (sum |x|**p) ** (1/p): absolute values, for odd p too."""
    agree(implementation, problem)


@rule(
    ("lp",),
    dtypes=("float32", "float64"),
    needs=("ceil_mode",),
    vary=("stride", "padding", "dilation"),
    data=("ties",),
    examples=(edge("ragged_ceil", op="lp"),),
)
def lp_clipped_windows_are_not_scaled(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: a window at the edge gives the norm of what it holds, scaled by nothing."""
    agree(implementation, problem)


@rule(
    tuple(op for op in OPERATIONS if op not in ("max", "min", "avg", "sum", "lp")),
    dtypes=("float32", "float64"),
    data=("integers", "special"),
    vary=("stride", "padding", "ceil_mode"),
    empty_windows=True,
)
def every_reduction(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: each reduction gives its own answer, on NaN, infinities and padding too."""
    agree(implementation, problem)


@rule(("var", "std"), dtypes=("float32", "float64"), data=("offset",), vary=("stride",))
def variance_survives_a_large_mean(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: var and std come from the mean's own differences, not from large squares."""
    agree(implementation, problem)


@rule(("logsumexp",), dtypes=("float32", "float64"), data=("offset", "special"), vary=("stride",))
def logsumexp_never_overflows(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: logsumexp gives its answer where the exponentials have none."""
    agree(implementation, problem)


PRODUCT_OF_MAGNITUDES = Fold("prod_abs", lambda a, b: a * b, 1.0, lift=lambda x: abs(x))
"""A fold of one's own, for rules and tests: the product of absolute values."""


@rule(
    ("sum",),
    dtypes=("float32", "float64"),
    needs=("fold",),
    vary=("stride", "padding", "asymmetric_padding", "dilation", "ceil_mode", "axes"),
    empty_windows=True,
)
def fold_of_one_s_own(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 1: pool(reduce=…) takes a fold of one's own (here: product of magnitudes)."""
    x = problem.array()
    values, _ = run(implementation, problem, x, reduce=PRODUCT_OF_MAGNITUDES)
    answer = problem.expected(x, PRODUCT_OF_MAGNITUDES)
    try:
        compare(problem, answer, values)
    except Deviation as found:
        found.call = problem.call_text().replace("sum_pool", "pool", 1)
        found.call = f"{found.call[:-1]}, reduce={PRODUCT_OF_MAGNITUDES.name})"
        raise


@rule(
    tuple(OPERATIONS),
    dtypes=("float32", "float64"),
    vary=("stride", "padding", "asymmetric_padding", "same", "dilation", "ceil_mode", "axes"),
    data=("integers", "ties"),
    pooled=(1, 2, 3, 4),
    options={**COUNT, **POSITIONS, "divisor_override": st.sampled_from([None, 3])},
    examples=tuple(edge(name, op=op) for op in ("max", "avg") for name in ("uneven_planes",)),
)
def everything_together(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 2: all parameters at once, as they come."""
    agree(implementation, problem)
