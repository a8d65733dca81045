"""`npool warmup`: fill the cache of compiled kernels, so that later calls wait for no compiler."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from npool import warming
from npool.cli import info
from npool.cli.npy import element_dtype
from npool.cli.operation import find_reducer, refuse_in_words
from npool.cli.progress import counted
from npool.cli.refusal import Refusal

__all__ = ["warmup"]


def warmup(
    dtype: Annotated[
        list[str] | None,
        typer.Option(
            "--dtype",
            metavar="TYPE",
            help="Element type to be pooled; again, or with commas, for more. Default: float32.",
            show_default=False,
        ),
    ] = None,
    reduce: Annotated[
        list[str] | None,
        typer.Option(
            "--reduce",
            "-r",
            metavar="NAME",
            help="What windows become; again, or with commas, for more. Default: max and avg.",
            show_default=False,
        ),
    ] = None,
    indices: Annotated[
        bool, typer.Option("--indices", help="Also what finds max's and min's positions.")
    ] = False,
    gradients: Annotated[
        bool, typer.Option("--gradients", help="Also gradients, of those that have them.")
    ] = False,
) -> None:
    """Compile all that pooling needs into the kernel cache, and say where it is.

    Later processes of this user load it from there and compile nothing.
    What is in the cache already is only checked.
    """
    types = [element_dtype(name, "--dtype") for name in _names(dtype, ("float32",), "--dtype")]
    reducers = [find_reducer(name, None) for name in _names(reduce, ("max", "avg"), "--reduce")]
    planned = refuse_in_words(lambda: warming.steps(types, (1, 2, 3), reducers, indices, gradients))
    _check_cache()
    ready, compiled = warming.kernels()
    began = time.perf_counter()
    with counted() as progress:
        try:
            for done, step in enumerate(planned):
                progress(done, len(planned), step.label)
                step.run()
        except KeyboardInterrupt:
            sys.stderr.write("npool: interrupted: what was compiled until now is in the cache\n")
            raise typer.Exit(130) from None
        progress(len(planned), len(planned), "done")
    seconds = time.perf_counter() - began
    now_ready, now_compiled = warming.kernels()
    ready, compiled = now_ready - ready, now_compiled - compiled
    console = Console(highlight=False)
    console.print(
        f"{ready} kernels ready after {seconds:.1f} s: {compiled} compiled, {ready - compiled} "
        "found in the cache",
        soft_wrap=True,
    )
    console.print(f"kernel cache: {escape(info.cache())}", soft_wrap=True)


def _names(given: list[str] | None, default: tuple[str, ...], option: str) -> list[str]:
    """The names in options that may be repeated or hold several, each once."""
    names = [name.strip() for text in given or default for name in text.split(",")]
    if not all(names):
        raise Refusal(
            f"{option} {','.join(given or ())!r} has an empty name: write a,b without gaps"
        )
    return list(dict.fromkeys(names))


def _check_cache() -> None:
    """Refuse to compile what nobody could find again."""
    from numba.core import config

    from npool.cpu.cache import cache_directory

    if config.DISABLE_JIT:
        raise Refusal("NUMBA_DISABLE_JIT is set, and nothing is compiled: unset it")
    if cache_directory() is None:
        raise Refusal(
            "there is no kernel cache to fill: set NPOOL_CACHE_DIR to a directory of your own "
            "that nobody else can write to"
        )
