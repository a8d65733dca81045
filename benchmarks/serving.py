"""``python -m benchmarks.serving``: what `accelerate` takes over, and whether that is faster.

For tensors of many shapes, in both memory formats, each of torch's operators that npool serves is
called with and without: by turns, the fastest of nine, after the same preparations. A ratio below
1 is a call that had better be left to torch: the table `npool.torch.serving.WORTH` is wrong there.
It holds for numbers of threads that this was run with: 1 and 2.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

import npool
from npool.torch import accelerate

__all__ = ["calls", "measure", "served"]

aten = torch.ops.aten
SHAPES = (
    (1, 16, 32, 32), (1, 64, 56, 56), (8, 64, 28, 28), (8, 256, 14, 14), (16, 512, 7, 7),
    (4, 64, 112, 112), (32, 3, 224, 224), (8, 1024, 14, 14), (2, 16, 32, 32, 32),
    (1, 64, 16, 16, 16),
)  # fmt: skip
WINDOWS = ((2, 2, 0), (3, 2, 1), (3, 1, 1), (5, 1, 2))
LAST = {4: torch.channels_last, 5: torch.channels_last_3d}

Call = Callable[[], Any]


def calls(x: torch.Tensor) -> Iterator[tuple[str, str, Call]]:
    """``(operator, window or size, call)`` of all that there is on `x`."""
    n = x.ndim - 2
    for k, s, p in WINDOWS:
        if min(x.shape[2:]) < k:
            continue
        window = ([k] * n, [s] * n, [p] * n)
        pooled = getattr(aten, f"max_pool{n}d_with_indices").default
        values, places = pooled(x, *window)
        grad = torch.rand_like(values)
        found: dict[str, tuple[Any, ...]] = {
            f"max_pool{n}d": (x, *window),
            f"max_pool{n}d_with_indices": (x, *window),
            f"max_pool{n}d_with_indices_backward": (grad, x, *window, [1] * n, False, places),
            f"avg_pool{n}d": (x, *window),
            f"avg_pool{n}d_backward": (grad, x, *window, False, True, None),
        }
        for name, arguments in found.items():
            yield name, f"{k}/{s}", _call(name, arguments)
    for size in (1, 2, 7):
        sizes = [size] * n
        values, places = getattr(aten, f"adaptive_max_pool{n}d").default(x, sizes)
        grad = torch.rand_like(values)
        found = {
            f"_adaptive_avg_pool{n}d": (x, sizes),
            f"_adaptive_avg_pool{n}d_backward": (grad, x),
            f"adaptive_max_pool{n}d": (x, sizes),
            f"adaptive_max_pool{n}d_backward": (grad, x, places),
        }
        for name, arguments in found.items():
            yield name, f"to {size}", _call(name, arguments)


def _call(name: str, arguments: tuple[Any, ...]) -> Call:
    operator = getattr(aten, name).default
    return lambda: operator(*arguments)


def served(name: str, call: Call) -> bool:
    """Whether npool runs a call of the operator itself."""
    with accelerate(report=True) as report:
        call()
    return any(one.operator == name and not one.reason for one in report.calls)


def measure(call: Call, rounds: int = 9) -> tuple[float, float]:
    """Seconds with torch's own kernel, and with `accelerate`."""
    times: tuple[list[float], list[float]] = ([], [])
    call()
    start = time.perf_counter()
    call()
    repeats = int(min(200, max(1, 5e-4 / (time.perf_counter() - start))))
    for turn in range(rounds):
        for accelerated in ((False, True), (True, False))[turn % 2]:
            handle = accelerate()
            if not accelerated:
                handle.undo()
            call()
            start = time.perf_counter()
            for _ in range(repeats):
                call()
            times[accelerated].append((time.perf_counter() - start) / repeats)
            handle.undo()
    return min(times[0]), min(times[1])


def main(
    threads: Annotated[int, typer.Option(help="Threads of torch and of npool.")] = 1,
    least: Annotated[int, typer.Option(help="How many of the least ratios to show.")] = 20,
) -> None:
    """Time what is served, and show where that gains least; tiny calls, too."""
    torch.set_num_threads(threads)
    npool.set_num_threads(threads)
    console = Console(width=120)
    found, left = [], 0
    for shape in SHAPES:
        for last in (False, True):
            x = torch.rand(shape)
            if last:
                x = x.contiguous(memory_format=LAST[x.ndim])
            for name, words, call in calls(x):
                if not served(name, call):
                    left += 1
                    continue
                before, after = measure(call)
                form = "channels last" if last else "contiguous"
                found.append((before / after, name, words, shape, form, before, after))
    found.sort()
    table = Table(title=f"Calls that accelerate() takes over, {threads} thread(s)")
    for heading in ("operator", "window", "shape", "memory", "torch us", "npool us", "faster by"):
        table.add_column(heading, no_wrap=True)
    for ratio, name, words, shape, form, before, after in found[:least]:
        table.add_row(
            name, words, "x".join(map(str, shape)), form, f"{before * 1e6:.1f}",
            f"{after * 1e6:.1f}", f"{ratio:.2f}x",
        )  # fmt: skip
    console.print(table)
    slower = sum(ratio < 1 for ratio, *_ in found)
    console.print(f"{len(found)} calls served, {slower} of them slower; {left} left to torch")
    for shape in ((1, 3, 8, 8), (1, 3, 16, 16), (1, 3, 32, 32)):
        x = torch.rand(shape)
        for name in ("max_pool2d", "avg_pool2d"):
            before, after = measure(_call(name, (x, [2, 2])))
            size = "x".join(map(str, shape))
            console.print(f"{name} of {size}: {before * 1e6:.1f} us, {after * 1e6:.1f} with npool")


if __name__ == "__main__":
    typer.run(main)
