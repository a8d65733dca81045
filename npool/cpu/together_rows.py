"""Vectors of windows over channels that lie together as LLVM IR, a tap at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from npool.cpu.emit import Emitter, word
from npool.cpu.tapping import WIDE
from npool.cpu.vector_ir import LANES, SEVERAL, Lanes

__all__ = ["fold_values"]

_I64 = ir.IntType(64)


def fold_values(dtype: np.dtype[Any], op: str) -> Any:
    """One window of `n` channels that lie together, `wide` of them at a time: values alone.

    The arguments are those of `npool.cpu.tap_rows.fold_pixel`, which numbers taps as well.

    ``op`` is ``+`` or how a better one compares. Sums are divided by `code`, or by the number of
    taps where that is 0. A row's taps are added up by themselves, so that few roundings meet.
    """

    def emit(
        e: Emitter, at: Any, zn: Any, zs: Any, yn: Any, ys: Any, xn: Any, xs: Any, code: Any,
        zk: Any, yk: Any, out: Any, taps: Any, n: Any, wide: Any,
    ) -> None:  # fmt: skip
        v, b = Lanes(e, dtype), e.b
        if op == "+":
            room = ir.ArrayType(v.kind, WIDE + LANES)
            line = b.ptrtoint(cgutils.alloca_once(b, room), _I64)

        def joined(one: Any, other: Any) -> Any:
            return b.select(v.better(other, one, op), other, one)

        def each(first: Any, last: Any, body: Callable[..., None]) -> None:
            """``body(c)`` of vectors of channels; of a part of one with its mask and span."""

            def several(c: Any) -> None:
                for u in range(SEVERAL):
                    body(b.add(c, _I64(u * LANES)))

            c = v.steps(first, last, SEVERAL * LANES, several)
            v.along(c, last, body)

        def best(place: Any, first: Any, last: Any) -> None:
            def some(c: Any, mask: Any = None, span: Any = None) -> None:
                to, far = b.add(out, v.size(c)), v.size(c)
                value = v.elements(b.add(place, far), mask, span)
                v.put(joined(v.elements(to, mask, span), value), to, mask, span)

            each(first, last, some)

        def added(place: Any, first: Any, last: Any, fresh: bool) -> None:
            """A tap of a row, onto those before it."""

            def some(c: Any, mask: Any = None, span: Any = None) -> None:
                at = b.inttoptr(b.add(line, v.size(b.sub(c, first))), v.floats.as_pointer())
                value = v.elements(b.add(place, v.size(c)), mask, span)
                if not fresh:
                    value = b.fadd(b.load(at, align=dtype.itemsize), value)
                b.store(value, at, align=dtype.itemsize)

            each(first, last, some)

        def row(place: Any, first: Any, last: Any) -> None:
            if op != "+":
                v.loop(xn, lambda k: best(b.add(place, b.mul(k, xs)), first, last))
                return
            added(place, first, last, True)
            rest = b.add(place, xs)
            v.loop(
                b.sub(xn, _I64(1)), lambda k: added(b.add(rest, b.mul(k, xs)), first, last, False)
            )

            def onto(c: Any, mask: Any = None, span: Any = None) -> None:
                at = b.inttoptr(b.add(line, v.size(b.sub(c, first))), v.floats.as_pointer())
                to = b.add(out, v.size(c))
                total = b.fadd(v.elements(to, mask, span), b.load(at, align=dtype.itemsize))
                v.put(total, to, mask, span)

            each(first, last, onto)

        def begin(first: Any, last: Any) -> None:
            nothing = ir.Constant(v.floats, [0.0] * LANES)

            def some(c: Any, mask: Any = None, span: Any = None) -> None:
                far = v.size(c)
                value = nothing if op == "+" else v.elements(b.add(at, far), mask, span)
                v.put(value, b.add(out, far), mask, span)

            each(first, last, some)

        def divide(first: Any, last: Any) -> None:
            product = b.mul(b.mul(zn, yn), xn)
            number = b.select(b.icmp_signed("==", code, _I64(0)), product, code)
            divisor = v.spread(b.sitofp(number, v.kind))

            def some(c: Any, mask: Any = None, span: Any = None) -> None:
                to = b.add(out, v.size(c))
                v.put(b.fdiv(v.elements(to, mask, span), divisor), to, mask, span)

            with b.if_then(b.icmp_signed("!=", number, _I64(1))):
                v.along(first, last, some)

        def stretch(first: Any) -> None:
            last = v.least(b.add(first, wide), n)
            begin(first, last)
            v.loop(
                zn,
                lambda i: v.loop(
                    yn, lambda j: row(b.add(at, b.add(b.mul(i, zs), b.mul(j, ys))), first, last)
                ),
            )
            if op == "+":
                divide(first, last)

        parts = b.sdiv(b.add(n, b.sub(wide, _I64(1))), wide)
        v.loop(parts, lambda i: stretch(b.mul(i, wide)))

    return word(None, "at zn zs yn ys xn xs code zk yk out taps n wide", emit)
