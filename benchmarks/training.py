"""Forward and backward together: npool.torch against torch on the same tensor, through autograd.

``python -m benchmarks.training``, or ``python -m benchmarks --training``. The rows are those of
the shared table (`benchmarks.workloads`) that torch pools with a gradient, and bins, which that
table lacks; rows of images and volumes also with channels last in memory. Results and gradients
are compared with torch's before anything is timed; both are timed by turns.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

import npool
import npool.torch
from benchmarks.measure import timed
from benchmarks.peers import torch_call, torch_tensor
from benchmarks.report import geometric_mean, machine
from benchmarks.workloads import WORKLOADS, Workload

__all__ = ["PROBLEMS", "Problem", "Row", "check", "measure", "report"]

#: Taps of all windows past which the rows of a workload are cut: torch reads one in a nanosecond.
MOST_TAPS = 1 << 32
LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
#: Relative tolerance of results and gradients; torch adds in the half types themselves.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4, torch.float16: 2e-2, torch.bfloat16: 6e-2}


@dataclass(frozen=True)
class Problem:
    """One row: a tensor, and a call that pools it by functions under torch's names."""

    name: str
    tensor: Callable[[], torch.Tensor]
    pool: Callable[[Any, torch.Tensor], torch.Tensor]
    last: bool = False

    def input(self) -> torch.Tensor:
        """The tensor, whose gradient is asked for."""
        x = self.tensor()
        if self.last:
            x = x.contiguous(memory_format=LAST[x.ndim])
        return x.requires_grad_()

    def steps(self, functions: Any, x: torch.Tensor, grad: torch.Tensor) -> Any:
        """The result, and the gradient of the tensor given that of the result."""
        y = self.pool(functions, x)
        return y, torch.autograd.grad(y, x, grad)[0]


def memory_of(x: torch.Tensor) -> str:
    """How a tensor lies in memory, in words."""
    if x.is_contiguous():
        return "contiguous"
    form = LAST.get(x.ndim)
    return "channels last" if form and x.is_contiguous(memory_format=form) else "other"


def _differentiable(w: Workload) -> bool:
    """Whether torch pools like this with a gradient, and no other row has the same."""
    return w.dtype in ("float16", "bfloat16", "float32", "float64") and not w.indices


def _of(w: Workload, last: bool = False) -> Problem | None:
    """A row of the shared table; None where torch has no such call, or the tensor no such form."""
    if not _differentiable(w):
        return None
    # The form of the call and of the tensor does not depend on how long axes are.
    x = torch_tensor(w, w.small().array())
    if x is None or torch_call(w, x) is None:
        return None
    rank = len(w.kernel)
    if last and (rank == 1 or not x.is_contiguous() or x.shape[-rank - 1] == 1):
        return None

    def tensor() -> torch.Tensor:
        made: torch.Tensor = torch_tensor(w, w.array())
        return made[None] if last and made.ndim == rank + 1 else made

    def pool(functions: Any, x: torch.Tensor) -> torch.Tensor:
        call = torch_call(w, x, functions)
        assert call is not None
        made: torch.Tensor = call()
        return made

    return Problem(w.name, tensor, pool, last)


def _cut(w: Workload) -> Workload:
    """A workload that torch can follow: rows shorter until it has few enough taps."""
    while math.prod(w.shape) // math.prod(w.stride) * math.prod(w.kernel) > MOST_TAPS:
        w = replace(w, shape=(*w.shape[:-1], w.shape[-1] // 2))
    return w


@dataclass(frozen=True)
class Bins:
    """A row that the shared table lacks: adaptive pooling to a size."""

    reduce: str
    shape: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def name(self) -> str:
        """Such as ``adaptive avg 56x56 to 7x7``."""
        rank = len(self.size)
        lengths = "x".join(map(str, self.shape[-rank:]))
        return f"adaptive {self.reduce} {lengths} to {'x'.join(map(str, self.size))}"

    def problem(self, last: bool = False) -> Problem:
        """As a row."""
        function = f"adaptive_{self.reduce}_pool{len(self.size)}d"

        def tensor() -> torch.Tensor:
            torch.manual_seed(0)
            return torch.rand(self.shape)

        return Problem(
            self.name, tensor, lambda functions, x: getattr(functions, function)(x, self.size), last
        )

    def small(self) -> Bins:
        """The same of fewer planes, and of short axes."""
        rank = len(self.size)
        size = tuple(min(n, 7) for n in self.size)
        lengths = tuple(min(n, 29) for n in self.shape[-rank:])
        return replace(self, shape=(2, 3, *lengths), size=size)


BINS = (
    Bins("avg", (32, 2048, 7, 7), (1, 1)),
    Bins("avg", (32, 2048, 7, 7), (2, 2)),
    Bins("max", (32, 2048, 7, 7), (2, 2)),
    Bins("avg", (8, 256, 56, 56), (7, 7)),
    Bins("max", (8, 256, 56, 56), (7, 7)),
    Bins("avg", (8, 128, 60, 60), (7, 7)),
    Bins("max", (8, 128, 60, 60), (7, 7)),
    Bins("avg", (16, 64, 16384), (50,)),
    Bins("max", (16, 64, 16384), (50,)),
    Bins("avg", (2, 32, 32, 32, 32), (5, 5, 5)),
    Bins("max", (2, 32, 32, 32, 32), (5, 5, 5)),
)


def _problems(small: bool = False) -> Iterator[Problem]:
    for w in WORKLOADS:
        for last in (False, True):
            if found := _of(w.small() if small else _cut(w), last):
                yield found
    for bins in BINS:
        for last in (False, True)[: 1 if len(bins.size) == 1 else 2]:
            yield (bins.small() if small else bins).problem(last)


PROBLEMS: tuple[Problem, ...] = tuple(_problems())


@dataclass
class Row:
    """What was measured of a problem: seconds of a forward and backward call."""

    problem: Problem
    memory: str
    threads: int
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """How many times npool's speed is torch's."""
        return self.seconds["torch"] / self.seconds["npool"]


FUNCTIONS = {"npool": npool.torch.functional, "torch": torch.nn.functional}


def _fault(problem: Problem, x: torch.Tensor, grad: torch.Tensor) -> str:
    """What differs from torch's result and gradient, or an empty string."""
    got, want = (problem.steps(functions, x, grad) for functions in FUNCTIONS.values())
    for name, one, other in zip(("the result", "the gradient"), got, want, strict=True):
        tolerance = TOLERANCE[x.dtype]
        if one.dtype != other.dtype or one.shape != other.shape:
            return f"{name} is {one.dtype} of {one.shape}, not {other.dtype} of {other.shape}"
        slack = tolerance * float(other.detach().abs().max())
        if not torch.allclose(one, other, rtol=tolerance, atol=slack):
            return f"{name} is off by {float((one - other).detach().abs().max()):.3g}"
    return ""


def _gradient(problem: Problem, x: torch.Tensor) -> torch.Tensor:
    y = problem.pool(npool.torch.functional, x)
    return torch.rand_like(y, dtype=torch.float32).to(y.dtype)


def check() -> Iterator[tuple[str, str]]:
    """``(name, fault)`` of every problem, made small."""
    for problem in _problems(small=True):
        x = problem.input()
        yield f"{problem.name}, {memory_of(x)}", _fault(problem, x, _gradient(problem, x))


def measure(problem: Problem, threads: int, rounds: int, budget: float = 10.0) -> Row:
    """Time npool and torch by turns; torch no longer once it has taken a quarter of `budget`."""
    torch.set_num_threads(threads)
    npool.set_num_threads(threads)
    x = problem.input()
    grad = _gradient(problem, x)
    if fault := _fault(problem, x, grad):
        raise AssertionError(f"{problem.name}, {memory_of(x)}: {fault}")
    times: dict[str, list[float]] = {name: [] for name in FUNCTIONS}
    for turn in range(rounds):
        # Whoever comes second finds the tensor in the caches: each is second as often.
        for name, functions in list(FUNCTIONS.items())[:: -1 if turn % 2 else 1]:
            if name == "npool" or sum(times[name]) < budget / 4:
                times[name].append(timed(lambda: problem.steps(functions, x, grad)))  # noqa: B023
    seconds = {name: median(each) for name, each in times.items()}
    return Row(problem, memory_of(x), threads, seconds)


def table(rows: Sequence[Row]) -> Table:
    """What a terminal shows."""
    shown = Table(title="Forward and backward, against torch on the same tensor")
    for heading in ("workload", "memory", "thr.", "torch ms", "npool ms", "faster by"):
        shown.add_column(heading, justify="left" if heading in ("workload", "memory") else "right")
    for row in rows:
        colour = "green" if row.ratio >= 1.1 else "yellow" if row.ratio >= 1 else "red"
        shown.add_row(
            row.problem.name, row.memory, str(row.threads), f"{row.seconds['torch'] * 1e3:.3f}",
            f"{row.seconds['npool'] * 1e3:.3f}", f"[{colour}]{row.ratio:.2f}×[/]",
        )  # fmt: skip
    means = []
    for memory in dict.fromkeys(row.memory for row in rows):
        ratios = [row.ratio for row in rows if row.memory == memory]
        means.append(f"{memory} {geometric_mean(ratios):.2f}× (least {min(ratios):.2f}×)")
    shown.caption = "geometric means: " + ", ".join(means)
    return shown


def report(
    console: Console, rows: str, threads: Sequence[int], rounds: int, path: Path | None
) -> None:
    """Time the problems whose name contains `rows`; print a table, and write it to `path`."""
    chosen = [problem for problem in PROBLEMS if rows in problem.name]
    if not chosen:
        raise typer.BadParameter(f"no workload's name contains {rows!r}")
    console.print(f"{machine()}, torch {torch.__version__}, npool {npool.__version__}")
    measured = [measure(problem, count, rounds) for count in threads for problem in chosen]
    console.print(table(measured))
    if path is not None:
        with path.open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["machine", machine(), "torch", torch.__version__])
            out.writerow(["workload", "memory", "threads", "torch", "npool"])
            for row in measured:
                seconds = (f"{row.seconds[name]:.3e}" for name in ("torch", "npool"))
                out.writerow([row.problem.name, row.memory, row.threads, *seconds])


def faults(console: Console) -> int:
    """Compare every problem, made small, with torch; print and count what differs."""
    compared = list(check())
    found = [(name, fault) for name, fault in compared if fault]
    for name, fault in found:
        console.print(f"{name}: {fault}")
    console.print(f"{len(compared)} results and gradients compared with torch's")
    return len(found)


def main(
    rows: Annotated[str, typer.Option(help="Only workloads whose name contains this.")] = "",
    threads: Annotated[list[int] | None, typer.Option(help="Numbers of threads.")] = None,
    rounds: Annotated[int, typer.Option(help="Times each is timed.")] = 11,
    checking: Annotated[
        bool, typer.Option("--check", help="Small tensors, compared with torch; no times.")
    ] = False,
    path: Annotated[Path | None, typer.Option("--csv", help="Where the figures go.")] = None,
) -> None:
    """Time forward and backward of npool and of torch, interleaved; medians."""
    console = Console()
    if checking:
        raise typer.Exit(1 if faults(console) else 0)
    report(console, rows, threads or [1], rounds, path)


if __name__ == "__main__":
    typer.run(main)
