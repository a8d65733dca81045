"""The `npool` command: its commands, its help, its version."""

from __future__ import annotations

from typing import Annotated

import typer

from npool.cli.refusal import OneLineGroup

__all__ = ["app"]

app = typer.Typer(
    name="npool",
    cls=OneLineGroup,
    help="Pooling for plain arrays: files in, files out; what it does, shown and checked.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        import npool

        typer.echo(f"npool {npool.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version.")
    ] = False,
) -> None:
    """Pooling for plain arrays: files in, files out; what it does, shown and checked."""


def _register() -> None:
    from npool.cli.bench import bench
    from npool.cli.conform import conform
    from npool.cli.cuda_report import cuda_report
    from npool.cli.demo import demo
    from npool.cli.info import info
    from npool.cli.pool import pool
    from npool.cli.warmup import warmup

    for command in (pool, demo, info, warmup, bench, conform):
        app.command()(command)
    app.command("cuda-report")(cuda_report)


_register()
