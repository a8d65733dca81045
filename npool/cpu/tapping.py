"""From windows and two dense arrays to the integers that `npool.cpu.taps` reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache as memoised
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numba.core import config
from numpy.typing import NDArray

from npool.cpu import bounds, emit, lanes, taps, tiling
from npool.cpu.compiling import Driver, access, address_of, compiled, lock
from npool.cpu.drivers import assembled
from npool.geometry import Plan, Window
from npool.memory import address

__all__ = [
    "MOST", "WIDE", "Form", "Laid", "first_taps", "fold_taps", "form_of",
    "hand_taps", "is_wide", "laid_out", "loop_of", "run_taps", "shared_values",
]  # fmt: skip

#: Taps that have numbers; one of a byte's values is left for none.
MOST = 255
#: Windows that see an element up to which it pays to ask each, and of rows.
MOST_ASKED, MOST_ASKED_ROWS = 30, 16
#: The longest axis of which every element and window has a line in a table.
LISTED = 1 << 15
#: The longest steps of windows along a row that vectors are made of.
STEPS = 4
#: Results of a row that are a unit of work, about, and of a task.
UNIT, TASK = 1 << 13, 1 << 13
#: Bytes that are asked for so long before they are read.
AHEAD = 1 << 13
#: Bytes of some planes up to which those of the next are asked for meanwhile, and how far ahead
#: of what is written otherwise.
NEXT, BEYOND = 1 << 16, 512
#: Results of a row from which on vectors are made of columns; and bytes, about, of the planes that
#: are turned into channels otherwise.
LONG, ROOM = 100, 600 << 10
#: Elements for each result, and of a plane, past which gradients are put at positions instead.
FEW, LARGE = 16, 1 << 10
#: Channels that lie together, at least, for vectors of them.
CHANNELS = 16

#: Taps of a window, and channels, from which on a tap is read at once: so many channels of it.
MANY, LEAST_WIDE, WIDE = 9, 64, 1 << 11

_ENV = (
    "SOURCE", "TAPS", "RESULT", "STOP", "LOOP", "UNITS", "EACH", "BLOCKS", "BLOCK", "ITEM",
    "INNER", "OUTER", "Z", "Y", "X", "ZO", "YO", "WO", "ZS", "YS", "XS", "ZSTEP", "YSTEP",
    "XSTEP", "ZK", "YK", "XN", "XD", "BEFORE", "LEAST", "MOST", "FRESH", "AHEAD", "FAR", "SLICES",
    "WIDE", "PAST",
)  # fmt: skip
_CONSTANTS = {name: i for i, name in enumerate(_ENV)}
_TRIVIAL = Window(1, 1, 1, 1, 0, 0, 1)


@dataclass(frozen=True, slots=True)
class Form:
    """How the pooled axes lie: `outer` planes of three axes, of elements of `inner` channels.

    Where `planes` is not 0, so many are turned into channels.
    """

    outer: int
    windows: tuple[Window, Window, Window]
    inner: int
    planes: int = 0

    @property
    def rows(self) -> bool:
        """Whether vectors are of columns, not of channels."""
        return self.inner == 1 and self.planes == 0


@lru_cache(maxsize=1024)
def form_of(plan: Plan, order: tuple[int, ...], dtype: np.dtype[Any]) -> Form | None:
    """The form of a call, or None where these loops do not serve it.

    `order` is that of the axes in memory, in which arrays are dense.
    """
    usable = emit.HAS_MASKS and not config.DISABLE_JIT  # the CPU's features, as Numba knows them
    if not usable or dtype.name not in ("float16", "bfloat16", "float32", "float64"):
        return None
    lengths = [(axis, plan.shape[axis]) for axis in order]
    at = [i for i, (axis, _) in enumerate(lengths) if axis in plan.axes]
    if len(at) > 3 or at != list(range(at[0], at[0] + len(at))):
        return None
    if tuple(order[i] for i in at) != plan.axes or plan.has_empty or 0 in plan.out_shape:
        return None
    if 0 in plan.shape or prod(window.kernel for window in plan.windows) > MOST:
        return None
    inner = prod(n for _, n in lengths[at[-1] + 1 :])
    outer = prod(n for _, n in lengths[: at[0]])
    windows = (_TRIVIAL,) * (3 - len(at)) + plan.windows
    size, out = (prod(getattr(w, name) for w in windows) for name in ("size", "out"))
    last, planes, most = windows[2], 0, MOST_ASKED
    if 1 < inner < CHANNELS:
        return None
    if inner == 1:
        regular = type(last) is Window
        # Of large planes with few results, gradients are soon put at positions.
        if regular and size > FEW * out and size > LARGE:
            return None
        if outer >= LANES and last.out < LONG:
            planes = next((n for n in (64, 32, 16) if n * (size + out) * 4 <= ROOM), 0)
        if not planes:
            if not regular or last.stride > STEPS or last.out == 1 or len(at) == 3:
                return None
            most = MOST_ASKED_ROWS
    listed = windows[:2] if inner == 1 and not planes else windows
    if max(w.size + w.out for w in listed) > LISTED or last.size >= 1 << 30:
        return None
    if prod(w.kernel * w.out / w.size for w in windows) > most:
        return None
    first, second, third = windows
    return Form(outer, (first, second, third), inner, planes)


def is_wide(form: Form) -> bool:
    """Whether windows are read a tap at a time: few elements twice, so memory is what counts."""
    taps, apart = (prod(getattr(w, name) for w in form.windows) for name in ("kernel", "stride"))
    return form.inner >= LEAST_WIDE and MANY <= taps <= 2 * apart


def fold_taps(
    x: NDArray[Any], values: NDArray[Any], numbers: NDArray[Any], form: Form, lowest: bool
) -> None:
    """Write the maxima (the minima: `lowest`) of `x` to `values`, their taps to `numbers`.

    All are dense in one memory order, that of `form`.
    """
    laid = _folded(form, x.dtype, lowest)
    run_taps(laid, x, numbers, values, 0)


def hand_taps(grads: NDArray[Any], numbers: NDArray[Any], result: NDArray[Any], form: Form) -> None:
    """Write to each element of `result` the sum of the gradients of the windows that mean it."""
    laid = _handed(form, grads.dtype)
    past = 0
    if laid.whole and address(result) % 64 == 0:
        past = int(grads.nbytes + result.nbytes > tiling.LARGEST_CACHE)
    run_taps(laid, grads, numbers, result, past)


@dataclass(frozen=True, slots=True)
class Laid:
    """Integers of a call. `whole`: rows of the result are whole lines of the cache."""

    keep: tuple[NDArray[Any], ...]
    env: NDArray[np.int64]
    tasks: int
    work: int
    scratch: int = 0
    whole: bool = False


def run_taps(
    laid: Laid, source: NDArray[Any], numbers: NDArray[Any], result: NDArray[Any], past: int
) -> None:
    """Do all tasks of a layout, from `source` to `result`; `past` as in `npool.cpu.slides`."""
    from npool.cpu.engine import launch  # which sends some calls here

    env = laid.env.copy()
    env[:3] = address(source), address(numbers), address(result)
    env[-1] = past

    def memory(at: int) -> dict[str, tuple[int, int]]:
        arrays = {"source": source, "taps": numbers, "result": result}
        found = {name: bounds.extent(array) for name, array in arrays.items()}
        return found | {"scratch": (at, at + laid.scratch)}

    launch(
        _driver(), (0, 0, 0), env, _CONSTANTS["STOP"], laid.tasks, laid.work, laid.scratch, memory
    )


def first_taps(window: Window) -> tuple[int, NDArray[np.int64]]:
    """Of each window: its first tap inside, how many there are, and that tap's number."""
    table = np.zeros((window.out, 3), np.int64)
    for o in range(window.out):
        start = window.start(o)
        first, stop = window.taps(o)
        table[o] = start + first * window.dilation, stop - first, first
    return address(table), table


def _windows_of(window: Window) -> tuple[int, tuple[NDArray[np.int64], ...]]:
    """Of each element: where its pairs of a window and its tap's number are, and how many."""
    pairs: list[list[tuple[int, int]]] = [[] for _ in range(window.size)]
    for o in range(window.out):
        start = window.start(o)
        for k in range(*window.taps(o)):
            pairs[start + k * window.dilation].append((o, k))
    return _listed(pairs)


def _phases_of(window: Window) -> tuple[int, tuple[NDArray[np.int64], ...], int, int]:
    """Of each phase of a row, its pairs as `npool.cpu.tap_rows.hand_row` reads them; the ends of
    all shifts.
    """
    pairs: list[list[tuple[int, int]]] = []
    for r in range(window.stride):
        whole = [(r + window.before - k * window.dilation, k) for k in range(window.kernel)]
        found = [(far // window.stride, k) for far, k in whole if far % window.stride == 0]
        pairs.append(sorted(found))
    at, kept = _listed(pairs)
    shifts = [shift for each in pairs for shift, _ in each] or [0]
    return at, kept, min(shifts), max(shifts)


def _listed(pairs: Sequence[Sequence[tuple[int, int]]]) -> tuple[int, tuple[NDArray[Any], ...]]:
    entries = np.array([pair for each in pairs for pair in each] or [(0, 0)], np.int64)
    counts = np.array([len(each) for each in pairs], np.int64)
    ends = np.cumsum(counts)
    table = np.stack([address(entries) + 16 * (ends - counts), counts], axis=1).copy()
    return address(table), (table, entries)


def shared_values(form: Form, item: int) -> dict[str, int]:
    """What the drivers read of a form whose elements have `item` bytes."""
    z, y, x = form.windows
    inner = form.planes or form.inner
    row = x.size * inner * item
    return {
        "ITEM": item, "INNER": inner, "OUTER": form.outer, "Z": z.size, "Y": y.size, "X": x.size,
        "ZO": z.out, "YO": y.out, "WO": x.out, "ZK": y.kernel * x.kernel, "YK": x.kernel,
        "ZSTEP": z.dilation * y.size * row, "YSTEP": y.dilation * row,
        "XSTEP": x.dilation * inner * item, "XN": x.kernel, "XD": x.dilation,
        "BEFORE": x.before,
    }  # fmt: skip


def _next(size: int, otherwise: int) -> int:
    return size if size <= NEXT else otherwise


def laid_out(
    form: Form, values: dict[str, int], keep: tuple[NDArray[Any], ...], rows: int, width: int,
    taps_each: float, step: int, whole: bool,
) -> Laid:  # fmt: skip
    """Tasks of `step` planes or rows each; what tables `keep` holds lives as long as the layout."""
    inner = form.inner
    if form.planes:
        units = -(-form.outer // form.planes)
        size, out = (prod(getattr(w, name) for w in form.windows) for name in ("size", "out"))
        item = values["ITEM"]
        read, written = (size, out) if "SLICES" in values else (out, size)
        values |= {
            "UNITS": units, "EACH": 1,
            # What the next planes need while these are turned, or what comes soon of large ones.
            "AHEAD": _next(form.planes * read * item, AHEAD),
            "FRESH": _next(form.planes * written * item, BEYOND),
            "FAR": _next(form.planes * out, BEYOND),
        }  # fmt: skip
        env = np.array([values.get(name, 0) for name in _ENV], np.int64)
        scratch = form.planes * (size * values["ITEM"] + out * (values["ITEM"] + 1)) + 64
        work = form.planes * (size + out * taps_each) / 8
        return Laid(keep, env, units, max(1, int(work)), scratch)
    block = max(LANES * step, UNIT // inner // (LANES * step) * (LANES * step))
    blocks = -(-width // block)
    units = rows * blocks
    each = max(1, min(units, TASK // max(1, inner * min(width, block))))
    values |= {"BLOCK": block, "BLOCKS": blocks, "UNITS": units, "EACH": each}
    env = np.array([values.get(name, 0) for name in _ENV], np.int64)
    work = each * min(width, block) * inner * (1 + taps_each) / 8
    return Laid(keep, env, -(-units // each), max(1, int(work)), 0, whole)


#: As in `npool.cpu.tap_rows`, which a process without a compiler lacks.
LANES = 16


@lru_cache(maxsize=1024)
def _folded(form: Form, dtype: np.dtype[Any], lowest: bool) -> Laid:
    z, y, x = form.windows
    values = shared_values(form, dtype.itemsize)
    values["ZS"], keep_z = first_taps(z)
    values["YS"], keep_y = first_taps(y)
    keep: tuple[NDArray[Any], ...] = (keep_z, keep_y)
    if not form.rows:
        values["XS"], keep_x = first_taps(x)
        keep = (*keep, keep_x)
    step = x.stride if form.rows else 1
    values["LOOP"] = loop_of("fold", dtype, _way(form), step, "<" if lowest else ">")
    each = prod(window.kernel for window in form.windows)
    fresh = min(y.stride, y.kernel) * x.stride * form.inner * dtype.itemsize
    values["FRESH"] = fresh if fresh <= NEXT // 4 else 0
    slices = min(z.stride, z.kernel)
    behind = values["ZSTEP"] * (z.kernel - slices) + values["YSTEP"] * (y.kernel - 1)
    values |= {"AHEAD": behind + AHEAD, "SLICES": slices}
    if is_wide(form):
        values["WIDE"] = WIDE
    rows = form.outer * z.out * y.out
    return laid_out(form, values, keep, rows, x.out, each, 1, False)


@lru_cache(maxsize=1024)
def _handed(form: Form, dtype: np.dtype[Any]) -> Laid:
    z, y, x = form.windows
    values = shared_values(form, dtype.itemsize)
    values["ZS"], keep_z = _windows_of(z)
    values["YS"], keep_y = _windows_of(y)
    if form.rows:
        values["XS"], keep_x, values["LEAST"], values["MOST"] = _phases_of(x)
    else:
        values["XS"], keep_x = _windows_of(x)
    values["ZSTEP"], values["YSTEP"] = z.stride, y.stride
    values["FRESH"] = -(-form.inner * dtype.itemsize // (x.stride * y.stride))
    values["FAR"] = -(-values["FRESH"] // dtype.itemsize)
    values["AHEAD"] = AHEAD // dtype.itemsize
    step = x.stride if form.rows else 1
    values["LOOP"] = loop_of("hand", dtype, _way(form), step, "")
    each = prod(max(1.0, window.kernel / window.stride) for window in form.windows)
    rows = form.outer * z.size * y.size
    whole = form.rows and x.size * dtype.itemsize % 64 == 0
    return laid_out(form, values, (*keep_z, *keep_y, *keep_x), rows, x.size, each, step, whole)


@memoised
def _driver() -> Driver:
    calls = {"call_units": taps.fold_units}
    return assembled((taps.stopped, taps.taps), _CONSTANTS, (), calls)


def _way(form: Form) -> str:
    return "planes" if form.planes else "rows" if form.rows else "pixels"


@memoised
def loop_of(which: str, dtype: np.dtype[Any], way: str, step: int, op: str) -> int:
    """Address of a loop over units: `which` of fold, value (without taps) and hand."""
    from npool.cpu import tap_rows, together_rows
    from npool.cpu.turn import turn

    with lock:
        space: dict[str, Any] = {
            "__name__": lanes.__name__, "get": access.get, "prefetch": access.prefetch,
            "ROWS": way == "rows", "FOLDS": which == "fold", **_CONSTANTS,
        }  # fmt: skip
        if way == "rows":
            space |= {"fold_row": tap_rows.fold_row(dtype, op, step)} if op else {
                "hand_row": tap_rows.hand_row(dtype, step)
            }  # fmt: skip
        else:
            fold = together_rows.fold_values if which == "value" else tap_rows.fold_pixel
            space |= {"fold_pixel": fold(dtype, op)} if op else {
                "hand_pixel": tap_rows.hand_pixel(dtype)
            }  # fmt: skip
        if way == "planes":
            space |= {"turn": turn(dtype.itemsize), "turn_bytes": turn(1)}
        template = (
            taps.turned_units
            if way == "planes"
            else getattr(taps, f"{'hand' if which == 'hand' else 'fold'}_units")
        )
        kind = {"<": "-lowest", ">": "-highest", "+": "-sum"}.get(op, "")
        return address_of(compiled(template, space, f"{which}-{dtype.name}-{way}{step}{kind}"))
