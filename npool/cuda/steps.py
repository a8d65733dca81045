"""One launch: which form serves a pass, and the numbers and the grid that go with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from npool.cuda.dims import Dim, joined
from npool.cuda.forms import Form, Tap
from npool.geometry import Window

__all__ = ["Launch", "Needs", "arrange", "grid_of", "numbers_of", "steps_of"]

#: Threads of a block, and how many blocks fill the largest GPU a few times over.
THREADS, BLOCKS = 256, 4096
#: Limits of the hardware.
MOST_Y, MOST_Z, MOST_THREADS_Z = 65535, 65535, 64
NARROW = 2**31 - 1
#: Bytes of the widest access.
WIDEST = 16


@dataclass(frozen=True)
class Needs:
    """What a pass must know of memory and of the reducer.

    Attributes
    ----------
    loaded, stored : tuple of int
        Bytes of an element of each source and of each result.
    aligned : tuple of int
        To how many bytes the first element of source and result is aligned.
    order : tuple of int
        With positions, the rank of each pooled axis (in memory order) in the caller's order.
    """

    loaded: tuple[int, ...]
    stored: tuple[int, ...]
    aligned: tuple[int, int] = (WIDEST, WIDEST)
    counted: bool = False
    include_pad: bool = True
    placed: bool = False
    folded: bool = False
    adding: bool = False
    finishing: bool = True
    parts: int = 1
    imaginary: bool = False


@dataclass(frozen=True)
class Launch:
    """A form with its numbers (but for `full` and the parameters) and its grid."""

    form: Any
    numbers: dict[str, int]
    grid: tuple[int, int, int]
    block: tuple[int, int, int]


def arrange(dims: Sequence[Dim], needs: Needs) -> Launch:
    """The launch of a pass whose windows are few taps each."""
    dims = joined(dims)
    pooled = [i for i, dim in enumerate(dims) if dim.window is not None]
    assert pooled
    row = pooled[-1]
    inner = len(dims) - 1 if row < len(dims) - 1 else None
    column = pooled[-2] if len(pooled) > 1 else None
    if column is not None and dims[column].out > MOST_Y:
        column = None
    outer = [i for i in range(len(dims)) if i not in (row, column, inner)]
    taps = tuple(_tap(dims[i].window) for i in pooled)
    order: tuple[int, ...] = ()
    if needs.placed:
        ranks = sorted(dims[i].axis for i in pooled)
        order = tuple(ranks.index(dims[i].axis) for i in pooled)
    innermost = dims[inner if inner is not None else row]
    form = Form(
        axes=taps,
        outer=tuple(pooled.index(i) if i in pooled else -1 for i in outer) or (-1,),
        inner=inner is not None,
        unit=innermost.src == 1 and innermost.dst == 1,
        counted=needs.counted,
        include_pad=needs.include_pad,
        parts=needs.parts,
        folded=needs.folded,
        adding=needs.adding,
        finishing=needs.finishing,
        order=order,
        imaginary=needs.imaginary,
    )
    form = replace(form, wide=_is_wide(dims, row, column, inner, outer))
    form = _vectorised(form, dims, row, inner, needs)
    form = replace(form, down=_down(form, dims, column))
    return _launch(form, dims, row, column, inner, outer)


def _tap(window: Window | None) -> Tap:
    assert window is not None
    return Tap(window.kernel, window.stride, window.dilation)


def _is_wide(
    dims: Sequence[Dim], row: int, column: int | None, inner: int | None, outer: Sequence[int]
) -> bool:
    """Whether an offset within a plane, or the number of planes or of lanes, passes 2**31."""
    source = result = 0
    for i in (row, column, inner):
        if i is None:
            continue
        dim = dims[i]
        reach = dim.size
        if dim.window is not None:
            w = dim.window
            # Where the first and the last window start and end, padding and all.
            reach = max(dim.size, w.before, dim.out * w.stride + w.extent + w.after)
            if reach * 2 > NARROW:
                return True
        source += 2 * reach * abs(dim.src)
        result += dim.out * abs(dim.dst)
    lanes = dims[row].out * (dims[inner].size if inner is not None else 1)
    planes = prod(dims[i].out for i in outer)
    for i in outer:
        window = dims[i].window
        if window is not None and 2 * (window.out * window.stride + window.extent) > NARROW:
            return True
    slack = 4 * THREADS * MOST_Z
    return max(source, result, lanes + THREADS, planes + slack) > NARROW


def _vectorised(form: Form, dims: Sequence[Dim], row: int, inner: int | None, needs: Needs) -> Form:
    """Wide accesses: over channels, or over windows that touch along the row."""
    if not form.unit:
        return form
    loaded, stored = max(needs.loaded), max(needs.stored)
    if inner is not None:
        if needs.placed and dims[inner].place:
            return form  # neighbours of one thread have different positions
        others = [dim for i, dim in enumerate(dims) if i != inner]
        for lanes in (16, 8, 4, 2):
            if (
                lanes * max(loaded, stored) <= WIDEST
                and dims[inner].size % lanes == 0
                and _fits(others, lanes, needs.loaded, needs.stored, lanes, needs.aligned)
            ):
                return replace(form, vector=lanes)
        return form
    window = dims[row].window
    assert window is not None
    touching = window.kernel == window.stride and window.dilation == 1 and window.before == 0
    if not touching or needs.folded or window.kernel == 1:
        return form
    others = [dim for i, dim in enumerate(dims) if i != row]
    for across in (4, 2, 1):
        whole = across * window.kernel
        for load in (16, 8, 4, 2):
            if (
                whole % load == 0
                and load * loaded <= WIDEST
                and across * stored <= WIDEST
                and (load * loaded >= 8 or across == 1)
                and _fits(others, load, needs.loaded, needs.stored, across, needs.aligned)
            ):
                return replace(form, across=across, load=load)
    return form


def _fits(
    others: Sequence[Dim],
    load: int,
    loaded: tuple[int, ...],
    stored: tuple[int, ...],
    store: int,
    aligned: tuple[int, int],
) -> bool:
    """Whether accesses of so many elements are aligned wherever the other dimensions lead."""
    return (
        all(dim.src % load == 0 for dim in others if dim.size > 1)
        and all(dim.dst % store == 0 for dim in others if dim.out > 1)
        and all(aligned[0] % (load * size) == 0 for size in loaded)
        and all(aligned[1] % (store * size) == 0 for size in stored)
    )


def _down(form: Form, dims: Sequence[Dim], column: int | None) -> int:
    """Outputs of a thread along the column: rows of the input that they share are read once."""
    if column is None or form.vector > 1 or form.parts > 1 or form.adding:
        return 1
    tap = form.axes[-2]
    if tap.stride >= tap.extent or tap.dilation > 1 or dims[column].out < 2:
        return 1
    small = tap.stride == 1 and form.taps <= 12 and dims[column].out >= 4
    return 4 if small else 2


def _launch(
    form: Form, dims: Sequence[Dim], row: int, column: int | None, inner: int | None,
    outer: Sequence[int],
) -> Launch:  # fmt: skip
    x = dims[row]
    assert x.window is not None
    channels = dims[inner].size // form.vector if inner is not None else 1
    lanes = -(-x.out // form.across) * channels
    numbers = {"lanes": lanes, "channels": channels, "ox": x.out, "nx": x.size,
               "bx": x.window.before, "sx": x.src, "tx": x.dst, "px": x.place,
               "ax": x.size + x.window.after}  # fmt: skip
    if inner is not None:
        numbers |= {"ics": dims[inner].src, "ocs": dims[inner].dst, "pc": dims[inner].place}
    lines = 1
    if column is not None:
        y = dims[column]
        assert y.window is not None
        lines = -(-y.out // form.down)
        numbers |= {"oy": y.out, "ny": y.size, "by": y.window.before, "sy": y.src, "ty": y.dst,
                    "py": y.place, "ay": y.size + y.window.after}  # fmt: skip
    sizes = [dims[i].out for i in outer] or [1]
    for k, i in enumerate(outer):
        dim = dims[i]
        numbers |= {f"n{k}": dim.out, f"si{k}": dim.src, f"so{k}": dim.dst, f"ps{k}": dim.place}
        if dim.window is not None:
            numbers |= {f"nz{k}": dim.size, f"bz{k}": dim.window.before,
                        f"az{k}": dim.size + dim.window.after}  # fmt: skip
    if not outer:
        numbers |= {"n0": 1, "si0": 0, "so0": 0, "ps0": 0}
    grid, block = grid_of(lanes, lines, prod(sizes))
    numbers |= steps_of(grid[2] * block[2], sizes)
    return Launch(form, numbers, grid, block)


def grid_of(
    lanes: int, lines: int, planes: int
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Blocks and threads: threads along the lanes first, what is left along lines and planes."""
    tx = min(_power(lanes), 64 if lines > 1 else 128)
    ty = max(1, min(_power(lines), THREADS // tx))
    tz = max(1, min(_power(planes), THREADS // (tx * ty), MOST_THREADS_Z))
    blocks = -(-lanes // tx) * -(-lines // ty)
    deep = max(1, min(-(-planes // tz), -(-BLOCKS // blocks), MOST_Z))
    return (-(-lanes // tx), -(-lines // ty), deep), (tx, ty, tz)


def steps_of(step: int, sizes: Sequence[int]) -> dict[str, int]:
    """The digits of a step over planes, the outermost first."""
    digits: dict[str, int] = {}
    for k in range(len(sizes) - 1, 0, -1):
        step, digits[f"step{k}"] = divmod(step, sizes[k])
    digits["step0"] = step
    return digits


def _power(n: int) -> int:
    """The least power of two that is not below n."""
    return 1 << max(0, n - 1).bit_length()


def numbers_of(launch: Launch, **more: Any) -> list[Any]:
    """The launch's numbers in the order in which its kernel takes them."""
    given = {**launch.numbers, **more}
    return [given[name] for name, _ in launch.form.numbers()]
