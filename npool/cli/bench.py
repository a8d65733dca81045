"""`npool bench`: one call on your own shape, timed beside a copy and whatever else is installed."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import prod
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import npool
from npool.cli.bench_peers import PEERS, Job, Peer, Ready, Unable
from npool.cli.info import processor, version_of
from npool.cli.npy import element_dtype
from npool.cli.operation import Operation, find_reducer, refuse_in_words
from npool.cli.progress import counted
from npool.cli.refusal import Refusal, one_line
from npool.cli.sizes import parse_axes, parse_padding, parse_sizes

__all__ = ["Entry", "bench", "measure"]

#: Seconds for all rounds together; for one peer; and past which one that is far behind is not
#: asked again.
ALL_ROUNDS, ONE_PEER, ONCE = 20.0, 3.0, 0.25
#: A call shorter than this many seconds is repeated until it has taken as long.
SHORTEST = 5e-4
#: Seconds between one and the next: threads of a pool wait for more work with the CPU in hand.
REST = 0.005
#: How far an answer may be off, by itemsize of the result.
TOLERANCE = {1: 0.0, 2: 0.02, 4: 2e-4, 8: 1e-6, 16: 1e-6}


@dataclass
class Entry:
    """A line of the table: seconds of each round, or why there are none."""

    name: str
    call: Callable[[], Any] | None = None
    fault: str = ""
    seconds: list[float] = field(default_factory=list)


def bench(
    shape: Annotated[
        str, typer.Option("--shape", metavar="SIZE", help="Of the input, as in 4x96x192x192.")
    ],
    kernel_size: Annotated[
        str,
        typer.Option(
            "--kernel-size",
            "-k",
            metavar="SIZE",
            help="Window: 2x2 pools the last two axes, 3x the last one, 3 every axis of --axes.",
        ),
    ],
    reduce: Annotated[
        str,
        typer.Option(
            "--reduce",
            "-r",
            metavar="NAME",
            help=f"What a window becomes: {', '.join(npool.REDUCERS)}.",
        ),
    ] = "max",
    stride: Annotated[
        str | None,
        typer.Option(
            "--stride", "-s", metavar="SIZE", help="Steps between windows. Default: the window."
        ),
    ] = None,
    padding: Annotated[
        str,
        typer.Option(
            "--padding",
            "-p",
            metavar="SIZE",
            help="1, 1x2, 0:1x2:3 (before:after), valid, same or same_lower.",
        ),
    ] = "0",
    dilation: Annotated[
        str, typer.Option("--dilation", "-d", metavar="SIZE", help="Steps between a window's taps.")
    ] = "1",
    ceil_mode: Annotated[
        bool, typer.Option("--ceil-mode", help="Keep the last, clipped window.")
    ] = False,
    axes: Annotated[
        str | None,
        typer.Option("--axes", "-a", metavar="LIST", help="Axes to pool, as in 0,1 or -2,-1."),
    ] = None,
    dtype: Annotated[
        str, typer.Option("--dtype", metavar="TYPE", help="Element type of the input.")
    ] = "float32",
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", help="Threads for those that have them.")
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", min=1, help="Times each is timed; some seconds.")
    ] = 11,
) -> None:
    """Time a pooling call of your own beside a copy, NumPy, and what else is installed.

    Answers are compared with npool's before anything is timed; one that
    differs gets no time. Everybody is timed once a round, in turn, and
    the median is shown; whoever is slow is asked once.
    """
    lengths = parse_sizes(shape, "--shape")
    lengths = (lengths,) if isinstance(lengths, int) else lengths
    find_reducer(reduce, None)
    wanted = Operation(
        reducer=npool.REDUCERS[reduce],
        kernel_size=parse_sizes(kernel_size, "--kernel-size"),
        stride=None if stride is None else parse_sizes(stride, "--stride"),
        padding=parse_padding(padding),
        dilation=parse_sizes(dilation, "--dilation"),
        ceil_mode=ceil_mode,
        axes=None if axes is None else parse_axes(axes),
        options={},
    )
    kind = element_dtype(dtype, "--dtype")
    plan = wanted.plan(lengths)
    if 0 in (*plan.shape, *plan.out_shape):
        raise Refusal(f"--shape {shape} leaves nothing to compute: use lengths of 1 or more")
    result = wanted.sample(kind, False).dtype  # refuses what the reducer does of such a type
    _check_memory(shape, plan.shape, plan.out_shape, kind, result)
    number = npool.get_num_threads() if threads is None else threads
    with contextlib.ExitStack() as stack:
        refuse_in_words(lambda: stack.enter_context(npool.num_threads(number)))
        x = refuse_in_words(lambda: _random(lengths, kind))
        job = Job(x, plan, reduce, ceil_mode, number)
        try:
            entries = measure(job, rounds)
        except KeyboardInterrupt:
            sys.stderr.write("npool: interrupted\n")
            raise typer.Exit(130) from None
    _show(job, entries, x.nbytes, prod(plan.out_shape) * result.itemsize)


def measure(job: Job, rounds: int) -> list[Entry]:
    """The times of a copy, of npool and of every peer, or why it has none."""
    x, windows = job.x, job.plan.windows
    ours = partial(
        npool.pool, x, job.each("kernel"), job.each("stride"),
        tuple((w.before, w.after) for w in windows), job.each("dilation"), job.ceil_mode,
        axes=job.plan.axes, reduce=job.reduce,
    )  # fmt: skip
    target = np.empty_like(x)
    entries = [
        Entry("npool " + npool.__version__, ours),
        Entry("copy of the input", partial(np.copyto, target, x)),
    ]
    total = len(PEERS) + rounds
    with counted() as progress:
        progress(0, total, "npool")
        expected = refuse_in_words(ours)
        pace = _timed(ours)
        for done, peer in enumerate(PEERS):
            progress(done, total, f"comparing: {peer.name}")
            entries.append(_compared(peer, job, expected, pace))
        ended = time.perf_counter() + ALL_ROUNDS
        asked = [entry for entry in entries if entry.call is not None]
        for turn in range(rounds):
            progress(len(PEERS) + turn, total, f"round {turn + 1} of {rounds}")
            for entry in list(asked):
                assert entry.call is not None
                time.sleep(REST)
                entry.seconds.append(_timed(entry.call))
                behind = entry.seconds[-1] > max(ONCE, 20 * pace)
                if entry.call is not ours and (behind or sum(entry.seconds) > ONE_PEER):
                    asked.remove(entry)
            if time.perf_counter() > ended:
                break
        progress(total, total, "done")
    return entries


def _compared(peer: Peer, job: Job, expected: np.ndarray, pace: float) -> Entry:
    """A peer whose answer has been compared: to be timed, timed already, or why not."""
    absent = peer.missing()
    if absent is not None:
        return Entry(peer.name, fault=f"{absent} is not installed")
    name = f"{peer.name} {version_of(*peer.packages) or ''}".strip()
    try:
        ready: Ready = peer.prepare(job)
        began = time.perf_counter()
        answer = ready.call()
        took = time.perf_counter() - began
        fault = _difference(ready.array(answer), expected)
    except Unable as error:
        return Entry(name, fault=str(error))
    except Exception as error:  # a peer says in its own way what it does not take
        text = one_line(error)
        return Entry(name, fault=f"refuses: {text if len(text) <= 60 else text[:59] + '…'}")
    if fault:
        return Entry(name, fault=fault)
    if took > max(1.0, 20 * pace):  # whoever is that slow was asked once, and this was it
        return Entry(name, seconds=[took])
    return Entry(name, ready.call)


def _difference(found: np.ndarray, expected: np.ndarray) -> str:
    """What is different in an answer, or nothing."""
    if found.shape != expected.shape:
        return f"differs: shape {found.shape}, npool's {expected.shape}"
    slack = TOLERANCE[min(found.dtype.itemsize, expected.dtype.itemsize)]
    wide: Any = np.complex128 if expected.dtype.kind == "c" else np.float64
    a, b = found.astype(wide), expected.astype(wide)
    if np.allclose(a, b, rtol=slack, atol=slack, equal_nan=True):
        return ""
    return f"differs by up to {np.nanmax(np.abs(a - b)):.3g}"


def _timed(call: Callable[[], Any]) -> float:
    """Seconds of one call; short calls are repeated to take half a millisecond."""
    began = time.perf_counter()
    call()
    took = time.perf_counter() - began
    if took > SHORTEST:
        return took
    repeats = int(SHORTEST / max(took, 1e-7)) + 1
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - began) / repeats


def _random(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Random elements, no NaN, the same every time."""
    draw = np.random.default_rng(0)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        low, high = max(int(info.min), -1000), min(int(info.max), 1000)
        return draw.integers(low, high, shape, dtype.newbyteorder("="), endpoint=True).astype(dtype)
    if dtype.kind == "b":
        return draw.integers(0, 2, shape, np.uint8).astype(bool)
    x = draw.random(shape, np.float32)
    return x if x.dtype == dtype else x.astype(dtype)


def _check_memory(
    text: str, shape: tuple[int, ...], out: tuple[int, ...], dtype: np.dtype[Any],
    result: np.dtype[Any],
) -> None:  # fmt: skip
    """Refuse a shape that this machine cannot hold: an array, its copy, and answers compared."""
    needed = 2 * prod(shape) * max(4, dtype.itemsize) + prod(out) * (3 * result.itemsize + 32)
    try:
        held = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return
    if needed > held // 2:
        raise Refusal(
            f"--shape {text} takes about {needed / 2**30:.1f} GiB with its copy and the answers, "
            f"more than half of this machine's {held / 2**30:.1f} GiB: use a smaller shape"
        )


def _show(job: Job, entries: list[Entry], bytes_in: int, bytes_out: int) -> None:
    """Print the table: milliseconds, times npool's, and the share of a copy's bandwidth."""
    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe or a log has no width of its own
        console = Console(highlight=False, width=120)
    ours, copy = (median(entry.seconds) for entry in entries[:2])
    sizes = ["×".join(map(str, sizes)) for sizes in (job.x.shape, job.each("kernel"))]
    title = (
        f"{job.reduce} {sizes[1]} of {sizes[0]} {job.dtype}, {job.threads} thread(s), "
        f"{escape(processor())}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in ("ms", "times npool's", "of a copy's bandwidth", "rounds"):
        table.add_column(heading, justify="right")
    table.add_column("answer")
    for entry in entries:
        if not entry.seconds:
            table.add_row(escape(entry.name), "–", "–", "–", "–", f"[dim]{escape(entry.fault)}[/]")
            continue
        took = median(entry.seconds)
        moved = 2 * bytes_in if entry is entries[1] else bytes_in + bytes_out
        share = copy * moved / (2 * bytes_in) / took
        answer = "" if entry in entries[:2] else "[green]✓ the same[/]"
        table.add_row(
            escape(entry.name), f"{1e3 * took:.3f}", f"{took / ours:.2f}×", f"{share:.0%}",
            str(len(entry.seconds)), answer,
        )  # fmt: skip
    console.print(table)
    console.print(
        "Medians. Everybody is given the array as it is, and what can be made ready before is not "
        "timed. NumPy, scipy and the copy have one thread. OpenCV and scipy filter at every "
        "element and are sampled where windows are further apart; OpenCV takes a plane at a time.",
        style="dim",
    )
