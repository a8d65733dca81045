"""Vectors of windows as LLVM IR: which tap is the maximum, and gradients by the taps' numbers.

A tap's number is one byte, so what says which windows meant an element is one comparison of
sixteen bytes, and what adds their gradients one addition under its mask. `npool.cpu.taps` says
what the loops are for; everything here is `LANES` results, or elements, at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from npool.cpu.access import ask
from npool.cpu.emit import Emitter, word
from npool.cpu.vector_ir import BYTE, LANES, SEVERAL, Lanes

__all__ = ["fold_pixel", "fold_row", "hand_pixel", "hand_row"]

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def fold_pixel(dtype: np.dtype[Any], op: str) -> Any:
    """One window of `n` channels that lie together: the best of each, and its tap's number.

    ``op`` is how a better one compares. The window's first tap is at `at`, numbered `code`; taps
    of an axis are `zs`, `ys`, `xs` bytes apart, and their numbers `zk`, `yk`, 1. Not 0, `wide`
    says how many channels of a tap are read before the next one is, as memory is read fastest;
    what is best so far is then kept where it belongs, else in registers.
    """

    def emit(
        e: Emitter, at: Any, zn: Any, zs: Any, yn: Any, ys: Any, xn: Any, xs: Any, code: Any,
        zk: Any, yk: Any, out: Any, taps: Any, n: Any, wide: Any,
    ) -> None:  # fmt: skip
        v, b = Lanes(e, dtype), e.b
        counts, steps, codes_ = (zn, yn, xn), (zs, ys, xs), (zk, yk, _I64(1))

        def channels(c: Any, count: int, mask: Any = None, span: Any = None) -> None:
            base = b.add(at, v.size(c))
            far = [v.size(_I64(u * LANES)) for u in range(count)]
            best = [v.room(v.floats, v.elements(b.add(base, f), mask, span)) for f in far]
            codes = [v.room(v.codes, v.code(code)) for _ in far]

            def tap(place: Any, number: Any) -> None:
                known = v.code(number)
                for u, f in enumerate(far):
                    value = v.elements(b.add(place, f), mask, span)
                    wins = v.better(value, b.load(best[u]), op)
                    b.store(b.select(wins, value, b.load(best[u])), best[u])
                    b.store(b.select(wins, known, b.load(codes[u])), codes[u])

            v.taps(counts, steps, codes_, base, code, tap)
            for u, f in enumerate(far):
                v.put(b.load(best[u]), b.add(b.add(out, v.size(c)), f), mask, span)
                to = b.add(b.add(taps, c), _I64(u * LANES))
                v.store(b.load(codes[u]), to, BYTE, mask, span)

        def stretch(first: Any) -> None:
            """The channels from `first` on, `wide` of them: every tap in turn."""
            last = v.least(b.add(first, wide), n)

            def begin(c: Any, mask: Any = None, span: Any = None) -> None:
                v.put(v.elements(b.add(at, v.size(c)), mask, span), b.add(out, v.size(c)), mask,
                      span)  # fmt: skip
                v.store(v.code(code), b.add(taps, c), BYTE, mask, span)

            def tap(place: Any, number: Any) -> None:
                known = v.code(number)

                def compare(c: Any, mask: Any = None, span: Any = None) -> None:
                    to, numbers = b.add(out, v.size(c)), b.add(taps, c)
                    value = v.elements(b.add(place, v.size(c)), mask, span)
                    best = v.elements(to, mask, span)
                    wins = v.better(value, best, op)
                    v.put(b.select(wins, value, best), to, mask, span)
                    codes = v.load(numbers, v.codes, BYTE, mask, span)
                    v.store(b.select(wins, known, codes), numbers, BYTE, mask, span)

                def several(c: Any) -> None:
                    for u in range(SEVERAL):
                        compare(b.add(c, _I64(u * LANES)))

                c = v.steps(first, last, SEVERAL * LANES, several)
                v.along(c, last, compare)

            v.along(first, last, begin)
            v.taps(counts, steps, codes_, at, code, tap)

        with b.if_else(b.icmp_signed("!=", wide, _I64(0))) as (by_taps, by_channels):
            with by_taps:
                parts = b.sdiv(b.add(n, b.sub(wide, _I64(1))), wide)
                v.loop(parts, lambda i: stretch(b.mul(i, wide)))
            with by_channels:
                c = v.steps(_I64(0), n, SEVERAL * LANES, lambda c: channels(c, SEVERAL))
                v.along(c, n, lambda c, mask=None, span=None: channels(c, 1, mask, span))

    return word(None, "at zn zs yn ys xn xs code zk yk out taps n wide", emit)


def fold_row(dtype: np.dtype[Any], op: str, step: int) -> Any:
    """Windows `first` up to `last` of a row, `step` elements apart: best elements, their taps.

    The row of the window's first tap starts at `at` and has `width` elements; window `o` begins
    at element ``o * step - before`` and has `xn` taps `xd` elements apart, those inside the row.
    The other arguments are as for `fold_pixel`; `out` and `taps` are where the row's go. From
    `ahead` on, `each` bytes a window are asked for, which windows to come will read, and as many
    in each of `slices`.
    """

    def emit(
        e: Emitter, at: Any, zn: Any, zs: Any, yn: Any, ys: Any, xn: Any, xd: Any, before: Any,
        width: Any, code: Any, zk: Any, yk: Any, out: Any, taps: Any, first: Any, last: Any,
        ahead: Any, each: Any, slices: Any,
    ) -> None:  # fmt: skip
        v, b = Lanes(e, dtype, step), e.b
        steps, codes, counts = (zs, ys, v.size(xd)), (zk, yk, _I64(1)), (zn, yn, xn)
        wide = LANES * step

        def begin(o: Any) -> Any:
            """The element of the row that window `o` begins at."""
            return b.sub(b.mul(o, _I64(step)), before)

        def wait_for(o: Any) -> None:
            at = b.add(ahead, b.mul(o, each))
            v.loop(slices, lambda i: ask(b, b.add(at, b.mul(i, zs)), b.mul(_I64(LANES), each)))

        def inside(os: list[Any]) -> None:
            base = [b.add(at, v.size(b.add(begin(os[0]), _I64(u * wide)))) for u in range(len(os))]
            best = [v.room(v.floats, v.elements(place)) for place in base]
            numbers = [v.room(v.codes, v.code(code)) for _ in os]

            def tap(far: Any, number: Any) -> None:
                known = v.code(number)
                for place, one, tapped in zip(base, best, numbers, strict=True):
                    value = v.elements(b.add(place, far))
                    wins = v.better(value, b.load(one), op)
                    b.store(b.select(wins, value, b.load(one)), one)
                    b.store(b.select(wins, known, b.load(tapped)), tapped)

            v.taps(counts, steps, codes, _I64(0), code, tap)
            for o, one, tapped in zip(os, best, numbers, strict=True):
                v.put(b.load(one), b.add(out, v.size(o)))
                v.store(b.load(tapped), b.add(taps, o), BYTE)

        def edge(os: list[Any]) -> None:
            best = [v.room(v.floats, ir.Constant(v.floats, [0.0] * LANES)) for _ in os]
            numbers = [v.room(v.codes, ir.Constant(v.codes, [0] * LANES)) for _ in os]
            seen = [v.room(v.flags, ir.Constant(v.flags, [0] * LANES)) for _ in os]

            def rows(far: Any, number: Any) -> None:
                v.loop(xn, lambda k: column(far, number, k))

            def column(far: Any, number: Any, k: Any) -> None:
                known = v.code(b.add(number, k))
                for o, one, tapped, met in zip(os, best, numbers, seen, strict=True):
                    first_of = b.add(begin(o), b.mul(k, xd))
                    mask = v.below(first_of, width, wide)
                    span = (b.neg(first_of), b.sub(width, first_of))
                    valid = mask if step == 1 else v.below(first_of, width, LANES, step)
                    place = b.add(b.add(at, far), v.size(first_of))
                    value = v.elements(place, mask, span)
                    wins = v.better(value, b.load(one), op)
                    wins = b.and_(b.or_(wins, b.not_(b.load(met))), valid)
                    b.store(b.or_(b.load(met), valid), met)
                    b.store(b.select(wins, value, b.load(one)), one)
                    b.store(b.select(wins, known, b.load(tapped)), tapped)

            v.taps(counts[:2], steps[:2], codes[:2], _I64(0), code, rows)
            for o, one, tapped in zip(os, best, numbers, strict=True):
                left = b.sub(last, o)
                mask, span = v.below(_I64(0), left), (_I64(0), left)
                v.put(b.load(one), b.add(out, v.size(o)), mask, span)
                v.store(b.load(tapped), b.add(taps, o), BYTE, mask, span)

        def some(os: list[Any], within: bool) -> None:
            for o in os:
                wait_for(o)
            (inside if within else edge)(os)

        reach = b.add(b.mul(b.sub(xn, _I64(1)), xd), _I64(wide))

        def fits(o: Any) -> Any:
            """Whether a vector of windows from `o` on lies in the row, as it is loaded."""
            start, ends = begin(o), b.add(o, _I64(LANES))
            in_row = b.and_(
                b.icmp_signed(">=", start, _I64(0)), b.icmp_signed("<=", b.add(start, reach), width)
            )
            return b.and_(in_row, b.icmp_signed("<=", ends, last))

        v.cover(first, last, fits, some, SEVERAL)

    return word(
        None,
        "at zn zs yn ys xn xd before width code zk yk out taps first last ahead each slices",
        emit,
    )


def _pairs(
    v: Lanes, lists: Any, counts: Any, rows: Any, codes: Any, body: Callable[[Any, Any], None]
) -> None:
    """``body(window, code)`` for the windows that see an element, in their order.

    Of each axis, a list of pairs: a window, and the number of its tap that is the element.
    """
    b = v.b

    def nest(level: int, window: Any, code: Any) -> None:
        if level == len(lists):
            body(window, code)
            return

        def inner(i: Any) -> None:
            entry = b.mul(i, _I64(16))
            table = b.inttoptr(b.add(lists[level], entry), _I64.as_pointer())
            o = b.load(table)
            k = b.load(b.gep(table, [_I64(1)]))
            nest(
                level + 1, b.add(b.mul(window, rows[level]), o),
                b.add(code, b.mul(k, codes[level])),
            )  # fmt: skip

        v.loop(counts[level], inner)

    nest(0, _I64(0), _I64(0))


def hand_pixel(dtype: np.dtype[Any]) -> Any:
    """The gradients of `n` channels of an element: of each window that meant it, in their order.

    `zl`, `yl`, `xl` are lists of `zc`, `yc`, `xc` pairs; there are `yo` and `xo` windows along
    the last two axes, `pitch` elements apart, of whose taps' numbers an axis counts `zk`, `yk`
    and 1.
    """

    def emit(
        e: Emitter, grads: Any, taps: Any, zl: Any, zc: Any, yl: Any, yc: Any, xl: Any, xc: Any,
        yo: Any, xo: Any, zk: Any, yk: Any, out: Any, n: Any, pitch: Any,
    ) -> None:  # fmt: skip
        v, b = Lanes(e, dtype), e.b
        nothing = ir.Constant(v.floats, [0.0] * LANES)

        def channels(c: Any, count: int, mask: Any = None, span: Any = None) -> None:
            sums = [v.room(v.floats, nothing) for _ in range(count)]

            def window(o: Any, code: Any) -> None:
                known, at = v.code(code), b.add(b.mul(o, pitch), c)
                for u, total in enumerate(sums):
                    to = b.add(at, _I64(u * LANES))
                    found = v.load(b.add(taps, to), v.codes, BYTE, mask, span)
                    means = b.icmp_unsigned("==", found, known)
                    value = v.elements(b.add(grads, v.size(to)), mask, span)
                    b.store(b.select(means, b.fadd(b.load(total), value), b.load(total)), total)

            _pairs(v, (zl, yl, xl), (zc, yc, xc), (yo, yo, xo), (zk, yk, _I64(1)), window)
            for u, total in enumerate(sums):
                to = v.size(b.add(c, _I64(u * LANES)))
                v.put(b.load(total), b.add(out, to), mask, span)

        c = v.steps(_I64(0), n, SEVERAL * LANES, lambda c: channels(c, SEVERAL))
        v.along(c, n, lambda c, mask=None, span=None: channels(c, 1, mask, span))

    return word(None, "grads taps zl zc yl yc xl xc yo xo zk yk out n pitch", emit)


def hand_row(dtype: np.dtype[Any], step: int) -> Any:
    """The gradients of elements `first` up to `last` of a row, of windows `step` apart along it.

    Element ``j * step + r`` lies in the windows ``j + shift`` as the tap `k`: `phases` has, for
    each `r`, where its pairs of `shift` and `k` are, and how many. `least` and `most` are the
    ends of all shifts; `first` is a multiple of `step`. Gradients from `ahead` on, and taps from
    `beyond` on, are asked for, which elements to come will read. Not 0, `past` says that rows
    are written past the caches.
    """

    def emit(
        e: Emitter, grads: Any, taps: Any, zl: Any, zc: Any, yl: Any, yc: Any, phases: Any,
        least: Any, most: Any, yo: Any, xo: Any, zk: Any, yk: Any, out: Any, first: Any, last: Any,
        past: Any, ahead: Any, beyond: Any,
    ) -> None:  # fmt: skip
        v, b = Lanes(e, dtype), e.b
        wide = LANES * step
        nothing = ir.Constant(v.floats, [0.0] * LANES)
        many = SEVERAL if step == 1 else 2
        sums = [[v.room(v.floats) for _ in range(step)] for _ in range(many)]
        table = [
            [b.load(b.inttoptr(b.add(phases, _I64(16 * r + 8 * i)), _I64.as_pointer()))
             for i in (0, 1)]
            for r in range(step)
        ]  # fmt: skip

        def add(js: list[Any], inside: bool) -> None:
            for each in sums[: len(js)]:
                for total in each:
                    b.store(nothing, total)

            def row(o: Any, code: Any) -> None:
                begin = b.mul(o, xo)
                for r, (pairs, count) in enumerate(table):

                    def pair(i: Any, r: int = r, pairs: Any = pairs) -> None:
                        entry = b.inttoptr(b.add(pairs, b.mul(i, _I64(16))), _I64.as_pointer())
                        shift = b.load(entry)
                        known = v.code(b.add(code, b.load(b.gep(entry, [_I64(1)]))))
                        for u, each in enumerate(sums[: len(js)]):
                            x = b.add(js[u], shift)
                            if inside:  # an address, and a constant
                                x = b.add(b.add(js[0], shift), _I64(u * LANES))
                            mask = span = None
                            if not inside:
                                mask = v.below(x, xo)
                                span = (b.neg(x), b.sub(xo, x))
                            to = b.add(begin, x)
                            found = v.load(b.add(taps, to), v.codes, BYTE, mask, span)
                            means = b.icmp_unsigned("==", found, known)
                            if mask is not None:
                                means = b.and_(means, mask)
                            value = v.elements(b.add(grads, v.size(to)), mask, span)
                            total = b.load(each[r])
                            b.store(b.select(means, b.fadd(total, value), total), each[r])

                    v.loop(count, pair)

            _pairs(v, (zl, yl), (zc, yc), (yo, yo), (zk, yk), row)

        def side_by_side(u: int) -> Any:
            parts = [v.encoded(b.load(total)) for total in sums[u]]
            while len(parts) > 1:
                # Neighbours first, then pairs of them: lanes go to where they belong at the end.
                joined = []
                for i in range(0, len(parts) - 1, 2):
                    size = parts[i].type.count
                    joined.append(v.pick(parts[i], range(2 * size), parts[i + 1]))
                if len(parts) % 2:
                    size = joined[0].type.count if joined else parts[-1].type.count
                    joined.append(v.pick(parts[-1], [*range(LANES)] + [0] * (size - LANES)))
                parts = joined
            order = [lane % step * LANES + lane // step for lane in range(wide)]
            return v.pick(parts[0], order)

        def write(j: Any, u: int) -> None:
            x = b.mul(j, _I64(step))
            to, left = b.add(out, v.size(x)), b.sub(last, x)
            value = side_by_side(u)
            on_line = b.icmp_unsigned("==", b.and_(to, _I64(63)), _I64(0))
            with b.if_else(b.icmp_signed(">=", left, _I64(wide))) as (whole, part):
                with whole:
                    far = b.and_(b.icmp_signed("!=", past, _I64(0)), on_line)
                    with b.if_else(far) as (beyond_caches, near):
                        with beyond_caches:
                            v.check(to, dtype, wide, None)
                            hint = b.module.add_metadata([ir.Constant(_I32, 1)])
                            place = b.inttoptr(to, value.type.as_pointer())
                            b.store(value, place, align=64).set_metadata("nontemporal", hint)
                        with near:
                            v.store(value, to, dtype)
                with part, b.if_then(b.icmp_signed(">", left, _I64(0))):
                    v.store(value, to, dtype, v.below(_I64(0), left, wide), (_I64(0), left))

        def some(js: list[Any], within: bool) -> None:
            for j in js:
                ask(b, b.add(ahead, v.size(j)), v.size(_I64(LANES)))
                ask(b, b.add(beyond, j), _I64(LANES))
            add(js, within)
            for u, j in enumerate(js):
                write(j, u)

        def fits(j: Any) -> Any:
            starts = b.icmp_signed(">=", b.add(j, least), _I64(0))
            ends = b.add(b.add(j, most), _I64(LANES))
            return b.and_(starts, b.icmp_signed("<=", ends, xo))

        end = b.sdiv(b.add(last, _I64(step - 1)), _I64(step))
        v.cover(b.sdiv(first, _I64(step)), end, fits, some, many)

    return word(
        None,
        "grads taps zl zc yl yc phases least most yo xo zk yk out first last past ahead beyond",
        emit,
    )
