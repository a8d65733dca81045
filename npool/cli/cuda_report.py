"""`npool cuda-report`: the GPU kernels of a call, as the hardware would be given them."""

from __future__ import annotations

import json
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import npool
from npool.cli.npy import element_dtype
from npool.cli.operation import find_reducer, refuse_in_words
from npool.cli.refusal import Refusal, one_line
from npool.cli.sizes import parse_axes, parse_padding, parse_sizes

__all__ = ["cuda_report"]

_NOTE = (
    "From the machine code that ptxas makes, for windows inside the input. No GPU was asked: the "
    "bound is an estimate (memory where a byte costs at most 4 instructions)."
)


def cuda_report(
    shape: Annotated[
        str, typer.Option("--shape", metavar="SIZE", help="Of the array, as in 32x64x112x112.")
    ],
    kernel_size: Annotated[
        str,
        typer.Option("--kernel-size", "-k", metavar="SIZE", help="Window, as for npool pool."),
    ],
    dtype: Annotated[
        str, typer.Option("--dtype", metavar="TYPE", help="Of the array's elements.")
    ] = "float32",
    reduce: Annotated[
        str,
        typer.Option(
            "--reduce", "-r", metavar="NAME",
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
        str, typer.Option("--padding", "-p", metavar="SIZE", help="As for npool pool.")
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
    norm_type: Annotated[
        float | None, typer.Option("--norm-type", metavar="P", help="The p of lp (default 2).")
    ] = None,
    indices: Annotated[
        bool, typer.Option("--indices", help="Positions as well, of max and min.")
    ] = False,
    arch: Annotated[
        list[str] | None,
        typer.Option(
            "--arch", metavar="NAME", help="sm_80, sm_90 or sm_100; again for more. Default: all.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The table as JSON.")] = False,
) -> None:  # fmt: skip
    """Show the CUDA kernels of a pooling call: registers, spills, loads, instructions a byte.

    Needs the packages of the cuda extra, but no GPU and no driver.
    """
    try:
        from npool.cuda import report
    except ImportError as error:
        raise Refusal(one_line(error)) from error
    sizes = parse_sizes(shape, "--shape")
    lengths = (sizes,) if isinstance(sizes, int) else sizes
    architectures = [_architecture(name) for name in arch or ()] or list(report.ARCHITECTURES)
    window = parse_sizes(kernel_size, "--kernel-size")
    named = None if axes is None else parse_axes(axes)
    if isinstance(window, int) and named is None and len(lengths) == 1:
        window = (window,)
    try:
        found = refuse_in_words(
            lambda: report.report(
                lengths,
                np.dtype(element_dtype(dtype, "--dtype")),
                window,
                None if stride is None else parse_sizes(stride, "--stride"),
                parse_padding(padding),
                parse_sizes(dilation, "--dilation"),
                ceil_mode,
                axes=named,
                reduce=find_reducer(reduce, norm_type),
                return_indices=indices,
                architectures=architectures,
            )
        )
    except FileNotFoundError as error:
        raise Refusal(one_line(error)) from error
    if as_json:
        typer.echo(json.dumps({"note": _NOTE, "kernels": report.as_dicts(found)}, indent=1))
        return
    _show(found)


def _architecture(name: str) -> tuple[int, int]:
    known = {"sm_80": (8, 0), "sm_90": (9, 0), "sm_100": (10, 0)}
    if name not in known:
        raise Refusal(f"--arch {name!r} is not known: choose from {', '.join(known)}")
    return known[name]


def _show(found: list[Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("kernel", "for", "registers", "spills", "float64", "loads", "instructions",
                    "bytes", "a byte", "bound"):  # fmt: skip
        numeric = heading not in ("kernel", "for", "loads", "bound")
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=True)
    for row in found:
        loads = " ".join(f"{count}×{8 * size}" for size, count in row.loads.items())
        table.add_row(
            row.kernel, row.architecture, str(row.registers), str(row.spills), str(row.double),
            loads or "-", "-" if row.instructions is None else f"{row.instructions:.1f}",
            f"{row.bytes:.1f}", "-" if row.per_byte is None else f"{row.per_byte:.2f}", row.bound,
        )  # fmt: skip
    console = Console(highlight=False, width=140)
    console.print(table)
    console.print("Instructions and bytes are those of a result; loads are bits wide.")
    console.print(_NOTE, soft_wrap=True)
