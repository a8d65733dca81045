"""The drivers and what they are made of: compiled once for all reducers, dtypes and layouts."""

from __future__ import annotations

import types
from functools import cache as memoised
from typing import Any

import numpy as np

from npool.cpu import (
    bins,
    bounds,
    fetch,
    folds,
    lanes,
    parts,
    planes,
    pooled,
    strips,
    tables,
    tiles,
    van_herk,
    wholes,
    wide,
)
from npool.cpu.compiling import (
    Driver,
    access,
    address_of,
    arguments,
    compiled,
    copies,
    entry,
    instructions,
    lock,
)
from npool.cpu.schedule import Schedule

if bounds.CHECKED:
    from npool.cpu import checked

__all__ = ["assembled", "driver", "element", "gatherer", "loops_of"]

_SHARED = (folds.begin, folds.stopped, folds.swap, folds.fold_rows, folds.shifted, folds.flat_fold)
_TILES = (
    *_SHARED, folds.fold_segments, tiles.advance, fetch.locate, fetch.fold_source,
    fetch.fetch_block, fetch.fetch_tile,
    tiles.reduce_tile, tiles.run_of, tiles.store_tile, tiles.tiles,
)  # fmt: skip
_STRIPS = (
    *_SHARED, strips.span_of, strips.fill_ends, strips.strip_gather, strips.strip_stream,
    strips.long_store, strips.strip_store, strips.strip_place, strips.strip_task, strips.strips,
)  # fmt: skip
_VAN_HERK = (
    folds.begin, folds.stopped, folds.swap, folds.shifted, folds.flat_fold, strips.span_of,
    strips.fill_ends, strips.strip_stream, strips.long_store, strips.strip_store,
    strips.strip_place, van_herk.asks_along, van_herk.fetch_ring, van_herk.fold_block,
    van_herk.begin_blocks, van_herk.van_herk_task, van_herk.van_herk,
)  # fmt: skip
_POOLED = (
    folds.begin, folds.stopped, strips.span_of, strips.fill_ends, strips.strip_place,
    pooled.pooled_task, pooled.pooled,
)  # fmt: skip

_DRIVERS = {
    "tiles": _TILES,
    "strips": _STRIPS,
    "van_herk": _VAN_HERK,
    "pooled": _POOLED,
    "planes": (folds.begin, folds.stopped, folds.swap, planes.planes),
    "wholes": (folds.begin, folds.stopped, wholes.wholes),
    "wide": (
        folds.begin,
        folds.stopped,
        van_herk.fold_block,
        van_herk.begin_blocks,
        wide.fetch_wide,
        wide.windows_at,
        wide.fold_ends,
        wide.fold_parts,
        wide.fold_wide,
        wide.wide,
    ),
    "bins": (
        folds.begin,
        folds.stopped,
        folds.swap,
        folds.fold_rows,
        folds.fold_segments,
        tiles.advance,
        fetch.fold_source,
        bins.bin_of,
        bins.bins_fetch,
        bins.bins_cut,
        bins.bins_store,
        bins.bins_task,
        bins.bins,
    ),
}
#: The loops that each calls: no other need be compiled.
_ROWS = ("source_rows", "scratch_rows", "fill", "store", "split")
_LOOPS = {
    "tiles": _ROWS,
    "strips": _ROWS,
    "van_herk": _ROWS,
    "planes": ("source_rows", "store", "masked"),
    "wholes": ("store", "whole"),
    "wide": ("source_rows", "scratch_rows", "fill"),
    "bins": ("source_rows", "scratch_rows", "store", "picks"),
}


def loops_of(laid: Schedule) -> dict[str, str]:
    """The loops that a call needs, and where in `env` its driver looks for each."""
    if laid.driver == "pooled":
        return {"FILL": "fill", "POOLED": laid.loop}
    found = {name.upper(): name for name in _LOOPS[laid.driver]}
    if laid.tall:
        found["TALL_FOLD"] = laid.tall
    if laid.wide:
        found["WIDE_FOLD"] = laid.wide
    if laid.loop:
        found["LONG"] = laid.loop
    return found


@memoised
def driver(name: str) -> Driver:
    """The compiled driver of that name."""
    calls = {
        "call_rows": lanes.rows, "call_fill": lanes.fill, "call_store": lanes.store,
        "call_split": lanes.split, "call_gather": lanes.gather, "call_pooled": lanes.pooled,
        "call_direct": lanes.direct, "call_slid": lanes.slid, "call_long": lanes.long,
        "call_masked": lanes.masked, "call_whole": lanes.whole,
        "call_picks": lanes.picks, "call_divided": lanes.divided,
        "call_tall": lanes.tall,
    }  # fmt: skip
    widths = (
        ("dim", "", tables.DIMS_WIDTH),
        ("span", "", len(tables.SPANS)),
        ("work_of", "set_work", tables.CONSTANTS["WORK_SIZE"]),
        ("listed", "set_list", tables.CONSTANTS["CHUNK"]),
    )
    return assembled(_DRIVERS[name], tables.CONSTANTS, widths, calls)


def assembled(
    templates: tuple[Any, ...],
    constants: dict[str, int],
    widths: tuple[tuple[str, str, int], ...],
    calls: dict[str, Any],
) -> Driver:
    """A driver, the last of `templates`, compiled along with those it calls.

    `constants` are known to them by name; `widths` names the words that read and write a table,
    and its columns; `calls` the words that call a loop, and its template.
    """
    with lock:
        space: dict[str, Any] = {
            "__name__": lanes.__name__,
            "get": access.get,
            "put": access.put,
            "prefetch": access.prefetch,
            "stream": checked.stream if bounds.CHECKED else access.stream,
            "copy": checked.copy if bounds.CHECKED else access.copy,
            "fence": access.fence,
            **constants,
        }
        for read, write, width in widths:
            space[read], space[write] = access.table(width)
        for caller, template in calls.items():
            space[caller] = access.caller(arguments(template))
        *parts_of, whole = templates
        for part in parts_of:
            function = types.FunctionType(part.__code__, space, part.__name__)
            # The linker knows it by name: drivers have functions of one name that do other things.
            function.__qualname__ = f"{part.__name__}-{whole.__name__}"
            space[part.__name__] = instructions.jit(function)
        return entry(types.FunctionType(whole.__code__, space, whole.__name__))


def element(dtype: np.dtype[Any], name: str) -> Any:
    """``element(at, 1)[0]``: what is at an address, to be read or written, in a loop `name`."""
    space = {
        "__name__": lanes.__name__,
        "view": checked.view if bounds.CHECKED else instructions.view,
        "SOURCE": dtype,
    }
    cut = types.FunctionType(parts.cut_line.__code__, space, "cut_line")
    cut.__qualname__ = f"cut_line-{name}"  # the linker knows it by name (npool.cpu.binding)
    return instructions.jit(cut)


@memoised
def gatherer(itemsize: int) -> int:
    """Address of the loop that copies strided rows of elements of `itemsize` bytes."""
    with lock:
        source = np.dtype(f"u{itemsize}")
        space = {
            "__name__": lanes.__name__,
            "ITEM": itemsize,
            "gather_row": copies.gather_row(source),
            "cut_line": element(source, f"{itemsize}"),
        }
        return address_of(compiled(lanes.gather, space, f"{itemsize}"))
