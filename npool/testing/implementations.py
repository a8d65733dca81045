"""What a pooling implementation can do, declared, so that it is judged by what it has."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .operations import OPERATIONS
from .oracle import Fold
from .problems import Problem

PARAMETERS = (
    "stride",
    "padding",
    "asymmetric_padding",
    "same",
    "dilation",
    "ceil_mode",
    "axes",
    "return_indices",
    "index_dtype",
    "count_include_pad",
    "divisor_override",
    "dtype",
    "rounding",
    "norm_type",
    "out",
    "adaptive",
    "fold",
    "output_shape",
    "one_int",
    "layouts",
    "errors",
    "dtype_errors",
)
"""What an implementation may have: its parameters, and promises beyond the values.

``adaptive`` (pools to a given size), ``fold`` (reductions of one's own), ``output_shape`` (says the
shape without the call), ``one_int`` (an int for stride, padding or dilation serves every axis),
``layouts`` (promises on memory: any strides, the memory order kept), ``errors`` (bad arguments are
refused with the exceptions listed) and ``dtype_errors`` (so are unsupported dtypes).
"""


@dataclass(frozen=True)
class Implementation:
    """A descriptor: how to call an implementation, and what it has.

    Parameters
    ----------
    name, version : str
        As they appear in reports.
    call : callable
        ``call(x, problem, **extra)`` returns the values, or ``(values, positions)`` where the
        problem asks for them. ``extra`` may hold ``out``, and ``reduce``, a fold of one's own.
    ops : mapping of str to sequence of str
        The dtypes it takes, for each operation that it has.
    parameters : frozenset of str
        Names in `PARAMETERS`; rules that need others are not applicable.
    pooled, batch : tuple of int
        How many axes it can pool, and how many others there may be (they come first).
    layouts : tuple of str
        Names in `npool.testing.LAYOUTS` that it takes.
    ceil_modes, kernel_sizes, padding_limit
        ``(True,)`` where the ragged edge is always kept; a tuple of the only kernel sizes;
        ``padding_limit(kernel, dilation)``, the most it allows on a side.
    other_default_stride : bool
        Its default stride is not the kernel, so it is given in all rules but the one about it.
    errors : tuple of exception types
        What counts as a refusal of bad arguments.
    output_shape : callable, optional
        ``output_shape(shape, **geometry)``.
    max_examples : int, optional
        A bound on the examples of one rule, for what compiles at every new shape.
    takes : callable, optional
        Further limits: whether it takes a problem.

    Raises
    ------
    ValueError
        For a parameter or an operation that is not known.

    Examples
    --------
    >>> def call(x, problem, **extra):
    ...     return x.max(axis=-1, keepdims=True)
    >>> whole = Implementation("whole line", call, {"max": ["float32"]}, pooled=(1,))
    >>> whole.refuses(Problem("min", (3,), kernel_size=(3,)))
    'has no min'
    """

    name: str
    call: Callable[..., Any]
    ops: Mapping[str, Sequence[str]]
    parameters: frozenset[str] = frozenset()
    version: str = ""
    pooled: tuple[int, ...] = (1, 2, 3, 4)
    batch: tuple[int, ...] = (0, 1, 2)
    layouts: tuple[str, ...] = ("C",)
    ceil_modes: tuple[bool, ...] = (False, True)
    kernel_sizes: tuple[int, ...] | None = None
    padding_limit: Callable[[int, int], int] | None = None
    other_default_stride: bool = False
    errors: tuple[type[Exception], ...] = (ValueError, TypeError)
    output_shape: Callable[..., tuple[int, ...]] | None = None
    max_examples: int | None = None
    takes: Callable[[Problem], bool] | None = None

    def __post_init__(self) -> None:
        _known("parameters", self.parameters, PARAMETERS)
        _known("operations", self.ops, OPERATIONS)

    def adapted(self, problem: Problem) -> Problem:
        """The same problem with axes of length 1 before it, where a batch axis is obligatory."""
        missing = min(self.batch) - (len(problem.shape) - problem.pooled())
        if missing <= 0 or problem.axes is not None:
            return problem
        return replace(problem, shape=(1,) * missing + problem.shape)

    def refuses(self, problem: Problem) -> str | None:
        """Why the descriptor excludes a problem: the first thing that it lacks, or None."""
        has = self.parameters
        if problem.op not in self.ops:
            return f"has no {problem.op}"
        if problem.dtype not in self.ops[problem.op]:
            return f"has no {problem.op} of {problem.dtype}"
        if problem.pooled() not in self.pooled:
            return f"does not pool {problem.pooled()} axes"
        if len(problem.shape) - problem.pooled() not in self.batch:
            return f"does not take {len(problem.shape)} axes"
        if problem.layout not in self.layouts:
            return f"does not take the layout {problem.layout}"
        if problem.output_size is not None and "adaptive" not in has:
            return "has no adaptive"
        if problem.output_size is None and problem.ceil_mode not in self.ceil_modes:
            return f"has no ceil_mode={problem.ceil_mode}"
        used = {
            "stride": problem.stride is not None,
            "padding": problem.padding not in (0, "valid"),
            "asymmetric_padding": _asymmetric(problem.padding),
            "same": isinstance(problem.padding, str),
            "dilation": np.max(problem.dilation) > 1,
            "axes": problem.axes is not None,
        }
        for name in (*(n for n, is_used in used.items() if is_used), *dict(problem.options)):
            if name not in has and not (name == "padding" and used["same"]):
                return f"has no {name}"
        if (
            problem.output_size is None
            and self.kernel_sizes
            and not set(np.ravel(problem.kernel_size)) <= set(self.kernel_sizes)
        ):
            return f"has no kernel_size {problem.kernel_size}"
        if self.takes is not None and not self.takes(problem):
            return "does not take it"
        return None


def _known(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise a ValueError for names that are not known."""
    choices = list(dict.fromkeys(known))
    unknown = sorted(set(names) - set(choices))
    if unknown:
        raise ValueError(f"unknown {what} {unknown}; known: {', '.join(choices)}")


def _asymmetric(padding: Any) -> bool:
    return not isinstance(padding, str | int) and any(
        not isinstance(pad, int) and pad[0] != pad[1] for pad in padding
    )


_ALWAYS = frozenset({"one_int", "layouts", "errors", "dtype_errors"})


def from_function(
    function: Callable[..., Any] | Mapping[str, Callable[..., Any]],
    *,
    ops: str | Sequence[str] | None = None,
    dtypes: str | Sequence[str] | None = None,
    pooled: int | Sequence[int] = (1, 2, 3, 4),
    batch: int | Sequence[int] = (0, 1, 2),
    without: Sequence[str] = (),
    name: str | None = None,
    version: str = "",
    fold: Callable[[Fold], Any] | None = None,
    output_shape: Callable[..., tuple[int, ...]] | None = None,
    adaptive: Callable[..., Any] | None = None,
) -> Implementation:
    """The descriptor of a function that is called as npool's are.

    The function is called as ``function(x, kernel_size=…, stride=…, padding=…, …)`` with
    ``kernel_size`` a tuple of one entry for each pooled axis; of the other parameters it gets
    those that its signature names, and ``stride`` only where the problem gives one.

    Parameters
    ----------
    function : callable or mapping of str to callable
        One function, with a ``reduce`` parameter or with ``ops`` naming the one reduction that it
        does; or a function for each operation.
    ops, dtypes, pooled, batch
        What it does: operations, dtypes (default: all that an operation has), numbers of pooled
        axes and of others.
    without : sequence of str
        Names in `PARAMETERS` that it does not have, though its signature suggests it; among them
        the promises ``"one_int"`` (without it, sizes always come as tuples), ``"layouts"``,
        ``"errors"`` and ``"dtype_errors"``.
    name, version : str, optional
        As reports show them.
    fold : callable, optional
        Makes a reducer, as the function takes it, of an `npool.testing.oracle.Fold`.
    output_shape : callable, optional
        ``output_shape(shape, **geometry)`` gives the result's shape without the call.
    adaptive : callable, optional
        ``adaptive(x, output_size, axes=…, reduce=…)`` pools to a given size; it gets those of the
        other parameters, such as ``return_indices``, that its signature names.

    Returns
    -------
    Implementation
        The descriptor, with the parameters that the signature names.

    Raises
    ------
    ValueError
        For a function that does one reduction and no ``ops`` to say which; for an operation, a
        dtype or a name in ``without`` that is not known.

    Examples
    --------
    >>> def largest(x, kernel_size, stride=None):
    ...     return x
    >>> sorted(from_function(largest, ops="max", without=["layouts", "errors"]).parameters)
    ['dtype_errors', 'one_int', 'stride']
    """
    functions = dict(function) if isinstance(function, Mapping) else {}
    if not functions:
        assert callable(function)
        takes_reduce = "reduce" in inspect.signature(function).parameters
        if ops is None and not takes_reduce:
            raise ValueError("say which reduction the function does, such as ops='max'")
        chosen = list(OPERATIONS) if ops is None else [ops] if isinstance(ops, str) else ops
        functions = dict.fromkeys(chosen, function)
    types = [dtypes] if isinstance(dtypes, str) else dtypes
    _known("operations", functions, OPERATIONS)
    _known("dtypes", types or (), [d for row in OPERATIONS.values() for d in row.dtypes])
    signatures = {op: inspect.signature(f).parameters for op, f in functions.items()}
    named = {p for signature in signatures.values() for p in signature}
    has = (named & set(PARAMETERS)) | _ALWAYS
    if "padding" in named:
        has |= {"asymmetric_padding", "same"}
    has = has - {"adaptive"} | ({"adaptive"} if adaptive else set())
    has |= ({"fold"} if fold else set()) | ({"output_shape"} if output_shape else set())
    _known("parameters", without, PARAMETERS)
    has -= set(without)

    folding = next((op for op in functions if "reduce" in signatures[op]), None)

    def call(x: Any, problem: Problem, *, reduce: Any = None, **extra: Any) -> Any:
        if problem.output_size is not None:
            assert adaptive is not None
            return _adapted(adaptive, x, problem, reduce if reduce else problem.op, extra)
        op = problem.op if reduce is None or folding is None else folding
        signature = signatures[op]
        arguments = {**problem.arguments(), **extra}
        if "one_int" not in has:
            for name in ("stride", "padding", "dilation"):
                if isinstance(arguments[name], int):
                    arguments[name] = (arguments[name],) * problem.pooled()
        if problem.stride is None:
            del arguments["stride"]
        if problem.op == "lp":
            arguments.setdefault("norm_type", 2)
        if "reduce" in signature:
            arguments["reduce"] = problem.op
        if reduce is not None:
            arguments["reduce"] = fold(reduce) if fold else reduce
        given = {key: value for key, value in arguments.items() if key in signature}
        return functions[op](x, **given)

    first = next(iter(functions.values()))
    return Implementation(
        name=name or str(getattr(first, "__name__", type(first).__name__)),
        call=call,
        version=version,
        ops={
            op: tuple(d for d in OPERATIONS[op].dtypes if types is None or d in types)
            for op in functions
        },
        parameters=frozenset(has),
        pooled=(pooled,) if isinstance(pooled, int) else tuple(pooled),
        batch=(batch,) if isinstance(batch, int) else tuple(batch),
        layouts=_layouts("layouts" in has),
        ceil_modes=(False, True) if "ceil_mode" in has else (False,),
        output_shape=output_shape,
    )


def _adapted(
    function: Callable[..., Any], x: Any, problem: Problem, reduce: Any, extra: dict[str, Any]
) -> Any:
    """The call of a function that pools to a given size."""
    names = inspect.signature(function).parameters
    arguments = {**problem.arguments(), **extra, "reduce": reduce}
    return function(x, **{key: value for key, value in arguments.items() if key in names})


def _layouts(promised: bool) -> tuple[str, ...]:
    from .layouts import LAYOUTS

    return tuple(LAYOUTS) if promised else ("C",)
