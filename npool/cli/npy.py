"""`.npy` files of any size: read through a memory map, pooled and written piece by piece."""

from __future__ import annotations

import contextlib
import os
import shutil
import tokenize
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from npool.cli.operation import Operation
from npool.cli.output import Output
from npool.cli.progress import Reporter
from npool.cli.refusal import Refusal, one_line, reason
from npool.cli.source import Order, Source, map_array, read_at_once, write_header, write_values
from npool.cli.tiles import Piece, pieces, tile
from npool.geometry import Plan

__all__ = ["MAGIC", "element_dtype", "open_source", "pool_to_npy", "write_npy"]

MAGIC = b"\x93NUMPY"
_EXPLAIN_VOID = (
    "NumPy saves bfloat16 this way: if that is what it holds, add --input-dtype bfloat16"
)


def open_source(path: Path, input_dtype: str | None = None) -> Source:
    """Map the `.npy` file at `path`; refuse, in words, what is no whole array of numbers."""
    try:
        with path.open("rb") as file:
            shape, order, dtype, offset = _read_header(file, path)
            dtype = _element(dtype, input_dtype, path)
            have = os.fstat(file.fileno()).st_size - offset
            need = prod(shape) * dtype.itemsize
            if have < need:
                raise Refusal(
                    f"{path}: is cut short: its header promises {need} bytes of data and "
                    f"{max(0, have)} are there: copy or download it again"
                )
            if need == 0:  # nothing to map
                return Source(np.empty(shape, dtype, order), order, None)
            return map_array(file, shape, dtype, order, offset)
    except OSError as error:
        raise Refusal(f"{path}: cannot be read: {reason(error)}") from None
    except (ValueError, OverflowError, MemoryError) as error:
        raise Refusal(f"{path}: cannot be mapped: {one_line(error)}") from None


def _read_header(file: IO[bytes], path: Path) -> tuple[tuple[int, ...], Any, np.dtype[Any], int]:
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version in ((2, 0), (3, 0)):
            # 3.0 differs from 2.0 in how it spells the names of fields, which are refused.
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise Refusal(
                f"{path}: is of .npy version {version[0]}.{version[1]}, which is not known: "
                "save it again with numpy.save"
            )
    except (
        *(ValueError, TypeError, SyntaxError, KeyError, RecursionError, MemoryError),
        tokenize.TokenError,  # NumPy reads a header by Python's own rules
    ) as error:
        raise Refusal(
            f"{path}: is not a whole .npy file ({one_line(error)}): save it with numpy.save"
        ) from None
    if any(size < 0 or isinstance(size, bool) for size in shape):
        raise Refusal(f"{path}: its header gives the shape {shape}: save it again")
    order: Order = "F" if fortran and len(shape) > 1 else "C"
    return shape, order, dtype, file.tell()


def _element(dtype: np.dtype[Any], wanted: str | None, path: Path) -> np.dtype[Any]:
    if dtype.hasobject:
        raise Refusal(
            f"{path}: holds Python objects (dtype {dtype}), which are never unpickled: "
            "convert the array to numbers and save it again"
        )
    if wanted is not None:
        named = element_dtype(wanted, "--input-dtype")
        if named == dtype:
            return dtype
        if dtype.kind != "V" or dtype.names is not None or dtype.itemsize != named.itemsize:
            raise Refusal(
                f"--input-dtype {wanted} cannot read {path}, which holds {dtype}: leave it out"
            )
        return named
    if dtype.kind == "V" and dtype.names is None and dtype.itemsize == 2:
        raise Refusal(f"{path}: holds 2-byte items without a type. {_EXPLAIN_VOID}")
    return dtype


def element_dtype(name: str, option: str) -> np.dtype[Any]:
    """The dtype called `name` on the command line, bfloat16 among them."""
    if name.strip().lower() == "bfloat16":
        try:
            import ml_dtypes
        except ModuleNotFoundError:
            raise Refusal(f'{option} bfloat16 needs ml_dtypes: pip install "npool[half]"') from None
        named: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return named
    try:
        return np.dtype(name.strip())
    except (TypeError, ValueError, SyntaxError):
        raise Refusal(
            f"{option} {name!r} names no type: write, for example, uint8, float32 or int64"
        ) from None


def pool_to_npy(
    source: Source,
    operation: Operation,
    output: Output,
    positions_output: Output | None,
    memory: int,
    progress: Reporter,
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Pool `source` into `output`, holding about `memory` bytes of it at a time.

    The pieces are the whole array's windows, so values are npool.pool's own; sums of floats may
    differ from it in the last bit, since the pieces begin elsewhere. A single output whose
    window is larger than `memory` is read straight from the map, whose pages are let go of
    while it is read.

    Returns
    -------
    shape, dtype
        Of the result.
    """
    plan = operation.plan(source.array.shape)
    total = prod(plan.out_shape)
    sample = operation.sample(source.array.dtype, plan.has_empty and total > 0)
    outputs = [(output, sample.dtype)]
    if positions_output is not None:
        outputs.append((positions_output, np.dtype(np.int64)))
    _check_room(plan, outputs)
    for out, kind in outputs:
        write_header(out.file, plan.out_shape, kind, source.order)
    progress(0, total)
    if total == 0:
        return plan.out_shape, sample.dtype
    # For one output: its value, its position, and three temporaries of renumbering that.
    made = sample.dtype.itemsize + (32 if positions_output else 0)
    # What is not in the machine's own form is converted, piece by piece.
    read = source.array.itemsize * (1 if source.is_native else 2)
    tiling = tile(plan, source.order, read, made, memory)
    with contextlib.ExitStack() as stack:
        if tiling.wide:
            progress.say("one window is larger than --memory: it is read through the map at once")
            source = stack.enter_context(read_at_once(source, tiling, output, memory))
        done = 0
        for piece in pieces(plan, tiling, source.order):
            values, where = _compute(source, operation, plan, piece, sample)
            write_values(output.file, values, source.order)
            if positions_output is not None and where is not None:
                write_values(positions_output.file, where, source.order)
            del values, where
            source.release()
            done += prod(piece.out_shape)
            progress(done, total)
    return plan.out_shape, sample.dtype


def _compute(
    source: Source, operation: Operation, plan: Plan, piece: Piece, sample: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    values = where = None
    if piece.inputs is not None:
        values, where = operation.on_piece(source.array[piece.inputs], plan, piece.padding)
        if where is not None:
            where = _renumbered(where, plan, piece.inputs)
    if values is None or not piece.is_all_inside:
        values = _amid(sample[1], values, piece)
        where = _amid(np.int64(-1), where, piece) if operation.positions else None
    if values.shape != piece.out_shape:
        raise AssertionError(
            f"a piece of shape {piece.out_shape} came out as {values.shape}: please report this"
        )
    return values, where


def _amid(surroundings: Any, found: np.ndarray | None, piece: Piece) -> np.ndarray:
    """`found` where the piece's windows reach the input, `surroundings` elsewhere."""
    result = np.empty(piece.out_shape, np.asarray(surroundings).dtype)
    result[...] = surroundings
    if found is not None:
        result[piece.inside] = found
    return result


def _renumbered(where: np.ndarray, plan: Plan, inputs: tuple[slice, ...]) -> np.ndarray:
    """Positions within a piece as positions within the whole array."""
    result = np.zeros_like(where)
    rest = where
    scale = 1
    for axis in reversed(plan.axes):
        part = inputs[axis]
        rest, digit = np.divmod(rest, part.stop - part.start)
        digit += part.start
        digit *= scale
        result += digit
        scale *= plan.shape[axis]
    # A window that sees padding only (dilation can step over the array) has no position.
    result[where < 0] = -1
    return result


def write_npy(file: IO[bytes], values: np.ndarray) -> None:
    """Write an array that is in memory as a `.npy` file in its own memory order."""
    fortran = values.flags.f_contiguous and not values.flags.c_contiguous
    order: Order = "F" if fortran else "C"
    write_header(file, values.shape, values.dtype, order)
    write_values(file, values, order)


def _check_room(plan: Plan, outputs: list[tuple[Output, np.dtype[Any]]]) -> None:
    need = prod(plan.out_shape) * sum(dtype.itemsize for _, dtype in outputs)
    place = outputs[0][0].place
    try:
        free = shutil.disk_usage(place.parent).free
    except OSError:
        return
    if need > free:
        raise Refusal(
            f"{place}: the result of shape {plan.out_shape} takes {need / 2**20:,.0f} MiB and the "
            f"disk has {free / 2**20:,.0f} MiB free: make room or choose another place"
        )
