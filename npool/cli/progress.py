"""How far a long run is: a bar on a terminal, a few lines elsewhere, nothing for short runs."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

__all__ = ["reporter"]


@contextlib.contextmanager
def reporter(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A function to call with (done, total): once before the work, then after each piece."""
    if quiet:
        yield lambda done, total: None
    elif sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        yield _lines()


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
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

        def report(done: int, total: int) -> None:
            progress.update(task, total=max(total, 1), completed=done if total else 1)

        yield report


def _lines() -> Callable[[int, int], None]:
    """A line for every tenth of the work, unless a single piece is all of it."""
    shown = -1
    began = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal shown
        if done in (0, total) and shown < 0:
            return
        tenth = 10 * done // max(total, 1)
        if tenth > shown:
            shown = tenth
            seconds = time.monotonic() - began
            sys.stderr.write(f"npool: {10 * tenth}% pooled after {seconds:.0f} s\n")
            sys.stderr.flush()

    return report
