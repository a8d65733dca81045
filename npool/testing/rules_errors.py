"""Rules of semantics.md section 5: what must be refused, in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .implementations import Implementation
from .judging import Deviation, refused
from .problems import Problem
from .rules import rule

FOLDS = ("max", "min", "avg", "sum")


def _broken(*changes: dict[str, Any]) -> Any:
    """A source of problems: a plain one with one of the changes made to it."""

    def source(implementation: Implementation) -> st.SearchStrategy[Problem]:
        plain = [
            implementation.adapted(Problem(op, (4,), (1, 2, 3, 4), dtype, kernel_size=(2,)))
            for op in FOLDS
            for dtype in implementation.ops.get(op, ())
            if dtype == "float32"
        ]
        has = implementation.parameters | {"kernel_size", "shape"}
        known = [change for change in changes if set(change) <= has]
        return st.builds(
            lambda problem, change: replace(problem, **change),
            st.sampled_from(plain),
            st.sampled_from(known),
        )

    return source


def _refusing(source: Any) -> Callable[[Any], Any]:
    return rule(FOLDS, dtypes=("float32",), needs=("errors",), pooled=(1,), source=source)


def _refuse(implementation: Implementation, problem: Problem) -> None:
    refused(implementation, problem, problem.array(), str(problem))


@_refusing(
    lambda implementation: st.builds(
        lambda length, more: implementation.adapted(
            Problem(_first(implementation), (length,), (1,), kernel_size=(length + more,))
        ),
        st.integers(1, 5),
        st.integers(1, 5),
    )
)
def window_past_the_input_is_refused(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 2: a window that does not fit into input and padding is an error."""
    _refuse(implementation, problem)


def _first(implementation: Implementation) -> str:
    return next(op for op in FOLDS if "float32" in implementation.ops.get(op, ()))


@_refusing(
    lambda implementation: st.builds(
        lambda lead: implementation.adapted(
            Problem(_first(implementation), (*lead, 0), (1,), kernel_size=(1,))
        ),
        st.sampled_from([(), (2,)] if 0 in implementation.batch else [(2,), (1,)]),
    )
)
def empty_pooled_axis_is_refused(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 2: a pooled axis of length 0 is an error."""
    _refuse(implementation, problem)


@_refusing(
    _broken(
        {"kernel_size": (0,)},
        {"kernel_size": (-1,)},
        {"kernel_size": ()},
        {"kernel_size": (2, 2, 2, 2, 2, 2)},
        {"stride": 0},
        {"stride": -1},
        {"stride": (1, 1)},
        {"padding": -1},
        {"padding": (1, 1)},
        {"padding": [(1, -1)]},
        {"padding": "full"},
        {"dilation": 0},
        {"dilation": -2},
        {"dilation": (1, 1)},
    )
)
def bad_sizes_are_refused(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 5: zero and negative sizes, and the wrong number of them, are errors."""
    _refuse(implementation, problem)


@_refusing(
    _broken(
        {"kernel_size": (2.0,)},
        {"kernel_size": (True,)},
        {"kernel_size": ("2",)},
        {"kernel_size": None},
        {"stride": 1.5},
        {"stride": "1"},
        {"padding": 0.5},
        {"dilation": 1.0},
    )
)
def sizes_that_are_no_integers_are_refused(
    implementation: Implementation, problem: Problem
) -> None:
    """semantics.md 5: floats, bool, strings and None are no sizes."""
    _refuse(implementation, problem)


@_refusing(
    _broken(
        *(
            {name: (size,) if name == "kernel_size" else size}
            for size in (2**62, 2**63, 2**64, 2**70)
            for name in ("kernel_size", "stride", "padding", "dilation")
        ),
        {"padding": [(0, 2**70)]},
    )
)
def huge_sizes_are_refused(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 5: sizes up to 2**70 are refused in words, not by an overflow or for memory."""
    _refuse(implementation, problem)


@rule(
    FOLDS,
    dtypes=("float32",),
    needs=("errors", "axes"),
    source=_broken(
        {"axes": (1,)},
        {"axes": (-2,)},
        {"axes": (0, 0), "kernel_size": (1, 1)},
        {"axes": (0, -1), "kernel_size": (1, 1)},
        {"axes": ()},
        {"axes": (0.0,)},
        {"axes": None, "kernel_size": 2},
    ),
)
def bad_axes_are_refused(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 1: axes out of range, an axis twice, an int kernel without axes are errors."""
    _refuse(implementation, problem)


@rule(
    ("avg",),
    dtypes=("float32",),
    needs=("errors", "divisor_override"),
    source=lambda implementation: st.just(
        implementation.adapted(
            Problem("avg", (2,), (1, 2), kernel_size=(2,)).with_options(divisor_override=0)
        )
    ),
)
def divisor_zero_is_refused(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: divisor_override=0 is an error."""
    _refuse(implementation, problem)


def _foreign(name: str) -> Any:
    """An array of a dtype that cannot be pooled."""
    values = [[1, 2], [3, 4]]
    if name == "masked":
        return np.ma.array(values, np.float64, mask=[[True, False], [False, False]])
    if name == "structured":
        return np.zeros((2, 2), [("a", "i4"), ("b", "f4")])
    if name == "timedelta64":
        return np.array(values).astype("timedelta64[s]")
    if name == "datetime64":
        return np.array(values).astype("datetime64[s]")
    return np.array(values, {"object": "O", "str": "U4", "bytes": "S4"}.get(name, name))


FOREIGN = (
    "object", "str", "bytes", "datetime64", "timedelta64", "structured", "longdouble",
    "clongdouble", "masked",
)  # fmt: skip


@rule(
    FOLDS,
    dtypes=("float32",),
    needs=("dtype_errors",),
    batch=(0, 1),
    source=lambda implementation: st.builds(
        lambda name: Problem(_first(implementation), (2, 2), dtype=name, kernel_size=(2,)),
        st.sampled_from(FOREIGN),
    ),
)
def foreign_dtypes_are_refused(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: object, str, datetime64, structured, longdouble, masked: a TypeError."""
    x = _foreign(problem.dtype)
    kernel = (1,) * max(0, min(implementation.pooled) - 1) + (2,)
    call = f"{problem.op}_pool(np.array([[1, 2], [3, 4]]) as {problem.dtype}, {kernel})"
    only = replace(implementation, errors=(TypeError,))
    refused(only, replace(problem, dtype="float32", kernel_size=kernel), x, call)


@rule(
    ("max", "min"),
    dtypes=("float32",),
    needs=("dtype_errors",),
    source=lambda implementation: st.builds(
        lambda op, dtype: implementation.adapted(
            Problem(op, (2,), (1 + 1j, 2), dtype, kernel_size=(2,))
        ),
        st.sampled_from([op for op in ("max", "min") if op in implementation.ops]),
        st.sampled_from(["complex64", "complex128"]),
    ),
)
def complex_numbers_have_no_order(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 3: max and min of complex numbers: a TypeError."""
    refused(replace(implementation, errors=(TypeError,)), problem, problem.array(), str(problem))


@rule(
    FOLDS,
    dtypes=("float32",),
    needs=("errors", "output_shape"),
    source=_broken({"kernel_size": (5,)}, {"padding": 2**70}, {"stride": 0}, {"dilation": 2**62}),
)
def output_shape_refuses_what_the_call_does(
    implementation: Implementation, problem: Problem
) -> None:
    """semantics.md 5: output_shape refuses the same arguments as the call."""
    asked = implementation.output_shape
    assert asked is not None
    arguments = ", ".join(f"{name}={value!r}" for name, value in problem.geometry().items())
    only_shape = replace(
        implementation, call=lambda x, problem: asked(problem.shape, **problem.geometry())
    )
    refused(only_shape, problem, None, f"output_shape({problem.shape}, {arguments})")


@_refusing(
    lambda implementation: st.just(
        implementation.adapted(Problem(_first(implementation), (3,), kernel_size=(7,)))
    )
)
def errors_say_what_is_wrong(implementation: Implementation, problem: Problem) -> None:
    """semantics.md 5: the message holds the value given and the bound that it broke."""
    try:
        implementation.call(problem.array(), problem)
    except Exception as error:
        text = str(error)
        if "7" not in text or "3" not in text:
            raise Deviation(
                problem, str(problem), "a message with the window, 7, and the length, 3", text
            ) from error
        return
    raise Deviation(problem, str(problem), "an error", "a result")
