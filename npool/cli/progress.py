"""How far a long run is: a bar on a terminal, a few lines elsewhere, nothing for short runs."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Reporter", "counted", "reporter"]


class Reporter:
    """Call it with (done, total): once before the work, then after each piece. Says nothing."""

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` outputs are written."""

    def say(self, text: str) -> None:
        """Something that the user may wonder about."""


@contextlib.contextmanager
def reporter(quiet: bool) -> Iterator[Reporter]:
    """What fits where stderr goes."""
    if quiet:
        yield Reporter()
    elif sys.stderr.isatty():
        with _bar() as bar:
            yield bar
    else:
        yield _Lines()


class _Lines(Reporter):
    """A line for every tenth of the work, unless a single piece is all of it."""

    def __init__(self) -> None:
        self.shown = -1
        self.began = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if done in (0, total) and self.shown < 0:
            return
        tenth = 10 * done // max(total, 1)
        if tenth > self.shown:
            self.shown = tenth
            seconds = time.monotonic() - self.began
            self.say(f"{10 * tenth}% pooled after {seconds:.0f} s")

    def say(self, text: str) -> None:
        sys.stderr.write(f"npool: {text}\n")
        sys.stderr.flush()


@contextlib.contextmanager
def _bar() -> Iterator[Reporter]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("pooling"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("pooling", total=None)

        class Bar(Reporter):
            def __call__(self, done: int, total: int) -> None:
                progress.update(task, total=max(total, 1), completed=done if total else 1)

            def say(self, text: str) -> None:
                progress.console.print(f"npool: {text}", highlight=False)

        yield Bar()


@contextlib.contextmanager
def counted() -> Iterator[Callable[[int, int, str], None]]:
    """What is being tried, of how many: a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, total, label: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns: tuple[Any, ...] = (
        BarColumn(bar_width=30), MofNCompleteColumn(), TextColumn("{task.description}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, label: bar.update(
            task, completed=done, total=total, description=escape(label)
        )
