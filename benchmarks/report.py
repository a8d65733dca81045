"""The board as a table, a CSV file and a plot."""

from __future__ import annotations

import csv
import math
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from benchmarks.measure import Row
from benchmarks.peers import Peer

__all__ = ["geometric_mean", "machine", "plot", "table", "write_csv"]


def machine() -> str:
    """The processor's name and how many of it."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{name}, {os.cpu_count()} CPUs"


def geometric_mean(ratios: Sequence[float]) -> float:
    """NaN for none."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan


def _times(ratio: float | None) -> str:
    if ratio is None:
        return "–"
    colour = "green" if ratio >= 1.1 else "yellow" if ratio >= 1 else "red"
    return f"[{colour}]{ratio:.2f}×[/]"


def table(rows: Sequence[Row], title: str) -> Table:
    """What a terminal shows."""
    shown = Table(title=title)
    for heading in ("workload", "thr.", "copy ms", "npool ms", "roofline", "best peer", "its ms",
                    "vs best", "vs torch"):  # fmt: skip
        shown.add_column(
            heading, justify="left" if heading in ("workload", "best peer") else "right"
        )
    for row in rows:
        best = row.best_peer
        shown.add_row(
            row.workload.name, str(row.threads), f"{row.copy * 1e3:.3f}",
            f"{row.seconds['npool'] * 1e3:.3f}", f"{row.roofline:.0%}", best or "–",
            f"{row.seconds[best] * 1e3:.3f}" if best else "–", _times(row.ratio(best)),
            _times(row.ratio("torch")),
        )  # fmt: skip
    best = [r for r in (row.ratio(row.best_peer) for row in rows) if r]
    torch = [r for r in (row.ratio("torch") for row in rows) if r]
    shown.caption = (
        f"geometric mean: {geometric_mean(best):.2f}× the best peer, "
        f"{geometric_mean(torch):.2f}× torch given the same array"
    )
    return shown


def write_csv(rows: Sequence[Row], peers: Sequence[Peer], path: Path) -> None:
    """One line a row: seconds by implementation, and the faults of those left out."""
    names = [peer.name for peer in peers]
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["machine", machine()])
        out.writerow(["versions", *(f"{peer.name} {peer.version}" for peer in peers)])
        out.writerow(["workload", "threads", "bytes_in", "bytes_out", "copy", *names, "left out"])
        for row in rows:
            out.writerow(
                [row.workload.name, row.threads, row.bytes_in, row.bytes_out, f"{row.copy:.3e}"]
                + [f"{row.seconds[n]:.3e}" if n in row.seconds else "" for n in names]
                + ["; ".join(f"{name}: {fault}" for name, fault in row.wrong.items())]
            )


def plot(rows: Sequence[Row], path: Path) -> None:
    """Bars: how many times npool's speed is the best peer's and torch's."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    height = 1.5 + 0.28 * len(rows)
    figure, axis = plt.subplots(figsize=(9, height), layout="constrained")
    labels = [f"{row.workload.name} ({row.threads})" for row in rows]
    places = range(len(rows))
    for shift, width, peer, colour in (
        (0.2, 0.4, "best", "#3b6ea5"),
        (-0.2, 0.4, "torch", "#d08a3c"),
    ):
        ratios = [
            row.ratio(row.best_peer if peer == "best" else "torch") or math.nan for row in rows
        ]
        axis.barh(
            [p + shift for p in places], ratios, width, color=colour,
            label="best peer" if peer == "best" else "torch, same array",
        )  # fmt: skip
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_xscale("log")
    axis.set_yticks(list(places), labels, fontsize=7)
    axis.invert_yaxis()
    axis.set_xlabel("times the speed of the peer (threads in brackets)")
    axis.set_title(machine(), fontsize=9)
    axis.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
