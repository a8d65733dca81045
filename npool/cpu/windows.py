"""Loops over elements of small windows, as LLVM IR: up to eight rows, up to eight taps of a row.

Where the taps lie is in tables of int64 at the addresses `offsets` and `places`. One pass over all
taps of a window: in passes of four, seven rows were read and partly written twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from npool.cpu.access import ask
from npool.cpu.emit import Emitter, kind_of, tuple_of, word
from npool.cpu.parts import Words
from npool.cpu.tiling import TALL

__all__ = [
    "finish_taps", "fold_pair", "fold_taps", "masked_row", "tall_rows",
]  # fmt: skip

_I64 = ir.IntType(64)


def _lifted(
    e: Emitter, src: Any, offsets: Any, shift: Any, taps: int, cols: Any, places: Any, more: Any,
    params: Any,
) -> Any:  # fmt: skip
    """``element(k, i)``: the accumulator of the `i`-th element of the `k`-th row of the source."""
    words = e.words
    bases = [e.row(src, offsets, shift, k) for k in range(taps)]
    if words.placed:
        place = words.held[-1]
        kind_of_place = e.context.get_data_type(kind_of(place))
        begins = [
            e.b.trunc(at, kind_of_place) if place.itemsize < 8 else at
            for at in (e.b.add(e.table(places, k), more) for k in range(taps))
        ]

    def element(k: int, i: Any) -> Any:
        value = e.load(bases[k], i, words.source)
        given = (kind_of(words.source), params[0])
        kind, lifted = e.call(words.lift, given, (value, params[1]))
        if words.placed:
            column = e.load(cols, i, place)
            kind = types.Tuple((kind[0], kind_of(place)))
            at = e.b.add(begins[k], column)
            lifted = e.context.make_tuple(e.b, kind, [e.b.extract_value(lifted, 0), at])
        return e.held(kind, lifted)

    return element


def _prefetched(
    e: Emitter, src: Any, offsets: Any, shift: Any, taps: int, asked: Any, n: Any, *more: Any
) -> None:
    """Ask for `n` elements, `shift` behind the rows of the taps whose bits are in `asked`.

    With `more`, so many elements further on as well.
    """
    size = e.b.mul(n, _I64(e.words.source.itemsize))
    for k in range(taps):
        bit = e.b.and_(asked, _I64(1 << k))
        with e.b.if_then(e.b.icmp_signed("!=", bit, _I64(0))):
            for further in (_I64(0), *more):
                ask(e.b, e.row(src, offsets, e.b.add(shift, further), k), size)


def fold_taps(words: Words, most: int) -> Any:
    """``d[i] = fold(s0[i], s1[i], ...)`` over one to `most` rows of the source, `m` times.

    They start `shift` behind `offsets`, in places `more` behind `places`, and each next time
    `stride` and `climb` further on; `cols` holds what each column adds to a place. What the taps
    `asked` for see `far` further on is prefetched.
    """

    def emit(
        e: Emitter, dst: Any, cap: Any, at: Any, pitch: Any, src: Any, offsets: Any, shift: Any,
        stride: Any, cols: Any, places: Any, more: Any, climb: Any, far: Any, asked: Any,
        params: Any, taps: Any, n: Any, m: Any,
    ) -> None:  # fmt: skip
        numbers = e.params(params)

        def rows(count: int) -> None:
            def row(r: Any) -> None:
                s = e.b.add(shift, e.b.mul(r, stride))
                p = e.b.add(more, e.b.mul(r, climb))
                into = e.parts(dst, cap, e.b.add(at, e.b.mul(r, pitch)))
                _prefetched(e, src, offsets, e.b.add(s, far), count, asked, n)
                element = _lifted(e, src, offsets, s, count, cols, places, p, numbers)
                e.loop(n, lambda i: e.put(into, i, e.tree([element(k, i) for k in range(count)])))

            e.each(m, row)

        e.choose(taps, rows, most)

    names = "dst cap at pitch src offsets shift stride cols places more climb far asked params taps"
    return word(words, f"{names} n m", emit)


def fold_pair(words: Words, most: int) -> Any:
    """`fold_taps` of two rows at a time, `m` times, without positions.

    The second sees what the first does one row further on: all rows but one are common to both
    and folded once.
    """

    def emit(
        e: Emitter, dst: Any, cap: Any, at: Any, pitch: Any, src: Any, offsets: Any, shift: Any,
        stride: Any, far: Any, asked: Any, params: Any, taps: Any, n: Any, m: Any,
    ) -> None:  # fmt: skip
        if words.placed:
            return
        numbers = e.params(params)

        def rows(count: int) -> None:
            further = e.b.add(offsets, _I64(8 * (count - 1)))

            def pair(r: Any) -> None:
                s = e.b.add(shift, e.b.mul(e.b.mul(r, _I64(2)), stride))
                d = e.b.add(at, e.b.mul(e.b.mul(r, _I64(2)), pitch))
                first, second = e.parts(dst, cap, d), e.parts(dst, cap, e.b.add(d, pitch))
                _prefetched(e, src, offsets, e.b.add(s, far), count, asked, n, stride)
                element = _lifted(e, src, offsets, s, count, None, None, None, numbers)
                last = e.b.add(s, stride)
                beyond = _lifted(e, src, further, last, 1, None, None, None, numbers)

                def body(i: Any) -> None:
                    above, values = element(0, i), [element(k, i) for k in range(1, count)]
                    below = beyond(0, i)
                    if values:
                        common = e.tree(values)
                        above, below = e.combine(above, common), e.combine(common, below)
                    e.put(first, i, above)
                    e.put(second, i, below)

                e.loop(n, body)

            e.each(m, pair)

        e.choose(taps, rows, most)

    names = "dst cap at pitch src offsets shift stride far asked params taps n m"
    return word(words, names, emit)


def finish_taps(words: Words, most: int) -> Any:
    """``out[i * across] = finish(fold(a[i * step + o] for o in offsets))``, 1 to `most` taps.

    `m` times, each next time `lift` further on in the results and `pitch` in scratch.
    """

    def emit(
        e: Emitter, out: Any, positions: Any, to: Any, across: Any, lift: Any, src: Any, cap: Any,
        start: Any, step: Any, pitch: Any, offsets: Any, taps: Any, n: Any, m: Any, count: Any,
        params: Any,
    ) -> None:  # fmt: skip
        one = _I64(1)
        unit = e.b.and_(e.b.icmp_signed("==", across, one), e.b.icmp_signed("==", step, one))

        def rows(taps: int) -> None:
            def each(vector: bool) -> None:
                def row(r: Any) -> None:
                    target = e.b.add(to, e.b.mul(r, lift))
                    finished = e.finisher(out, positions, target, count, params)
                    at = e.b.add(start, e.b.mul(r, pitch))
                    bases = [
                        e.parts(src, cap, e.b.add(at, e.table(offsets, k))) for k in range(taps)
                    ]

                    def value(i: Any) -> Any:
                        return e.tree([e.take(base, i) for base in bases])

                    def apart(i: Any) -> None:
                        finished(e.b.mul(i, across), value(e.b.mul(i, step)))

                    if vector:
                        e.loop(n, lambda i: finished(i, value(i)))
                    else:
                        e.loop(n, apart, vector=False)

                e.each(m, row)

            with e.b.if_else(unit) as (together, scattered):
                with together:
                    each(True)
                with scattered:
                    each(False)

        e.choose(taps, rows, most)

    names = "out positions to across lift src cap start step pitch offsets taps n m count params"
    return word(words, names, emit)


def tall_rows(words: Words, rest: int, blocks: bool) -> Any:
    """Windows of `TALL` rows of results from rows of scratch: see `npool.cpu.van_herk`.

    The heads lie `shift` behind what `rows` says, and the tails behind what it says next. Each
    window is what it sees of the `TALL` heads, a suffix; the whole blocks after those, the row at
    `suffix` and what is folded at `run` (if there are `blocks`); and what it sees of the tails, of
    which the `rest` before are folded at `more`. The last of the blocks that are whole by then
    takes the place of `suffix`, and joins `run`.
    """

    def emit(
        e: Emitter, dst: Any, cap: Any, at: Any, pitch: Any, kept: Any, suffix: Any, run: Any,
        more: Any, rows: Any, shift: Any, n: Any,
    ) -> None:  # fmt: skip
        into = _rows_of(e, dst, cap, at, pitch, TALL)
        heads, tails = (
            [e.parts(kept, cap, e.b.add(e.table(rows, first + k), shift)) for k in range(TALL)]
            for first in (0, TALL)
        )
        behind, running, begun = (e.parts(kept, cap, o) for o in (suffix, run, more))

        def body(i: Any) -> None:
            folded = e.combine(e.take(behind, i), e.take(running, i)) if blocks else None
            suffixes: list[Any] = []
            for head in reversed(heads):
                value = e.take(head, i)
                folded = value if folded is None else e.combine(value, folded)
                suffixes.insert(0, folded)
            so_far, following = e.take(begun, i) if rest else None, None
            for k, tail in enumerate(tails):
                value = e.take(tail, i)
                so_far = value if so_far is None else e.combine(so_far, value)
                if k + rest >= TALL:
                    following = value if following is None else e.combine(following, value)
                e.put(into[k], i, e.combine(suffixes[k], so_far))
                if blocks and k + rest == TALL - 1:
                    e.put(behind, i, so_far)
                    e.put(running, i, e.combine(e.take(running, i), so_far))
            if rest:
                e.put(begun, i, following)

        e.loop(n, body, interleaved=1)

    return word(words, "dst cap at pitch kept suffix run more rows shift n", emit)


def _rows_of(e: Emitter, base: Any, cap: Any, at: Any, pitch: Any, count: int) -> list[Any]:
    """Addresses of rows of scratch that lie `pitch` apart."""
    return [e.parts(base, cap, e.b.add(at, e.b.mul(_I64(k), pitch))) for k in range(count)]


def masked_row(words: Words) -> Any:
    """`fold_row` of scratch, where bit ``bit + k`` of ``masks[i]`` says whether tap `k` counts."""

    def emit(
        e: Emitter, dst: Any, cap: Any, at: Any, src: Any, o0: Any, o1: Any, o2: Any, o3: Any,
        masks: Any, bit: Any, taps: Any, fresh: Any, n: Any,
    ) -> None:  # fmt: skip
        byte = ir.IntType(8)
        into, bases = e.parts(dst, cap, at), [e.parts(src, cap, o) for o in (o0, o1, o2, o3)]
        bits = [e.b.shl(byte(1 << k), e.b.trunc(bit, byte)) for k in range(4)]
        blank = [
            e.context.get_constant(kind_of(part), value.item())
            for part, value in zip(words.held, words.identity, strict=True)
        ]

        def element(k: int, i: Any, mask: Any) -> Any:
            inside = e.b.icmp_unsigned("!=", e.b.and_(mask, bits[k]), byte(0))
            values = [
                e.b.select(inside, e.load(at, i, part), other)
                for at, part, other in zip(bases[k], words.held, blank, strict=True)
            ]
            return e.context.make_tuple(e.b, tuple_of(words.held), values)

        def rows(count: int) -> None:
            def folded(i: Any) -> Any:
                mask = e.load(masks, i, np.dtype(np.uint8))
                return e.tree([element(k, i, mask) for k in range(count)])

            with e.b.if_else(fresh) as (anew, more):
                with anew:
                    e.loop(n, lambda i: e.put(into, i, folded(i)))
                with more:
                    e.loop(n, lambda i: e.put(into, i, e.combine(e.take(into, i), folded(i))))

        e.choose(taps, rows)

    return word(words, "dst cap at src o0 o1 o2 o3 masks bit taps fresh n", emit)
