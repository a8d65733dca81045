"""`npool conform [NAME…]`: the written rules, held against npool and against its peers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from npool.cli.output import Output, check_place, signals_unwind
from npool.cli.progress import counted
from npool.cli.refusal import Refusal, one_line, reason

if TYPE_CHECKING:
    from npool.testing import ConformanceReport

__all__ = ["conform"]

_STYLES = {"pass": "[green]✓[/]", "deviates": "[bold red]✗[/]", "not applicable": "[dim]·[/]"}
_OURS = "npool"


def conform(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Which to try. Default: npool and every peer that is installed.",
            show_default=False,
        ),
    ] = None,
    max_examples: Annotated[
        int,
        typer.Option("--max-examples", metavar="N", min=1, help="Random problems for each rule."),
    ] = 60,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.")
    ] = None,
    markdown_file: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", help="Write the report as Markdown."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace report files that exist.")
    ] = False,
) -> None:
    """Hold pooling functions to npool's written rules; print a matrix.

    For each deviation the smallest counterexample found is shown.
    Exits with 1 if npool itself deviates.
    """
    places = [
        (path, check_place(path, None, force))
        for path in (json_file, markdown_file)
        if path is not None
    ]
    if len({place for _, place in places}) < len(places):
        raise Refusal(f"--json and --markdown name the same file, {places[0][0]}: name two")
    try:
        from npool import testing
    except ModuleNotFoundError as error:
        raise Refusal(f'npool conform needs {error.name}: pip install "npool[cli]"') from None
    with signals_unwind():
        try:
            with counted() as report_progress:
                report = testing.conform(
                    names or None, max_examples=max_examples, progress=report_progress
                )
        except (ValueError, TypeError) as error:
            if not _mentions(error, names):
                raise
            raise Refusal(one_line(error)) from error
        except KeyboardInterrupt:
            sys.stderr.write("npool: interrupted: nothing was written\n")
            raise typer.Exit(130) from None
        for path, text in ((json_file, report.to_json()), (markdown_file, report.to_markdown())):
            if path is not None:
                _write(path, text, force)
    _show(report)
    if report.deviations(_OURS):
        raise typer.Exit(1)


def _mentions(error: Exception, names: list[str] | None) -> bool:
    """Whether `error` is about a name that was given; any other is a bug, and keeps its trace."""
    return any(name in str(error) for name in names or ())


def _write(path: Path, text: str, force: bool) -> None:
    with Output(check_place(path, None, force), force) as out:
        try:
            out.file.write(text.encode("utf-8"))
            out.publish()
        except OSError as error:
            raise Refusal(f"{path}: nothing was written: {reason(error)}") from error


def _show(report: ConformanceReport) -> None:
    """Print the matrix, what is counted in it, and a counterexample for each deviation."""
    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe or a log has no width of its own
        console = Console(highlight=False, width=120)
    rows: dict[str, dict[str, str]] = {}
    for outcome in report.outcomes:
        rows.setdefault(outcome.rule, {})[outcome.implementation] = outcome.status
    table = Table(title="Rules of the semantics", title_justify="left")
    table.add_column("rule", no_wrap=True)
    for implementation in report.implementations:
        table.add_column(f"{implementation.name}\n{implementation.version}", justify="center")
    for rule, statuses in rows.items():
        table.add_row(rule, *(_STYLES[statuses[i.name]] for i in report.implementations))
    table.add_section()
    counts = [report.counts(i.name) for i in report.implementations]
    table.add_row("passed of tried", *(f"{c['pass']}/{c['pass'] + c['deviates']}" for c in counts))
    console.print(table)
    console.print("✓ keeps the rule   ✗ deviates   · not applicable", style="dim")
    found = [outcome for i in report.implementations for outcome in report.deviations(i.name)]
    for outcome in found:
        if outcome.deviation is None:
            continue
        console.print(
            f"\n[bold]{escape(outcome.implementation)}[/] deviates from "
            f"[bold]{escape(outcome.rule)}[/]: {escape(outcome.deviation.statement)}"
        )
        for label in ("call", "expected", "got"):
            text = escape(str(getattr(outcome.deviation, label)))
            console.print(f"  {label:9}{text}", soft_wrap=True)
