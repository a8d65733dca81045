"""Rules of semantics.md sections 1 and 2: which elements each output sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from .edges import edge
from .implementations import Implementation
from .judging import Deviation, agree
from .problems import Problem
from .rules import rule
from .strategies import Limits, problems

ORDER = ("max", "min")
FOLDS = ("max", "min", "avg", "sum")


@rule(FOLDS, pooled=(1, 2, 3, 4))
def a_window_holds_its_own_elements(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 1: windows that lie side by side: each output is the reduction of its own."""
    agree(implementation, problem)


@rule(
    FOLDS,
    pooled=(1, 2),
    default_stride=True,
    examples=(edge("window_of_two_overlapping", stride=None),),
)
def stride_default_is_kernel(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 1: without a stride, the stride is the kernel size."""
    agree(implementation, problem)


@rule(ORDER, batch=(1, 2), pooled=(1, 2, 3))
def last_axes_by_default(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 1: a kernel of n entries pools the last n axes and leaves the others alone."""
    agree(implementation, problem)


@rule(
    FOLDS,
    needs=("axes",),
    vary=("stride", "padding"),
    pooled=(1, 2, 3, 4),
    examples=(edge("negative_axes_out_of_order", padding=0), edge("one_int_for_all_axes")),
)
def named_axes(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 1: axes name what is pooled, in any order, negative ones from the end."""
    agree(implementation, problem)


@rule(FOLDS, needs=("stride",), examples=(edge("floor_drops_the_end"),))
def floor_drops_the_ragged_end(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 2: without ceil_mode, windows that do not fit whole are dropped."""
    agree(implementation, problem)


@rule(FOLDS, needs=("padding",), vary=("stride",))
def symmetric_padding(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 1: an int pads both sides of every axis, one int an axis both sides of it."""
    agree(implementation, problem)


@rule(
    FOLDS,
    needs=("padding", "asymmetric_padding"),
    vary=("stride",),
    examples=(edge("only_pad_left"), edge("only_pad_right")),
)
def asymmetric_padding(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 1: a (before, after) pair an axis pads the two sides apart."""
    agree(implementation, problem)


def _much_padding(implementation: Implementation) -> st.SearchStrategy[Problem]:
    limits = Limits(
        pooled=(implementation.pooled[0],),
        batch=implementation.batch[:1],
        padding_limit=lambda kernel, dilation: kernel + 2,
        size=16,
    )
    ops = {op: ("float32",) for op in FOLDS if "float32" in implementation.ops.get(op, ())}
    return problems(
        ops=tuple(ops),
        dtypes=ops,
        data=("integers",),
        vary=(),
        require=("padding",),
        limits=limits,
        layouts=("C",),
    ).filter(lambda problem: _padded_past_half(problem))


def _padded_past_half(problem: Problem) -> bool:
    pads = [problem.padding] * problem.pooled()
    if not isinstance(problem.padding, int):
        pads = [max(pad) if isinstance(pad, tuple) else pad for pad in problem.padding]
    return any(2 * p > k for p, k in zip(pads, problem.kernel_size, strict=True))


@rule(FOLDS, dtypes=("float32",), needs=("padding",), beyond_limits=True, source=_much_padding)
def any_padding_is_allowed(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 1: any non-negative padding is allowed, past half of the window and past it."""
    agree(implementation, problem)


def _same(padding: str) -> Any:
    def with_padding(implementation: Implementation) -> st.SearchStrategy[Problem]:
        limits = Limits(
            pooled=tuple(n for n in (1, 2) if n in implementation.pooled) or implementation.pooled,
            batch=implementation.batch[:2],
            padding_limit=lambda kernel, dilation: 0,
        )
        ops = {op: ("float32",) for op in FOLDS if "float32" in implementation.ops.get(op, ())}
        return problems(
            ops=tuple(ops),
            dtypes=ops,
            data=("integers",),
            vary=("stride",) if "stride" in implementation.parameters else (),
            require=("same",),
            limits=limits,
            layouts=("C",),
        ).map(lambda problem: replace(problem, padding=padding))

    return with_padding


@rule(
    FOLDS,
    dtypes=("float32",),
    needs=("same",),
    source=_same("same"),
    examples=(edge("same_odd"), edge("same_stride_past_window")),
)
def same_upper(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 2: "same" gives ceil(n / stride) outputs; odd padding has more at the end."""
    agree(implementation, problem)


@rule(
    FOLDS,
    dtypes=("float32",),
    needs=("same",),
    source=_same("same_lower"),
    examples=(edge("same_lower_odd"),),
)
def same_lower(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 2: "same_lower" is "same" with more of an odd padding at the start."""
    agree(implementation, problem)


@rule(
    FOLDS,
    needs=("same", "dilation"),
    pooled=(1, 2),
    batch=(0, 1, 2),
    examples=(edge("same_dilated"), edge("same_dilated", op="avg")),
)
def same_counts_the_dilation(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 2: SAME pads for the effective window, dilation * (kernel - 1) + 1."""
    agree(implementation, problem)


@rule(FOLDS, needs=("dilation",), vary=("stride",), examples=(edge("dilated"),))
def dilated_windows(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 2: with a dilation the taps of a window lie that many elements apart."""
    agree(implementation, problem)


@rule(
    FOLDS,
    needs=("ceil_mode",),
    vary=("stride",),
    data=("integers", "negative"),
    examples=(
        edge("ragged_ceil"),
        edge("ragged_ceil", op="min"),
        edge("ragged_ceil_of_one", op="avg"),
        edge("ragged_ceil_of_one", op="min"),
    ),
)
def ceil_mode_keeps_the_ragged_end(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 2: in ceil mode the last windows reach past the end and see what is there."""
    agree(implementation, problem)


@rule(
    FOLDS,
    needs=("ceil_mode", "padding"),
    vary=("stride",),
    examples=(edge("ceil_drops_last_window"), edge("ceil_stride_past_window")),
)
def ceil_last_window_starts_inside(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 2: in ceil mode the last window starts in the input or its leading padding."""
    agree(implementation, problem)


def _empty_windows(implementation: Implementation) -> st.SearchStrategy[Problem]:
    """A line so short that the taps of some window all miss it, or padding past the window."""
    dtypes = ("float32", "float64", "int32", "uint8", "bool")
    ops = {
        op: names
        for op in ("max", "min", "sum")
        if (names := tuple(d for d in dtypes if d in implementation.ops.get(op, ())))
    }
    if "sum" in ops:
        ops["sum"] = tuple(d for d in ops["sum"] if d.startswith("float"))
    limit = implementation.padding_limit
    return problems(
        ops=tuple(ops),
        dtypes=ops,
        data=("integers",),
        vary=tuple(sorted({"stride", "dilation"} & implementation.parameters)),
        require=("padding",),
        layouts=("C",),
        limits=Limits(
            pooled=implementation.pooled[:2],
            batch=implementation.batch[:2],
            padding_limit=limit or (lambda kernel, dilation: dilation * kernel),
            size=9,
        ),
    ).filter(lambda problem: problem.has_empty_window())


@rule(
    ("max", "min", "sum"),
    dtypes=("float32", "float64", "int32", "uint8", "bool"),
    needs=("padding",),
    about_dtypes=True,
    source=_empty_windows,
    examples=(edge("all_padding_window", values=(1,)),),
)
def all_padding_identity(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 2: padding alone has the maximum -inf (or the least integer), and the sum 0."""
    agree(implementation, problem)


@rule(
    ("avg",),
    dtypes=("float32", "float64"),
    needs=("padding", "dilation", "count_include_pad"),
    vary=("stride",),
    options={"count_include_pad": st.booleans()},
    empty_windows=True,
    examples=(
        edge("all_padding_window", op="avg").with_options(count_include_pad=True),
        edge("all_padding_window", op="avg").with_options(count_include_pad=False),
    ),
)
def all_padding_average(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 2: the average of padding is 0 where padding counts, NaN where it does not."""
    agree(implementation, problem)


@rule(FOLDS, batch=(1, 2), empty_batch=True, dtypes=("float32", "int64"))
def empty_batch_gives_empty_result(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 2: a batch or channel axis of length 0 is fine and gives an empty result."""
    agree(implementation, problem)


@rule(FOLDS, pooled=(4,), batch=(0, 1, 2), vary=("stride", "axes"))
def four_axes_and_more(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 1: one function serves every rank, nine axes of which four are pooled too."""
    agree(implementation, problem)


@rule(
    ("max",),
    needs=("output_shape",),
    vary=("stride", "padding", "asymmetric_padding", "same", "dilation", "ceil_mode", "axes"),
    pooled=(1, 2, 3, 4),
)
def output_shape_is_the_call_s(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 1: output_shape says what a call would return, without the call."""
    assert implementation.output_shape is not None
    got = implementation.output_shape(problem.shape, **problem.geometry())
    wanted = problem.expected().values.shape
    if tuple(got) != wanted:
        arguments = ", ".join(f"{name}={value!r}" for name, value in problem.geometry().items())
        call = f"output_shape({problem.shape}, {arguments})"
        raise Deviation(problem, call, str(wanted), str(got))
