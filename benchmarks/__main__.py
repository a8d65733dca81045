"""``python -m benchmarks``: the board. ``--check`` compares every answer with the oracle.

``--training`` times forward and backward against torch instead (`benchmarks.training`). Whole
models are timed by ``python -m benchmarks.models``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from benchmarks.measure import Row, check, measure
from benchmarks.peers import installed
from benchmarks.report import machine, plot, table, write_csv
from benchmarks.workloads import WORKLOADS


def _models_differ(console: Console) -> int:
    """How many models compute otherwise with npool under torch's operators; 0 without torch."""
    if find_spec("torch") is None:
        console.print("torch is not installed: no models compared")
        return 0
    from benchmarks.models import MODELS, check

    faults = {model.name: fault for model in MODELS if (fault := check(model))}
    for name, fault in faults.items():
        console.print(f"{name}: {fault}")
    console.print(f"{len(MODELS)} models compared with and without npool")
    return len(faults)


def _gradients_differ(console: Console) -> int:
    """How many gradients differ from torch's; 0 without torch."""
    if find_spec("torch") is None:
        return 0
    from benchmarks.training import faults

    return faults(console)


def main(
    rows: Annotated[str, typer.Option(help="Only workloads whose name contains this.")] = "",
    threads: Annotated[list[int] | None, typer.Option(help="Numbers of threads.")] = None,
    rounds: Annotated[int, typer.Option(help="Times each implementation is timed.")] = 11,
    checking: Annotated[
        bool, typer.Option("--check", help="Small arrays, against the oracle; no times.")
    ] = False,
    training: Annotated[
        bool, typer.Option("--training", help="Forward and backward, against torch.")
    ] = False,
    csv: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("bench.csv"),
    png: Annotated[Path, typer.Option(help="Where the plot goes.")] = Path("bench.png"),
) -> None:
    """Time npool and its peers on one table of workloads, interleaved; medians."""
    console = Console()
    if training and not checking:
        from benchmarks.training import report

        report(console, rows, threads or [1], rounds, csv)
        return
    chosen = [w for w in WORKLOADS if rows in w.name]
    if not chosen:
        raise typer.BadParameter(f"no workload's name contains {rows!r}")
    peers = installed()
    if checking:
        faults = 0
        compared = 0
        for w in chosen:
            for name, fault in check(w, peers):
                compared += 1
                if fault:
                    console.print(f"{w.name}: {name} {fault}")
                    faults += name == "npool"
        console.print(f"{compared} answers compared with the oracle on {len(chosen)} workloads")
        faults += _models_differ(console) + _gradients_differ(console)
        raise typer.Exit(1 if faults else 0)
    console.print(f"{machine()}; " + ", ".join(f"{p.name} {p.version}" for p in peers))
    measured: list[Row] = []
    with Progress(console=console) as progress:
        counts = threads or [1]
        task = progress.add_task("board", total=len(chosen) * len(counts))
        for count in counts:
            for w in chosen:
                progress.update(task, description=f"{w.name}, {count} thread(s)")
                measured.append(measure(w, peers, count, rounds))
                progress.advance(task)
    console.print(table(measured, "npool's board"))
    write_csv(measured, peers, csv)
    plot(measured, png)
    console.print(f"figures in {csv}, plot in {png}")


if __name__ == "__main__":
    typer.run(main)
