"""`npool demo`: the project's first examples, checked; a photograph, pooled, drawn and timed."""

from __future__ import annotations

import io
import json
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import npool
from npool.cli.demo_picture import OURS, draw
from npool.cli.demo_race import Race, race
from npool.cli.output import Output, check_place, signals_unwind
from npool.cli.refusal import Refusal, one_line, reason

__all__ = ["demo", "photograph", "run_case", "seed_cases"]

DEFAULT_PICTURE = Path("npool-demo.png")


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PNG", help="Where the picture goes.")
    ] = DEFAULT_PICTURE,
    force: Annotated[
        bool,
        typer.Option("--force", "-f", help="Replace a file that is no earlier demo's picture."),
    ] = False,
    timing: Annotated[
        bool, typer.Option("--timing/--no-timing", help="Time npool beside NumPy and torch.")
    ] = True,
) -> None:
    """Show and check the seed examples, and pool a photograph into one labelled picture.

    Exits with 1 if any result is not what it must be.
    """
    if output.suffix.lower() != ".png":
        raise Refusal(f"--output {output}: the picture is a PNG: give it the suffix .png")
    # An earlier demo's picture may be replaced; a file of the user's may not.
    place = check_place(output, None, force or _is_ours(output))
    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe or a log has no width of its own
        console = Console(highlight=False, width=100)
    wrong = _show_seed(console)
    photo = photograph()
    with signals_unwind(), Output(place, force or _is_ours(output)) as out:
        try:
            out.file.write(draw(photo))
            out.publish()
        except OSError as error:
            raise Refusal(f"{output}: nothing was written: {reason(error)}") from error
    if timing:
        wrong += _show_race(console, race(photo), photo)
    console.print(f"\nThe photograph, pooled: {output}", soft_wrap=True)
    if wrong:
        console.print(f"[bold red]{wrong} results differ from what they must be.[/]")
        raise typer.Exit(1)


def seed_cases() -> list[dict[str, Any]]:
    """The examples that the project was created from, as they lie in the package."""
    text = resources.files("npool.cli").joinpath("seed_examples.json").read_text("utf-8")
    cases: list[dict[str, Any]] = json.loads(text)["cases"]
    return cases


def run_case(case: dict[str, Any]) -> np.ndarray:
    """Pool one of the seed's examples, over its last two axes."""
    if "x" in case:
        x = np.array(case["x"], dtype=np.float64)
    else:
        shape = case.get("x_arange") or case["x_arange_and_plus_one"]
        x = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
        if "x_arange_and_plus_one" in case:
            x = np.concatenate([x, x + 1], axis=1)
    result: np.ndarray = npool.pool(
        x, case["kernel_size"], case["stride"], case["padding"], axes=(-2, -1), reduce=case["op"]
    )
    return result


def photograph() -> np.ndarray:
    """The astronaut Eileen Collins (NASA, public domain), (512, 512, 3) of uint8.

    From the file in scikit-image's own package: nothing is downloaded, and scikit-image's
    machinery for that is not asked.
    """
    from PIL import Image

    try:
        data = resources.files("skimage").joinpath("data", "astronaut.png").read_bytes()
    except (ModuleNotFoundError, FileNotFoundError):
        raise Refusal(
            "the demonstration's photograph comes with scikit-image, which is missing: "
            'pip install "npool[cli]"'
        ) from None
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def _is_ours(path: Path) -> bool:
    """Whether the file at `path` is a picture that this command drew."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            return image.info.get("Software") == OURS
    except Exception:  # absent, unreadable, something else: not ours to replace
        return False


def _show_seed(console: Console) -> int:
    """Print the seed's examples; return how many came out wrong."""
    table = Table(title="The seed examples", title_justify="left", show_lines=True)
    for heading in ("example", "must be", "is", ""):
        table.add_column(heading)
    wrong = 0
    for case in seed_cases():
        expected = np.array(case["y"], dtype=np.float64)
        try:
            found = run_case(case)
            right = found.shape == expected.shape and bool((found == expected).all())
            shown = _short(found)
        except (ValueError, TypeError) as error:
            right, shown = False, one_line(error)
        wrong += not right
        table.add_row(case["name"], _short(expected), shown, _tick(right))
    console.print(table)
    return wrong


def _short(array: np.ndarray) -> str:
    """A small array of whole numbers, without decimals; batch axes of one left out."""
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    return "\n".join(json.dumps(row) for row in _whole_numbers(array))


def _whole_numbers(array: np.ndarray) -> list[Any]:
    values = array.tolist()
    if np.array_equal(array, np.rint(array)):
        values = array.astype(np.int64).tolist()
    return values if isinstance(values, list) else [values]


def _show_race(console: Console, rows: list[Race], photo: np.ndarray) -> int:
    """Print the times; return how many results differ from NumPy's or torch's."""
    height, width, channels = photo.shape
    title = (
        f"The photograph as ({channels}, {height}, {width}) of float32, milliseconds: "
        f"medians, {npool.get_num_threads()} thread(s)"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("operation")
    for heading in ("npool, first call", "npool", "NumPy", "torch"):
        table.add_column(heading, justify="right")
    table.add_column("same result")
    for row in rows:
        torch = "not installed" if row.torch is None else f"{row.torch:.2f}"
        table.add_row(
            row.name,
            f"{row.first:.1f}",
            f"{row.npool:.2f}",
            f"{row.numpy:.2f}",
            torch,
            _tick(row.same),
        )
    console.print()
    console.print(table)
    console.print(
        "The first call compiles the kernel or loads it from the cache. NumPy: reshape and reduce, "
        "or sliding_window_view where windows overlap.",
        style="dim",
    )
    return sum(not row.same for row in rows)


def _tick(right: bool) -> str:
    return "[green]✓[/]" if right else "[bold red]✗ differs[/]"
