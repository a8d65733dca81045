"""`conform`: the matrix of rules and implementations, with a counterexample for each deviation."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import configuration

from .checking import Outcome, examine
from .implementations import Implementation
from .peers import INSTALLED, descriptor, found
from .rules import RULES

MARKS = {"pass": "✓", "deviates": "✗", "not applicable": "·"}


@dataclass(frozen=True)
class ConformanceReport:
    """What `conform` found.

    Attributes
    ----------
    implementations : tuple of Implementation
        The columns.
    outcomes : tuple of Outcome
        One for each rule and implementation, rule by rule.
    max_examples : int
        Random problems for each.
    """

    implementations: tuple[Implementation, ...]
    outcomes: tuple[Outcome, ...]
    max_examples: int

    def outcome(self, rule: str, implementation: str) -> Outcome:
        """One cell; KeyError if there is none."""
        for outcome in self.outcomes:
            if (outcome.rule, outcome.implementation) == (rule, implementation):
                return outcome
        raise KeyError(f"no outcome of {rule!r} for {implementation!r}")

    def deviations(self, implementation: str | None = None) -> list[Outcome]:
        """The outcomes that deviate, of one implementation or of all."""
        return [
            outcome
            for outcome in self.outcomes
            if outcome.deviation and implementation in (None, outcome.implementation)
        ]

    def counts(self, implementation: str) -> dict[str, int]:
        """How many rules pass, deviate and are not applicable."""
        of = [
            outcome.status for outcome in self.outcomes if outcome.implementation == implementation
        ]
        return {status: of.count(status) for status in MARKS}

    def to_json(self) -> str:
        """The report as JSON text: ``rules``, ``implementations`` and ``rows``."""
        rows = []
        for outcome in self.outcomes:
            row: dict[str, Any] = {
                "rule": outcome.rule,
                "implementation": outcome.implementation,
                "status": outcome.status,
                "examples": outcome.examples,
            }
            if outcome.reason:
                row["reason"] = outcome.reason
            if outcome.deviation:
                row["counterexample"] = {
                    "call": outcome.deviation.call,
                    "expected": outcome.deviation.expected,
                    "got": outcome.deviation.got,
                }
            rows.append(row)
        rules = {outcome.rule: RULES[outcome.rule] for outcome in self.outcomes}
        report = {
            "python": platform.python_version(),
            "max_examples": self.max_examples,
            "implementations": [
                {"name": i.name, "version": i.version, **self.counts(i.name)}
                for i in self.implementations
            ],
            "rules": [
                {"name": r.name, "section": r.section, "statement": r.statement}
                for r in rules.values()
            ],
            "rows": rows,
        }
        return json.dumps(report, indent=1, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """The matrix as a Markdown table, and the deviations below it."""
        names = [i.name for i in self.implementations]
        heads = [f"{i.name} {i.version}".strip() for i in self.implementations]
        lines = [
            "# Conformance",
            "",
            "✓ keeps the rule · ✗ deviates (see below) · a dot: not applicable. Sections are those "
            "of the semantics.",
            "",
            f"| § | rule | {' | '.join(heads)} |",
            f"| --- | --- |{' --- |' * len(names)}",
        ]
        rules = list(dict.fromkeys(outcome.rule for outcome in self.outcomes))
        for rule in rules:
            marks = [MARKS[self.outcome(rule, name).status] for name in names]
            lines.append(f"| {RULES[rule].section} | `{rule}` | {' | '.join(marks)} |")
        for implementation, head in zip(self.implementations, heads, strict=True):
            of = self.deviations(implementation.name)
            if not of:
                continue
            lines += ["", f"## Where {head} deviates"]
            for outcome in of:
                assert outcome.deviation is not None
                statement = RULES[outcome.rule].statement.split(": ", 1)[1]
                lines += [
                    "",
                    f"**`{outcome.rule}`** {statement}",
                    "",
                    "```text",
                    f"call      {outcome.deviation.call}",
                    f"expected  {outcome.deviation.expected}",
                    f"got       {outcome.deviation.got}",
                    "```",
                ]
        return "\n".join(lines) + "\n"


@contextlib.contextmanager
def _leaving_no_trace() -> Iterator[None]:
    """Keep Hypothesis from making a `.hypothesis` directory where a command happens to run."""
    if os.environ.get("HYPOTHESIS_STORAGE_DIRECTORY") or Path(".hypothesis").exists():
        yield
        return
    with tempfile.TemporaryDirectory(prefix="npool-conform-") as directory:
        configuration.set_hypothesis_home_dir(directory)
        try:
            yield
        finally:
            configuration.set_hypothesis_home_dir(None)


def conform(
    names: Sequence[str] | None = None,
    *,
    max_examples: int = 60,
    progress: Callable[[int, int, str], None] | None = None,
) -> ConformanceReport:
    """Hold npool, and whatever else is installed, to every rule.

    It takes some minutes where all the others are installed; JAX compiles for each shape.

    Parameters
    ----------
    names : sequence of str, optional
        Which implementations: names in `npool.testing.INSTALLED`. By default npool and all others
        that are found.
    max_examples : int
        Random problems for each rule and implementation, from a fixed seed.
    progress : callable, optional
        Called as ``progress(done, total, label)`` before each cell of the matrix and once at the
        end, with ``label`` saying what is at work, such as ``"torch: nan_propagates"``.

    Returns
    -------
    ConformanceReport
        With ``to_json()`` and ``to_markdown()``.

    Raises
    ------
    ValueError
        For a name that is not known or not installed, and for ``max_examples`` below 1.

    Examples
    --------
    >>> report = conform(["numpy"], max_examples=5)
    >>> report.outcome("nan_propagates", "numpy").status
    'pass'
    """
    if isinstance(max_examples, bool) or not isinstance(max_examples, int):
        raise TypeError(f"max_examples={max_examples!r} is no int")
    if max_examples < 1:
        raise ValueError(f"max_examples={max_examples} is below 1: nothing would be tried")
    wanted = found() if names is None else list(dict.fromkeys(names))
    for name in wanted:
        if name not in INSTALLED:
            raise ValueError(f"unknown implementation {name!r}; known: {', '.join(INSTALLED)}")
        if not INSTALLED[name].is_installed():
            raise ValueError(
                f"{name} is not installed: pip install {INSTALLED[name].distribution} "
                f"(found: {', '.join(found())})"
            )
    implementations = [descriptor(name) for name in wanted]
    total, done = len(RULES) * len(implementations), 0
    outcomes = []
    with _leaving_no_trace():
        for rule in RULES.values():
            for implementation in implementations:
                if progress is not None:
                    progress(done, total, f"{implementation.name}: {rule.name}")
                outcomes.append(examine(rule, implementation, max_examples))
                done += 1
    if progress is not None:
        progress(done, total, "done")
    return ConformanceReport(tuple(implementations), tuple(outcomes), max_examples)
