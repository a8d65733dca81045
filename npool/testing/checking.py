"""`check` and `cases`: put an implementation to the test, rule by rule."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import Flaky, Unsatisfiable

from .implementations import Implementation, from_function
from .judging import Deviation
from .problems import Problem
from .rules import RULES, Rule

__all__ = ["Case", "Outcome", "cases", "check", "examine", "selected"]

# Importing these fills RULES; the order of semantics.md is what reports show.
for _module in (
    "rules_geometry", "rules_sizes", "rules_values", "rules_dtypes", "rules_arrays", "rules_errors",
):  # fmt: skip
    importlib.import_module(f".{_module}", __package__)
_ordered = sorted(RULES.items(), key=lambda named: named[1].section)
RULES.clear()
RULES.update(_ordered)


@dataclass(frozen=True)
class Outcome:
    """What became of one rule on one implementation.

    Parameters
    ----------
    rule, implementation : str
        Their names.
    status : str
        ``"pass"``, ``"deviates"`` or ``"not applicable"``.
    examples : int
        The number of problems tried.
    deviation : Deviation, optional
        The counterexample.
    reason : str
        Why the rule does not apply.
    """

    rule: str
    implementation: str
    status: str
    examples: int = 0
    deviation: Deviation | None = None
    reason: str = ""


def examine(rule: Rule, implementation: Implementation, max_examples: int = 100) -> Outcome:
    """Try one rule: first its own examples, then random problems, shrunk to the smallest.

    The random ones come from a fixed seed: the same versions give the same outcome. (Hypothesis
    also draws numbers that it reads in the source files of the code that calls it, if that is not
    installed: they may make another example the smallest.)

    Parameters
    ----------
    rule : Rule
        One of `RULES`.
    implementation : Implementation
        The descriptor of what is tried.
    max_examples : int
        Random problems; an implementation may have a lower bound of its own.

    Returns
    -------
    Outcome
        With the counterexample, where there is one.

    Raises
    ------
    Exception
        Whatever the rule's check or the descriptor itself raises by mistake. A deviation is
        returned, and so is an exception of the function that is tried.

    Examples
    --------
    >>> from npool.testing import RULES, descriptor
    >>> examine(RULES["nan_propagates"], descriptor("numpy"), 5).status
    'pass'
    """
    reason = rule.not_applicable(implementation)
    if reason is not None:
        return Outcome(rule.name, implementation.name, "not applicable", reason=reason)
    tried = 0
    found: Deviation | None = None

    def judge(problem: Problem) -> None:
        nonlocal tried, found
        tried += 1
        try:
            rule.judge(implementation, problem)
        except Deviation as deviation:
            if found is None or _size(deviation) <= _size(found):
                found = deviation
            raise

    for problem in rule.fixed(implementation):
        try:
            judge(problem)
        except Deviation:
            break
    if implementation.max_examples is not None:
        max_examples = min(max_examples, implementation.max_examples)
    _search(rule, implementation, judge, max_examples)
    if found is not None:
        found.implementation, found.rule, found.statement = (
            implementation.name,
            rule.name,
            rule.statement,
        )
        return Outcome(rule.name, implementation.name, "deviates", tried, found)
    if tried == 0:
        reason = "no problem of the rule is one that it takes"
        return Outcome(rule.name, implementation.name, "not applicable", reason=reason)
    return Outcome(rule.name, implementation.name, "pass", tried)


def _size(deviation: Deviation) -> tuple[int, str]:
    """Counterexamples are compared by how long they are to read."""
    return len(deviation.call), deviation.call


def _search(
    rule: Rule, implementation: Implementation, judge: Callable[[Problem], None], examples: int
) -> None:
    """Look for a counterexample with Hypothesis; ``judge`` keeps what it is shown."""
    strategy = rule.problems(implementation)
    if strategy is None or examples <= 0:
        return

    @seed(20260101)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate, Phase.shrink],
        verbosity=Verbosity.quiet,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def attempt(problem: Problem) -> None:
        judge(problem)

    try:
        attempt()
    except (Deviation, Flaky, Unsatisfiable):
        return


def selected(rules: str | Sequence[str] | None, exclude: str | Sequence[str] = ()) -> list[Rule]:
    """The rules of the names given (all by default) but those excluded.

    Raises
    ------
    ValueError
        For a name that no rule has.
    """
    names = list(RULES) if rules is None else [rules] if isinstance(rules, str) else list(rules)
    left_out = [exclude] if isinstance(exclude, str) else list(exclude)
    for name in (*names, *left_out):
        if name not in RULES:
            raise ValueError(f"there is no rule {name!r}; there are: {', '.join(RULES)}")
    return [RULES[name] for name in names if name not in left_out]


Function = Callable[..., Any]
Tested = Implementation | Function | Mapping[str, Function]


def _descriptor(implementation: Tested, about: dict[str, Any]) -> Implementation:
    if isinstance(implementation, Implementation):
        if about:
            raise TypeError(f"an Implementation says {', '.join(about)} itself")
        return implementation
    return from_function(implementation, **about)


def check(
    implementation: Tested,
    *,
    rules: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] = (),
    max_examples: int = 100,
    **about: Any,
) -> list[Outcome]:
    """Hold a pooling function to the rules of semantics.md; raise at the first that it breaks.

    Parameters
    ----------
    implementation : callable, mapping of str to callable, or Implementation
        A function that is called as npool's are, a function for each operation, or a descriptor.
    rules, exclude : str or sequence of str, optional
        Names in `RULES` to try (all by default), and names to leave out.
    max_examples : int
        Random problems for each rule.
    **about
        For a function: ``ops``, ``dtypes``, ``pooled``, ``batch``, ``without``, ``name``, ``fold``,
        ``output_shape``, ``adaptive``, as `from_function` takes them. What its signature lacks is
        not asked for.

    Returns
    -------
    list of Outcome
        One for each rule: ``"pass"`` or ``"not applicable"``.

    Raises
    ------
    Deviation
        An AssertionError with the rule's name, the smallest counterexample that was found, what
        is expected and what came.
    ValueError
        If no rule is applicable at all: nothing would have been checked.

    Examples
    --------
    >>> import numpy as np
    >>> def my_max_pool(x, kernel_size, stride=None):
    ...     (k,), (s,) = kernel_size, stride or kernel_size
    ...     windows = np.lib.stride_tricks.sliding_window_view(x, k, axis=-1)
    ...     return windows[..., ::s, :].max(axis=-1)
    >>> about = dict(
    ...     ops="max", dtypes="float32", pooled=1, without=["one_int", "layouts", "errors"]
    ... )
    >>> outcomes = check(my_max_pool, rules="nan_propagates", max_examples=20, **about)
    >>> outcomes[0].status
    'pass'
    >>> def broken(x, kernel_size, stride=None):
    ...     return np.nan_to_num(my_max_pool(x, kernel_size, stride))
    >>> check(broken, rules="nan_propagates", max_examples=50, **about)
    Traceback (most recent call last):
        ...
    npool.testing.judging.Deviation: broken breaks nan_propagates
      call:     max_pool(np.array([nan], "float32"), (1,))
      expected: [nan] float32
      got:      [0] float32
      rule:     semantics.md 3: NaN propagates: a window with a NaN anywhere in it gives NaN.
    """
    descriptor = _descriptor(implementation, about)
    outcomes = []
    for rule in selected(rules, exclude):
        outcome = examine(rule, descriptor, max_examples)
        if outcome.deviation is not None:
            # What is of interest is the counterexample, not the frames of the search for it.
            raise outcome.deviation.with_traceback(None)
        outcomes.append(outcome)
    if all(outcome.status == "not applicable" for outcome in outcomes):
        reasons = {outcome.reason for outcome in outcomes}
        raise ValueError(f"no rule applies to {descriptor.name}: it {'; '.join(sorted(reasons))}")
    return outcomes


@dataclass(frozen=True)
class Case:
    """One rule on one implementation, as a pytest parameter (its id is the rule's name).

    Parameters
    ----------
    rule : Rule
        What is checked.
    implementation : Implementation
        The descriptor of what is tried.
    max_examples : int
        Random problems.
    """

    rule: Rule
    implementation: Implementation
    max_examples: int = 100

    @property
    def __name__(self) -> str:
        """What pytest shows."""
        return self.rule.name

    def check(self) -> None:
        """Raise a `Deviation` if the rule is broken."""
        outcome = examine(self.rule, self.implementation, self.max_examples)
        if outcome.deviation is not None:
            raise outcome.deviation.with_traceback(None)


def _cases(descriptor: Implementation, rules: Sequence[Rule], max_examples: int) -> Iterator[Case]:
    for rule in rules:
        if rule.not_applicable(descriptor) is None:
            yield Case(rule, descriptor, max_examples)


def cases(
    implementation: Tested,
    *,
    rules: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] = (),
    max_examples: int = 100,
    **about: Any,
) -> list[Case]:
    """The applicable rules as parameters for pytest, one test each.

    Parameters
    ----------
    implementation, rules, exclude, max_examples, about
        As for `check`.

    Returns
    -------
    list of Case
        In the order of semantics.md, or of ``rules``; none where no rule is applicable.

    Raises
    ------
    ValueError
        For a name that no rule has, and for a function without ``ops`` where one is needed.
    TypeError
        For more ``about`` a descriptor, which says it itself.

    Examples
    --------
    In a test file::

        import pytest
        import npool.testing
        from mine import my_max_pool

        @pytest.mark.parametrize("case", npool.testing.cases(my_max_pool, ops="max"))
        def test_my_max_pool(case):
            case.check()

    >>> def my_max_pool(x, kernel_size, stride=None, padding=0):
    ...     return x
    >>> [case.__name__ for case in cases(my_max_pool, ops="max")][:2]
    ['a_window_holds_its_own_elements', 'stride_default_is_kernel']
    """
    descriptor = _descriptor(implementation, about)
    return list(_cases(descriptor, selected(rules, exclude), max_examples))
