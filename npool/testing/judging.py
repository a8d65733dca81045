"""Calling an implementation and comparing what it gives with what it must give."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .exact import is_float
from .implementations import Implementation
from .oracle import Answer
from .problems import Problem, nested

Array = np.ndarray[Any, Any]


class Deviation(AssertionError):
    """An implementation breaks a rule.

    Attributes
    ----------
    implementation, rule : str
        Whose function, and the rule's name.
    statement : str
        What the rule says, with its section of semantics.md.
    problem : Problem or None
        The smallest counterexample that was found.
    call, expected, got : str
        The counterexample as a Python call, what must come out, and what did.
    """

    def __init__(self, problem: Problem | None, call: str, expected: str, got: str) -> None:
        super().__init__(call, expected, got)
        self.problem, self.call, self.expected, self.got = problem, call, expected, got
        self.implementation = self.rule = self.statement = ""

    def __str__(self) -> str:
        """Five lines: who breaks which rule, on which call, expected, got, and the rule."""
        lines = [
            f"{self.implementation} breaks {self.rule}" if self.rule else "not what it must be",
            f"  call:     {self.call}",
            f"  expected: {self.expected}",
            f"  got:      {self.got}",
            f"  rule:     {self.statement}",
        ]
        return "\n".join(lines if self.rule else lines[:-1])


def shown(values: Array) -> str:
    """An array on one line: its numbers, its dtype, and its shape if it is empty or long."""
    plain = values
    if values.dtype.kind not in "biufcOUSMm":
        plain = values.astype(np.float64)
    if values.size == 0 or values.size > 60:
        flat = nested(plain.reshape(-1)[:12].tolist())
        return f"{flat[:-1]}{', …' if values.size else ''}] {values.dtype} of shape {values.shape}"
    return f"{nested(plain.tolist())} {values.dtype}"


def run(
    implementation: Implementation, problem: Problem, x: Array | None = None, **extra: Any
) -> tuple[Array, Array | None]:
    """Call it; return values and positions. An exception becomes a `Deviation`."""
    array = problem.array() if x is None else x
    try:
        result = called(implementation, problem, array, **extra)
    except Exception as error:
        text = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        raise Deviation(problem, str(problem), "a result", f"raised {text}") from error
    if problem.option("return_indices"):
        if not isinstance(result, tuple) or len(result) != 2:
            raise Deviation(problem, str(problem), "(values, positions)", type(result).__name__)
        return np.asarray(result[0]), np.asarray(result[1])
    return np.asarray(result), None


def called(implementation: Implementation, problem: Problem, x: Any, **extra: Any) -> Any:
    """The bare call, with warnings silenced: they are no part of the rules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return implementation.call(x, problem, **extra)


def differing(answer: Answer, values: Array, allowed: Array | None = None) -> Array | None:
    """Where values lie further from the answer than allowed (None if nowhere).

    NaN must meet NaN and an infinity the same infinity; the sign of a zero does not count.
    """
    wanted, limit = answer.values, answer.allowed if allowed is None else allowed
    if wanted.dtype.kind in "biu":
        wrong = wanted != values
    elif wanted.dtype.kind == "c":
        far = _far(wanted.real, values.real, limit) | _far(wanted.imag, values.imag, limit)
        wrong = np.where(np.isnan(wanted), ~np.isnan(values), far)
    else:
        expected, got = wanted.astype(np.float64), values.astype(np.float64)
        wrong = np.where(np.isnan(expected), ~np.isnan(got), _far(expected, got, limit))
    return wrong if wrong.any() else None


def _far(expected: Array, got: Array, limit: Array) -> Array:
    """Where finite numbers are more than ``limit`` apart, or others are not the same."""
    finite = np.isfinite(expected) & np.isfinite(got)
    with np.errstate(invalid="ignore"):
        distance = np.abs(expected.astype(np.float64) - got.astype(np.float64))
    return np.where(finite, distance > limit, expected != got)


def agree(
    implementation: Implementation,
    problem: Problem,
    x: Array | None = None,
    *,
    allowed_ulps: float | None = None,
    **extra: Any,
) -> Array:
    """Check shape, dtype, values and positions against the oracle; return the values.

    Raises
    ------
    Deviation
        With the expected result and the one that came.
    """
    array = problem.array() if x is None else x
    answer = problem.expected(array, extra.get("reduce"))
    values, indices = run(implementation, problem, array, **extra)
    compare(problem, answer, values, indices, allowed_ulps)
    return values


def compare(
    problem: Problem,
    answer: Answer,
    values: Array,
    indices: Array | None = None,
    allowed_ulps: float | None = None,
) -> None:
    """Raise a `Deviation` where values or positions are not those of the answer."""
    wanted = answer.values
    if values.shape != wanted.shape:
        raise Deviation(
            problem, str(problem), f"shape {wanted.shape}", f"shape {values.shape}: {shown(values)}"
        )
    if values.dtype != wanted.dtype:
        raise Deviation(problem, str(problem), shown(wanted), shown(values))
    allowed = None
    if allowed_ulps is not None and is_float(wanted.dtype):
        units = np.spacing(np.abs(wanted)).astype(np.float64)
        allowed = np.where(np.isfinite(units), allowed_ulps * units, 0.0)
    wrong = differing(answer, values, allowed)
    if wrong is not None:
        note = ""
        if wanted.size > 60:
            where = tuple(int(i[0]) for i in np.nonzero(wrong))
            note = f" (at {where}: {wanted[where]} and {values[where]})"
        raise Deviation(problem, str(problem), shown(wanted), shown(values) + note)
    if answer.indices is not None:
        assert indices is not None
        fits = indices.shape == answer.indices.shape and indices.dtype == answer.indices.dtype
        if not fits or not np.array_equal(indices, answer.indices):
            raise Deviation(
                problem,
                str(problem),
                f"positions {shown(answer.indices)}",
                f"positions {shown(indices)}",
            )


def refused(implementation: Implementation, problem: Problem, x: Any, call: str) -> None:
    """Check that a call with bad arguments raises one of the exceptions that it promises."""
    names = " or ".join(error.__name__ for error in implementation.errors)
    try:
        result = called(implementation, problem, x)
    except implementation.errors as error:
        if isinstance(error, ValueError | TypeError) and not str(error).strip():
            got = f"raised an empty {type(error).__name__}"
            raise Deviation(problem, call, f"{names} that says why", got) from error
        return
    except Exception as error:
        text = f"raised {type(error).__name__}: {error}".splitlines()[0][:160]
        raise Deviation(problem, call, names, text) from error
    got = result if not isinstance(result, tuple) else result[0]
    raise Deviation(problem, call, names, f"returned {shown(np.asarray(got))}")
