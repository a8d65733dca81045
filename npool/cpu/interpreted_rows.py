"""The loops over elements in plain Python, for NUMBA_DISABLE_JIT=1: see `npool.cpu.interpreted`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npool import scalars
from npool.cpu.interpreted import Memory, get
from npool.cpu.parts import Words
from npool.cpu.tiling import TALL

__all__ = [
    "WIDE",
    "fill_row",
    "finish_each",
    "finish_row",
    "finish_taps",
    "fold_pair",
    "fold_row",
    "fold_taps",
    "gather_row",
    "interleave_row",
    "masked_row",
    "pick_row",
    "repeat_row",
    "split_row",
    "tall_rows",
    "whole_rows",
    "wide_sum",
]

WIDE: dict[Any, Any] = {scalars.maximum: None, scalars.minimum: None}
wide_sum = None


class _Scratch:
    """Accumulators from element `o` of a buffer on, as tuples."""

    def __init__(self, words: Words, base: int, cap: int, o: int) -> None:
        self.parts, offset = [], 0
        for part in words.held:
            at = base + cap * offset + o * part.itemsize
            self.parts.append(lambda i, at=at, part=part: Memory(at + i * part.itemsize, 1, part))
            offset += part.itemsize

    def __getitem__(self, i: int) -> tuple[Any, ...]:
        return tuple(part(i)[0] for part in self.parts)

    def __setitem__(self, i: int, values: tuple[Any, ...]) -> None:
        for part, value in zip(self.parts, values, strict=True):
            part(i)[0] = value


def _params(words: Words, at: int) -> tuple[Any, ...]:
    memory = Memory(at, words.params, np.dtype(np.float64))
    return tuple(memory[k] for k in range(words.params))


def _tree(words: Words, values: list[Any]) -> Any:
    while len(values) > 1:
        pairs = [words.combine(*values[i : i + 2]) for i in range(0, len(values) - 1, 2)]
        values = pairs + values[len(values) - len(values) % 2 :]
    return values[0]


def fold_row(words: Words, from_source: bool) -> Callable[..., None]:
    """As `npool.cpu.emit.fold_row`."""

    def fold(
        dst: int, cap: int, at: int, src: int, o0: int, o1: int, o2: int, o3: int, cols: int,
        p0: int, p1: int, p2: int, p3: int, params: int, taps: int, fresh: bool, n: int,
    ) -> None:  # fmt: skip
        into, numbers = _Scratch(words, dst, cap, at), _params(words, params)
        offsets, places = (o0, o1, o2, o3)[:taps], (p0, p1, p2, p3)
        size = words.source.itemsize
        column = Memory(cols, n if words.placed else 0, np.dtype(np.int64))

        def element(k: int, i: int) -> Any:
            if not from_source:
                return _Scratch(words, src, cap, offsets[k])[i]
            value = Memory(src + (offsets[k] + i) * size, 1, words.source)[0]
            lifted = words.lift(value, numbers)
            return (*lifted, places[k] + column[i]) if words.placed else lifted

        for i in range(n):
            value = _tree(words, [element(k, i) for k in range(taps)])
            into[i] = value if fresh else words.combine(into[i], value)

    return fold


def _lifted(
    words: Words, src: int, offsets: int, cols: int, places: int, params: int, n: int
) -> Callable[..., Any]:
    """``element(k, i, shift, more)``: as `npool.cpu.windows` lifts and places an element."""
    size, numbers = words.source.itemsize, _params(words, params)
    column = Memory(cols, n if words.placed else 0, words.held[-1])

    def element(k: int, i: int, shift: int = 0, more: int = 0) -> Any:
        o = get(offsets, k) + shift + i
        lifted = words.lift(Memory(src + o * size, 1, words.source)[0], numbers)
        return (*lifted, get(places, k) + more + column[i]) if words.placed else lifted

    return element


def fold_taps(words: Words, most: int) -> Callable[..., None]:
    """As `npool.cpu.windows.fold_taps`."""

    def fold(
        dst: int, cap: int, at: int, pitch: int, src: int, offsets: int, shift: int, stride: int,
        cols: int, places: int, more: int, climb: int, far: int, asked: int, params: int,
        taps: int, n: int, m: int,
    ) -> None:  # fmt: skip
        element = _lifted(words, src, offsets, cols, places, params, n)
        for r in range(m):
            into = _Scratch(words, dst, cap, at + r * pitch)
            here = (shift + r * stride, more + r * climb)
            for i in range(n):
                into[i] = _tree(words, [element(k, i, *here) for k in range(taps)])

    return fold


def tall_rows(words: Words, rest: int, blocks: bool) -> Callable[..., None]:
    """As `npool.cpu.windows.tall_rows`."""

    def fold(
        dst: int, cap: int, at: int, pitch: int, kept: int, suffix: int, run: int, more: int,
        rows: int, shift: int, n: int,
    ) -> None:  # fmt: skip
        into = [_Scratch(words, dst, cap, at + k * pitch) for k in range(TALL)]
        seen = [_Scratch(words, kept, cap, get(rows, k) + shift) for k in range(2 * TALL)]
        behind, running, begun = (_Scratch(words, kept, cap, o) for o in (suffix, run, more))

        def folded(*values: Any) -> Any:
            found = None
            for value in values:
                found = value if found is None else words.combine(found, value)
            return found

        for i in range(n):
            middle = (behind[i], running[i]) if blocks else ()
            before = (begun[i],) if rest else ()
            tails = [row[i] for row in seen[TALL:]]
            for k in range(TALL):
                heads = [row[i] for row in seen[k:TALL]]
                into[k][i] = folded(*heads, *middle, *before, *tails[: k + 1])
            if blocks:
                behind[i] = folded(*before, *tails[: TALL - rest])
                running[i] = words.combine(running[i], behind[i])
            if rest:
                begun[i] = folded(*tails[TALL - rest :])

    return fold


def fold_pair(words: Words, most: int) -> Callable[..., None]:
    """As `npool.cpu.windows.fold_pair`."""
    one = fold_taps(words, most)

    def fold(
        dst: int, cap: int, at: int, pitch: int, src: int, offsets: int, shift: int, stride: int,
        far: int, asked: int, params: int, taps: int, n: int, m: int,
    ) -> None:  # fmt: skip
        one(dst, cap, at, pitch, src, offsets, shift, stride, 0, 0, 0, 0, far, asked, params, taps,
            n, 2 * m)  # fmt: skip

    return fold


def finish_taps(words: Words, most: int) -> Callable[..., None]:
    """As `npool.cpu.windows.finish_taps`."""
    one = _finish(words)

    def finish(
        out: int, positions: int, to: int, across: int, lift: int, src: int, cap: int, start: int,
        step: int, pitch: int, offsets: int, taps: int, n: int, m: int, count: int, params: int,
    ) -> None:  # fmt: skip
        behind = tuple(get(offsets, k) for k in range(taps))
        for r in range(m):
            one(out, positions, to + r * lift, across, src, cap, start + r * pitch, step, behind, n,
                count, params)  # fmt: skip

    return finish


def fill_row(words: Words) -> Callable[..., None]:
    """As `npool.cpu.emit.fill_row`."""

    def fill(dst: int, cap: int, at: int, n: int) -> None:
        into = _Scratch(words, dst, cap, at)
        for i in range(n):
            into[i] = words.identity

    return fill


def finish_row(words: Words) -> Callable[..., None]:
    """As `npool.cpu.emit.finish_row`."""

    def finish(
        out: int, positions: int, to: int, across: int, src: int, cap: int, start: int, step: int,
        o1: int, o2: int, o3: int, taps: int, n: int, count: int, params: int,
    ) -> None:  # fmt: skip
        write(out, positions, to, across, src, cap, start, step, (0, o1, o2, o3)[:taps], n, count,
              params)  # fmt: skip

    write = _finish(words)
    return finish


def _finish(words: Words) -> Callable[..., None]:
    def finish(
        out: int, positions: int, to: int, across: int, src: int, cap: int, start: int, step: int,
        offsets: tuple[int, ...], n: int, count: int, params: int,
    ) -> None:  # fmt: skip
        total = count if words.counted.kind in "iu" else words.counted.type(count)
        numbers = _params(words, params)
        for i in range(n):
            value = _tree(words, [_Scratch(words, src, cap, start + o)[i * step] for o in offsets])
            results = words.finish(value, total, numbers)
            for base, dtype, result in zip((out, positions), words.results, results, strict=False):
                Memory(base + (to + i * across) * dtype.itemsize, 1, dtype)[0] = result

    return finish


def split_row(words: Words) -> Callable[..., None]:
    """As `npool.cpu.emit.split_row`."""

    def split(dst: int, cap: int, each: int, src: int, n: int, ways: int) -> None:
        base = _Scratch(words, src, cap, 0)
        phases = [_Scratch(words, dst, cap, t * each) for t in range(ways)]
        for i in range(n):
            for t, phase in enumerate(phases):
                phase[i] = base[ways * i + t]

    return split


def pick_row(words: Words) -> Callable[..., None]:
    """As `npool.cpu.picks.pick_row`."""

    def pick(
        dst: int, cap: int, at: int, across: int, src: int, o0: int, o1: int, o2: int, o3: int,
        pitch: int, taps: int, fresh: bool, n: int,
    ) -> None:  # fmt: skip
        into = _Scratch(words, dst, cap, at)
        bases = [_Scratch(words, src, cap, o) for o in (o0, o1, o2, o3)[:taps]]
        for i in range(n):
            value = _tree(words, [base[i * pitch] for base in bases])
            into[i * across] = value if fresh else words.combine(into[i * across], value)

    return pick


def finish_each(words: Words) -> Callable[..., None]:
    """As `npool.cpu.picks.finish_each`."""
    finish_one = finish_row(words)

    def finish(
        out: int, positions: int, to: int, across: int, src: int, cap: int, start: int, step: int,
        n: int, counts: int, each: int, above: int, params: int,
    ) -> None:  # fmt: skip
        for i in range(n):
            finish_one(
                out, positions, to + i * across, 1, src, cap, start + i * step, 1, 0, 0, 0, 1, 1,
                get(counts, i * each) * above, params,
            )  # fmt: skip

    return finish


def gather_row(dtype: np.dtype[Any]) -> Callable[..., None]:
    """As `npool.cpu.emit.gather_row`."""

    def gather(line: int, src: int, stride: int, n: int) -> None:
        size = dtype.itemsize
        for i in range(n):
            Memory(line + i * size, 1, dtype)[0] = Memory(src + i * stride * size, 1, dtype)[0]

    return gather


def interleave_row(dtype: np.dtype[Any]) -> Callable[..., None]:
    """As `npool.cpu.copies.interleave_row`."""

    def interleave(
        dst: int, at: int, step: int, src: int, o0: int, o1: int, o2: int, o3: int, ways: int,
        n: int,
    ) -> None:  # fmt: skip
        size = dtype.itemsize
        for i in range(n):
            for t, o in enumerate((o0, o1, o2, o3)[:ways]):
                value = Memory(src + (o + i) * size, 1, dtype)[0]
                Memory(dst + (at + step * i + t) * size, 1, dtype)[0] = value

    return interleave


def repeat_row(dtype: np.dtype[Any]) -> Callable[..., None]:
    """As `npool.cpu.copies.repeat_row`."""

    def repeat(dst: int, at: int, step: int, src: int, o: int, times: int, n: int) -> None:
        size = dtype.itemsize
        for i in range(n):
            value = Memory(src + (o + i) * size, 1, dtype)[0]
            for t in range(times):
                Memory(dst + (at + step * i + t) * size, 1, dtype)[0] = value

    return repeat


def masked_row(words: Words) -> Callable[..., None]:
    """As `npool.cpu.windows.masked_row`."""

    def fold(
        dst: int, cap: int, at: int, src: int, o0: int, o1: int, o2: int, o3: int, masks: int,
        bit: int, taps: int, fresh: bool, n: int,
    ) -> None:  # fmt: skip
        into, inside = _Scratch(words, dst, cap, at), Memory(masks, n, np.dtype(np.uint8))
        offsets = (o0, o1, o2, o3)[:taps]
        for i in range(n):
            values = [
                _Scratch(words, src, cap, o)[i] if inside[i] >> (bit + k) & 1 else words.identity
                for k, o in enumerate(offsets)
            ]
            value = _tree(words, values)
            into[i] = value if fresh else words.combine(into[i], value)

    return fold


def whole_rows(words: Words, vector: Callable[..., Any]) -> Callable[..., None]:
    """As `npool.cpu.vectors.whole_rows`, element by element."""

    def fold(dst: int, cap: int, src: int, o: int, stride: int, n: int, m: int) -> None:
        for r in range(m):
            memory = Memory(src + (o + r * stride) * words.source.itemsize, n, words.source)
            value = words.identity
            for i in range(n):
                value = words.combine(value, (memory[i],))
            _Scratch(words, dst, cap, r)[0] = value

    return fold
