"""Rules: the sentences of semantics.md as checks, each with the problems that try it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from .exact import COMPLEX, FLOATS, available
from .implementations import Implementation
from .oracle import pooled_axes
from .problems import Problem
from .strategies import FEATURES, Limits, problems

PLAIN = ("float32", "float64", "int64")
"""Dtypes for the rules that are not about dtypes."""

Judge = Callable[[Implementation, Problem], Any]
Source = Callable[[Implementation], "st.SearchStrategy[Problem] | None"]


@dataclass(frozen=True)
class Rule:
    """A named check.

    The problems come from ``source``, or are drawn within what the other fields say: each rule
    varies as little as it can, so that what breaks it is what it is about.

    Parameters
    ----------
    name, section, statement : str
        Its name; its section of semantics.md; what that says, in a sentence.
    judge : callable
        ``judge(implementation, problem)`` raises a `Deviation` where the rule is broken.
    ops, dtypes, data, layouts : tuple of str
        What the problems are drawn from; names in `OPERATIONS`, in `DATA`, in `LAYOUTS`.
    needs : tuple of str
        Names in `PARAMETERS` that an implementation must have for the rule to apply.
    vary : tuple of str
        Names in `FEATURES`: what the geometry may vary, beside what is needed.
    pooled, batch : tuple of int
        How many axes are pooled, and how many others there are.
    options : mapping of str to strategy
        Keyword arguments, such as ``count_include_pad``, and what they are drawn from.
    examples : tuple of Problem
        What is tried before the problems that are drawn.
    empty_windows, empty_batch : bool
        Whether a window may lie wholly in the padding; whether the first axis has length 0.
    one_plane : bool
        Axes that are not pooled have length 1.
    about_dtypes : bool
        All operations are tried on integers too, not max and min alone.
    default_stride : bool
        The stride is left out even for those whose own default is another.
    beyond_limits : bool
        The problems may be more than the implementation says that it takes.
    where : callable, optional
        Only problems for which it is true: those that show what the rule is about.
    source : callable, optional
        The strategy of the rule's own problems for an implementation, or None for none.
    """

    name: str
    section: str
    statement: str
    judge: Judge
    ops: tuple[str, ...]
    dtypes: tuple[str, ...] = PLAIN
    data: tuple[str, ...] = ("integers",)
    needs: tuple[str, ...] = ()
    vary: tuple[str, ...] = ()
    pooled: tuple[int, ...] = (1, 2, 3)
    batch: tuple[int, ...] = (0, 1, 2)
    layouts: tuple[str, ...] = ("C",)
    options: Mapping[str, st.SearchStrategy[Any]] = field(default_factory=dict)
    examples: tuple[Problem, ...] = ()
    empty_windows: bool = False
    empty_batch: bool = False
    one_plane: bool = False
    about_dtypes: bool = False
    default_stride: bool = False
    beyond_limits: bool = False
    where: Callable[[Problem], bool] | None = None
    source: Source | None = None

    def operations(self, implementation: Implementation) -> dict[str, tuple[str, ...]]:
        """The operations that the rule can try, and the dtypes of each."""
        wanted = set(available(self.dtypes))
        result = {}
        for op in self.ops:
            # What integers become is the matter of some rules, and does not disturb the others.
            kept = self.about_dtypes or op in ("max", "min")
            names = implementation.ops.get(op, ())
            names = tuple(d for d in names if d in wanted and (kept or d in FLOATS + COMPLEX))
            if names:
                result[op] = names
        return result

    def not_applicable(self, implementation: Implementation) -> str | None:
        """Why the rule says nothing about an implementation, or None if it does."""
        for name in self.needs:
            if name not in implementation.parameters:
                return f"has no {name}"
        if not any(op in implementation.ops for op in self.ops):
            return f"has none of {', '.join(self.ops)}"
        if not self.operations(implementation):
            return f"has none of {', '.join(self.dtypes)} for {', '.join(self.ops)}"
        if not set(self.pooled) & set(implementation.pooled):
            return f"does not pool {' or '.join(map(str, self.pooled))} axes"
        if not set(self.batch) & set(implementation.batch):
            return f"has not {' or '.join(map(str, self.batch))} other axes"
        if not set(self.layouts) & set(implementation.layouts):
            return f"takes none of the layouts {', '.join(self.layouts)}"
        return None

    def problems(self, implementation: Implementation) -> st.SearchStrategy[Problem] | None:
        """What to try it on; None if there is nothing that the implementation takes."""
        if self.source is not None:
            strategy = self.source(implementation)
            return None if strategy is None else self._narrowed(strategy, implementation)
        limits = Limits(
            pooled=tuple(n for n in self.pooled if n in implementation.pooled),
            batch=tuple(n for n in self.batch if n in implementation.batch),
            ceil_modes=implementation.ceil_modes,
            kernel_sizes=implementation.kernel_sizes,
            padding_limit=implementation.padding_limit,
            size=40,
            longest_batch=1 if self.one_plane else 3,
        )
        dtypes = self.operations(implementation)
        has = implementation.parameters
        strategy = problems(
            ops=tuple(dtypes),
            dtypes=dtypes,
            data=self.data,
            vary=tuple(f for f in FEATURES if f in self.vary and f in has),
            require=tuple(f for f in FEATURES if f in self.needs),
            limits=limits,
            layouts=tuple(n for n in self.layouts if n in implementation.layouts),
            options={k: v for k, v in self.options.items() if k in has},
            empty_windows=self.empty_windows,
            empty_batch=self.empty_batch,
        )
        if False not in implementation.ceil_modes and "ceil_mode" not in self.needs:
            strategy = strategy.filter(_fits_whole)
        return self._narrowed(strategy, implementation)

    def _narrowed(
        self, strategy: st.SearchStrategy[Problem], implementation: Implementation
    ) -> st.SearchStrategy[Problem]:
        """The problems as the implementation takes them."""
        if implementation.other_default_stride and not self.default_stride:
            strategy = strategy.map(_with_stride)
        if self.where is not None:
            strategy = strategy.filter(self.where)
        takes = None if self.beyond_limits else implementation.takes
        return strategy if takes is None else strategy.filter(takes)

    def fixed(self, implementation: Implementation) -> list[Problem]:
        """The examples of the rule that the implementation takes."""
        adapted = [implementation.adapted(problem) for problem in self.examples]
        if implementation.other_default_stride and not self.default_stride:
            adapted = [_with_stride(problem) for problem in adapted]
        return [problem for problem in adapted if implementation.refuses(problem) is None]


def _with_stride(problem: Problem) -> Problem:
    """The same problem with its stride given."""
    if problem.stride is not None or problem.output_size is not None:
        return problem
    return replace(problem, stride=problem.kernel_size)


def _fits_whole(problem: Problem) -> bool:
    """Whether ceil mode makes no difference: for those who have nothing else."""
    short = problem.has_empty_window() or any(
        axis.length < axis.kernel for axis in pooled_axes(problem.shape, **problem.geometry())
    )
    floored = replace(problem, ceil_mode=False)
    return not short and problem.output_shape() == floored.output_shape()


RULES: dict[str, Rule] = {}
"""Every rule by name, in the order of semantics.md."""


def rule(ops: Sequence[str], **about: Any) -> Callable[[Judge], Judge]:
    """Register a function ``judge(implementation, problem)`` as the rule of its name.

    Its docstring is the statement. ``about`` holds the other fields of `Rule`.
    """

    def register(judge: Judge) -> Judge:
        name = judge.__name__
        statement = " ".join((inspect.getdoc(judge) or "").split("\n\n")[0].split())
        if not statement.startswith("semantics.md "):
            raise ValueError(f"the docstring of {name} must begin with its section of semantics.md")
        if name in RULES:
            raise ValueError(f"there are two rules named {name}")
        section = statement.removeprefix("semantics.md ").split(":")[0]
        RULES[name] = Rule(name, section, statement, judge, tuple(ops), **about)
        return judge

    return register
