"""`npool pool INPUT OUTPUT`: pool a `.npy` array or an image from one file into another."""

from __future__ import annotations

import contextlib
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import npool
from npool.cli import npy
from npool.cli.image_write import FORMATS, as_samples, picture_of, write_picture
from npool.cli.images import Picture, image_format, read_picture
from npool.cli.operation import Operation, find_reducer, refuse_in_words
from npool.cli.output import Output, check_place, signals_unwind
from npool.cli.progress import reporter
from npool.cli.refusal import Refusal, one_line, reason
from npool.cli.sizes import parse_axes, parse_memory, parse_padding, parse_sizes

__all__ = ["pool"]


def _complete_reducers(incomplete: str) -> list[str]:
    return [name for name in npool.REDUCERS if name.startswith(incomplete)]


def pool(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A .npy file, or a PNG, JPEG or TIFF image.")
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="Where to write: .npy, .png, .jpg or .tif.")
    ],
    kernel_size: Annotated[
        str,
        typer.Option(
            "--kernel-size",
            "-k",
            metavar="SIZE",
            help="Window: 2x2 pools the last two axes (an image's rows and columns), 3x the "
            "last one, 3 every axis of --axes.",
        ),
    ],
    reduce: Annotated[
        str,
        typer.Option(
            "--reduce",
            "-r",
            metavar="NAME",
            help=f"What a window becomes: {', '.join(npool.REDUCERS)}.",
            autocompletion=_complete_reducers,
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
        str | None,
        typer.Option(
            "--dtype",
            metavar="TYPE",
            help="Type of the result (avg, sum, and any image). An image's default is its own.",
        ),
    ] = None,
    rounding: Annotated[
        str | None,
        typer.Option(
            "--rounding",
            metavar="RULE",
            help="How an average becomes an integer: half_even (default), half_up, floor, trunc.",
        ),
    ] = None,
    count_include_pad: Annotated[
        bool | None,
        typer.Option(
            "--count-include-pad/--no-count-include-pad",
            help="Whether avg divides by padding too (default: it does).",
        ),
    ] = None,
    divisor_override: Annotated[
        int | None,
        typer.Option("--divisor-override", metavar="N", help="What avg divides by instead."),
    ] = None,
    norm_type: Annotated[
        float | None, typer.Option("--norm-type", metavar="P", help="The p of lp (default 2).")
    ] = None,
    indices: Annotated[
        Path | None,
        typer.Option(
            "--indices", metavar="FILE", help="Write max's or min's positions to this .npy as well."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace an output that exists.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", help="Threads to use.")
    ] = None,
    memory: Annotated[
        str, typer.Option("--memory", metavar="SIZE", help="How much of a .npy to hold at a time.")
    ] = "128M",
    input_dtype: Annotated[
        str | None,
        typer.Option(
            "--input-dtype",
            metavar="TYPE",
            help="What the items of a .npy without a type are (bfloat16).",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Pool an array or an image from a file into a file.

    A .npy of any size goes through memory piece by piece. An image is
    pooled along its rows and columns, and stays an image. The output
    appears whole or not at all.
    """
    options: dict[str, Any] = {}
    if dtype is not None:
        options["dtype"] = npy.element_dtype(dtype, "--dtype")
    if rounding is not None:
        options["rounding"] = rounding
    if count_include_pad is not None:
        options["count_include_pad"] = count_include_pad
    if divisor_override is not None:
        options["divisor_override"] = divisor_override
    reducer = find_reducer(reduce, norm_type)
    if rounding is not None and reducer is not npool.REDUCERS["avg"]:
        raise Refusal(f"--rounding goes with --reduce avg, not with {reduce}")
    operation = Operation(
        reducer=reducer,
        kernel_size=parse_sizes(kernel_size, "--kernel-size"),
        stride=None if stride is None else parse_sizes(stride, "--stride"),
        padding=parse_padding(padding),
        dilation=parse_sizes(dilation, "--dilation"),
        ceil_mode=ceil_mode,
        axes=None if axes is None else parse_axes(axes),
        options=options,
        positions=indices is not None,
    )
    budget = parse_memory(memory)
    suffix = output.suffix.lower()
    if suffix != ".npy" and suffix not in FORMATS:
        raise Refusal(
            f"{output}: what to write is told by the suffix: use .npy, {', '.join(FORMATS)}"
        )
    if indices is not None and indices.suffix.lower() != ".npy":
        raise Refusal(f"--indices {indices}: positions go to a .npy file: give it that suffix")
    found = _input_kind(source)
    if found != "npy" and input_dtype is not None:
        raise Refusal(f"--input-dtype goes with a .npy input, and {source} is {found}")
    place = check_place(output, source, force)
    positions_place = None if indices is None else check_place(indices, source, force)
    if positions_place == place:
        raise Refusal(f"--indices {indices}: is the output itself: give it another name")

    with contextlib.ExitStack() as stack:
        if threads is not None:
            stack.enter_context(_threads(threads))
        stack.enter_context(signals_unwind())
        try:
            out = stack.enter_context(Output(place, force))
            where = None
            if positions_place is not None:
                where = stack.enter_context(Output(positions_place, force))
            if found == "npy":
                mapped = npy.open_source(source, input_dtype)
                if suffix == ".npy":
                    _check_rounding(operation, options.get("dtype"))
                    progress = stack.enter_context(reporter(quiet))
                    shape, kind = npy.pool_to_npy(mapped, operation, out, where, budget, progress)
                else:
                    shape, kind = _array_to_image(mapped.array, operation, out, where)
            else:
                shape, kind = _from_image(read_picture(source, found), operation, out, where, quiet)
            _publish(out, where)
        except KeyboardInterrupt:
            sys.stderr.write("npool: interrupted: nothing was written\n")
            raise typer.Exit(130) from None
        except OSError as error:
            raise Refusal(f"{output}: nothing was written: {reason(error)}") from error
    if not quiet:
        typer.echo(f"{output}: {'x'.join(map(str, shape)) or 'one number'} {kind}")


def _input_kind(path: Path) -> str:
    """``"npy"`` or an image format, by content; refused in words where it is neither."""
    try:
        if not path.exists():
            raise Refusal(f"{path}: does not exist: check the name")
        if path.is_dir():
            raise Refusal(f"{path}: is a directory: name a .npy file or an image in it")
        if not stat.S_ISREG(path.stat().st_mode):
            raise Refusal(f"{path}: is not a regular file: save the data in a file first")
        with path.open("rb") as file:
            head = file.read(len(npy.MAGIC))
        if head == npy.MAGIC:
            return "npy"
        kind = image_format(path)
    except OSError as error:
        raise Refusal(f"{path}: cannot be read: {reason(error)}") from None
    except ValueError as error:  # a NUL in the name
        raise Refusal(f"{path!s}: is no file name: {one_line(error)}") from None
    if kind is None:
        what = "is empty" if not head else "is neither a .npy file nor a PNG, JPEG or TIFF image"
        hint = "numpy.save the array inside" if head[:2] == b"PK" else "convert it first"
        raise Refusal(f"{path}: {what}: {hint}")
    return kind


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    if count < 1:
        raise Refusal(f"--threads {count} must be 1 or more")
    with contextlib.ExitStack() as stack:
        refuse_in_words(lambda: stack.enter_context(npool.num_threads(count)))
        yield


def _publish(out: Output, where: Output | None) -> None:
    if where is not None:
        where.publish()
    try:
        out.publish()
    except BaseException:
        if where is not None:
            where.withdraw()
        raise


def _array_to_image(
    array: np.ndarray, operation: Operation, out: Output, where: Output | None
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    values, positions = _whole(operation, array, operation.options.get("dtype"))
    picture = picture_of(values, out.place)
    write_picture(out.file, picture, FORMATS[out.place.suffix.lower()])
    if where is not None and positions is not None:
        npy.write_npy(where.file, positions)
    return values.shape, values.dtype


def _from_image(
    picture: Picture, operation: Operation, out: Output, where: Output | None, quiet: bool
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if picture.note and not quiet:
        sys.stderr.write(f"npool: note: {picture.note}\n")
    operation = _on_picture(operation, picture)
    to_image = out.place.suffix.lower() in FORMATS
    target = operation.options.get("dtype")
    if to_image:
        if picture.array.dtype == np.bool_ and (
            target is not None
            or operation.sample(picture.array.dtype, has_empty=False).dtype != np.bool_
        ):
            picture = picture.gray_from_bilevel()
        target = picture.array.dtype if target is None else target
    values, positions = _whole(operation, picture.array, target)
    if to_image:
        _write_pooled(values, picture, operation, out)
    else:
        npy.write_npy(out.file, values)
    if where is not None and positions is not None:
        npy.write_npy(where.file, positions)
    return values.shape, values.dtype


def _write_pooled(values: np.ndarray, picture: Picture, operation: Operation, out: Output) -> None:
    if picture.channels and values.shape[-1] != picture.array.shape[-1]:
        raise Refusal(
            f"--axes {','.join(map(str, operation.axes or ()))} pools the colour channels, and "
            "what is left is no image: write .npy"
        )
    shown = Picture(values, picture.pages, picture.channels, picture.icc_profile)
    write_picture(out.file, shown, FORMATS[out.place.suffix.lower()])


def _check_rounding(operation: Operation, target: np.dtype[Any] | None) -> None:
    if "rounding" in operation.options and (target is None or target.kind not in "iu"):
        raise Refusal("--rounding is for whole numbers: add --dtype with an integer type")


def _on_picture(operation: Operation, picture: Picture) -> Operation:
    """`operation` with the axes that a picture's window names: rows and columns, and pages."""
    if operation.axes is not None:
        return operation
    rows, columns = picture.spatial
    entries = 1 if isinstance(operation.kernel_size, int) else len(operation.kernel_size)
    if entries == 3 and picture.pages:
        axes: tuple[int, ...] = (0, rows, columns)
    elif entries == 2 or isinstance(operation.kernel_size, int):
        axes = (rows, columns)
    else:
        size = "x".join(map(str, operation.kernel_size))
        raise Refusal(
            f"--kernel-size {size} has {entries} entries, and an image has rows and columns: "
            "write, for example, 2x2, or name the axes with --axes"
        )
    return operation.on_axes(axes)


def _whole(
    operation: Operation, array: np.ndarray, target: np.dtype[Any] | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Pool an array in memory into type `target`, by the library's own rule where it has one."""
    _check_rounding(operation, target)
    if target is None:
        return operation.whole(array)
    if operation.reducer is npool.REDUCERS["avg"]:
        # With the rounding asked for. What the library does not do in one go (a float average
        # as uint8) is computed in its own type below, and then fits `target` or is refused.
        with contextlib.suppress(Refusal):
            return operation.with_options(dtype=target).whole(array)
    values, positions = operation.without_dtype().whole(array)
    return as_samples(values, target), positions
