"""Arrays that lie in a file: mapped, let go of piece by piece, written front to back."""

from __future__ import annotations

import contextlib
import mmap
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import IO, Any, Literal

import numpy as np

from npool.cli.output import Output
from npool.cli.refusal import Refusal
from npool.cli.tiles import Tiling

__all__ = ["Order", "Source", "map_array", "read_at_once", "write_header", "write_values"]

Order = Literal["C", "F"]
#: Seconds between two releases of a window that does not fit in memory. A core reads a few
#: dozen MiB from a map in that time.
_RELEASE_EVERY = 0.004
#: How often over a file may be read before it is better to ask for more memory; a file smaller
#: than this is read in no time.
_MOST_SWEEPS = 64
_SMALL = 1 << 26


@dataclass(frozen=True)
class Source:
    """An array that lies in a file, and its map. `order` is the file's, ``"C"`` or ``"F"``."""

    array: np.ndarray
    order: Order
    map: mmap.mmap | None

    @property
    def is_native(self) -> bool:
        """Whether the engine reads it as it lies, and need not convert what it reads."""
        return self.array.dtype.isnative and self.array.flags.aligned

    def release(self) -> None:
        """Let go of the pages read so far: they stay in the file, and leave this process."""
        if self.map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.map.madvise(mmap.MADV_DONTNEED)


def map_array(
    file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], order: Order, offset: int
) -> Source:
    """Map the array that begins `offset` bytes into `file`, which must hold all of it."""
    whole = mmap.mmap(file.fileno(), offset + prod(shape) * dtype.itemsize, access=mmap.ACCESS_READ)
    with contextlib.suppress(OSError, AttributeError):  # advice, on systems that take it
        whole.madvise(mmap.MADV_SEQUENTIAL)
    return Source(np.ndarray(shape, dtype, whole, offset, order=order), order, whole)


@contextlib.contextmanager
def read_at_once(source: Source, tiling: Tiling, output: Output, memory: int) -> Iterator[Source]:
    """`source`, with its pages let go of again and again while one long call reads them.

    For windows that do not fit `memory` (`tiling` is wide). Where the engine would have to
    convert what it reads, and so hold a copy of it, a converted copy is made on the disk first,
    beside `output`, and removed in the end.

    Raises
    ------
    Refusal
        Where windows overlap so much that the file would be read again and again.
    """
    if tiling.reads > _MOST_SWEEPS * max(source.array.nbytes, _SMALL):
        raise Refusal(
            f"one window takes {tiling.least / 2**20:,.0f} MiB, which is more than --memory "
            f"({memory / 2**20:,.0f} MiB), and the windows overlap: add --memory "
            f"{-(-tiling.least // 2**20) + 1}M, or more"
        )
    with contextlib.ExitStack() as stack:
        if not source.is_native:
            copy = stack.enter_context(Output(output.place, force=False))
            source = _native_copy(source, copy, memory)
        over = threading.Event()

        def work() -> None:
            while not over.wait(_RELEASE_EVERY):
                source.release()

        thread = threading.Thread(target=work, name="npool-release", daemon=True)
        thread.start()
        try:
            yield source
        finally:
            over.set()
            thread.join()


def _native_copy(source: Source, copy: Output, memory: int) -> Source:
    """`source` in the machine's own byte order, written to `copy` and mapped from there."""
    array = source.array
    native = array.dtype.newbyteorder("=")
    write_header(copy.file, array.shape, native, source.order)
    offset = copy.file.tell()
    flat = array.reshape(-1, order="F" if source.order == "F" else "C")
    step = max(1, memory // (4 * array.itemsize))
    for first in range(0, flat.size, step):
        write_values(copy.file, flat[first : first + step].astype(native), "C")
        source.release()
    copy.file.flush()
    return map_array(copy.file, array.shape, native, source.order, offset)


def write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], order: str) -> None:
    """Write the `.npy` header of an array of `shape`, in memory order `order`."""
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype) if dtype.kind != "V" else "<V2",
        "fortran_order": order == "F",
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(file, header)


def write_values(file: IO[bytes], values: np.ndarray, order: str) -> None:
    """Append the bytes of `values` as they lie in a file of memory order `order`."""
    # Through bytes: bfloat16 offers no buffer of its own.
    flat = np.ascontiguousarray(values.T if order == "F" else values).reshape(-1)
    file.write(flat.view(np.uint8).data)
