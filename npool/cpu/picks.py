"""Loops over elements for bins: folded from rows far apart, finished by divisors of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from npool.cpu.emit import Emitter, kind_of, word
from npool.cpu.parts import Words

__all__ = ["finish_each", "pick_row"]

_I64 = ir.IntType(64)


def pick_row(words: Words) -> Any:
    """``d[i * across] = fold(s[o0 + i * pitch], ..., s[o3 + i * pitch])``, one to four taps.

    Not `fresh`, with ``d[i * across]`` too.
    """

    def emit(
        e: Emitter, dst: Any, cap: Any, at: Any, across: Any, src: Any, o0: Any, o1: Any, o2: Any,
        o3: Any, pitch: Any, taps: Any, fresh: Any, n: Any,
    ) -> None:  # fmt: skip
        into, bases = e.parts(dst, cap, at), [e.parts(src, cap, o) for o in (o0, o1, o2, o3)]

        def rows(count: int) -> None:
            def folded(i: Any, anew: bool) -> None:
                j, to = e.b.mul(i, pitch), e.b.mul(i, across)
                value = e.tree([e.take(bases[k], j) for k in range(count)])
                e.put(into, to, value if anew else e.combine(e.take(into, to), value))

            with e.b.if_else(fresh) as (anew, more):
                with anew:
                    e.loop(n, lambda i: folded(i, True), vector=False)
                with more:
                    e.loop(n, lambda i: folded(i, False), vector=False)

        e.choose(taps, rows)

    return word(words, "dst cap at across src o0 o1 o2 o3 pitch taps fresh n", emit)


def finish_each(words: Words) -> Any:
    """``out[i * across] = finish(a[i * step], counts[i * each] * above)``."""

    def emit(
        e: Emitter, out: Any, positions: Any, to: Any, across: Any, src: Any, cap: Any, start: Any,
        step: Any, n: Any, counts: Any, each: Any, above: Any, params: Any,
    ) -> None:  # fmt: skip
        b, numbers = e.b, e.params(params)
        held = types.BaseTuple.from_types(tuple(map(kind_of, words.held)))
        given = (held, kind_of(words.counted), numbers[0])
        base = e.parts(src, cap, start)
        targets = [
            b.add(at, b.mul(to, _I64(dtype.itemsize)))
            for at, dtype in zip((out, positions), words.results, strict=False)
        ]

        def finished(i: Any, j: Any, k: Any, at: Any) -> None:
            taps = b.mul(e.load(counts, at, np.dtype(np.int64)), above)
            total = e.cast(types.int64, taps, kind_of(words.counted))
            kind, results = e.call(words.finish, given, (e.take(base, j), total, numbers[1]))
            for place, (target, dtype) in enumerate(zip(targets, words.results, strict=True)):
                value = e.cast(kind[place], b.extract_value(results, place), kind_of(dtype))
                e.store(target, k, dtype, value)

        together = b.icmp_signed("==", b.or_(b.or_(step, across), each), _I64(1))
        with b.if_else(together) as (unit, apart):
            with unit:
                e.loop(n, lambda i: finished(i, i, i, i))
            with apart:
                e.loop(
                    n,
                    lambda i: finished(i, b.mul(i, step), b.mul(i, across), b.mul(i, each)),
                    vector=False,
                )

    return word(
        words, "out positions to across src cap start step n counts each above params", emit
    )
