"""Windows reduced in whole vectors, by words that combine vectors as they do scalars."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from npool import scalars
from npool.cpu import bounds
from npool.cpu.emit import Emitter, kind_of, word
from npool.cpu.parts import Words

__all__ = ["PLAIN", "WIDE", "whole_row", "wide_sum"]

_I64 = ir.IntType(64)


#: The same for elements of which none is NaN.
PLAIN: dict[Callable[..., Any], Callable[..., Any]] = {}


def _wide_extreme(op: str) -> Callable[..., Any]:
    def plain(builder: Any, x: Any, y: Any) -> Any:
        kind = getattr(x.type, "element", x.type)
        compare = builder.icmp_signed if isinstance(kind, ir.IntType) else builder.fcmp_ordered
        return builder.select(compare(op, x, y), x, y)

    def combine(builder: Any, x: Any, y: Any) -> Any:
        best = plain(builder, x, y)
        if isinstance(getattr(x.type, "element", x.type), ir.IntType):
            return best
        return builder.select(builder.fcmp_ordered("ord", x, x), best, x)

    PLAIN[combine] = plain
    return combine


def wide_sum(builder: Any, x: Any, y: Any) -> Any:
    """``x + y``, of scalars or vectors."""
    kind = getattr(x.type, "element", x.type)
    return builder.add(x, y) if isinstance(kind, ir.IntType) else builder.fadd(x, y)


#: Words that combine whole vectors, for signed integers and floats.
WIDE: dict[Any, Callable[..., Any]] = {
    scalars.maximum: _wide_extreme(">"),
    scalars.minimum: _wide_extreme("<"),
}


def whole_row(words: Words, vector: Callable[..., Any]) -> Any:
    """``d[at] = fold(s[0], ..., s[n - 1])``: in vectors of 64 bytes, four apart, then a tree.

    ``vector(builder, x, y)`` combines scalars and vectors alike. The elements that do not fill
    a vector are loaded under a mask, the identity elsewhere.
    """
    (dtype,) = words.held
    lanes = 64 // dtype.itemsize

    def emit(e: Emitter, dst: Any, cap: Any, at: Any, src: Any, o: Any, n: Any) -> None:
        b = e.b
        scalar = e.context.get_data_type(kind_of(dtype))
        kind = ir.VectorType(scalar, lanes)
        one = e.context.get_constant(kind_of(dtype), words.identity[0].item())
        identity = ir.Constant(kind, [one] * lanes)
        base = e.place(src, o, dtype)

        def load(i: Any) -> Any:
            if bounds.CHECKED:
                e.check(src, b.add(o, i), dtype, _I64(lanes))
            place = b.bitcast(b.gep(base, [i], inbounds=True), kind.as_pointer())
            return b.load(place, align=dtype.itemsize)

        def folded(first: Any, last: Any, step: int, start: list[Any]) -> list[Any]:
            before = b.block
            head, end = b.append_basic_block("vectors"), b.append_basic_block("summed")
            b.cbranch(b.icmp_signed("<", first, last), head, end)
            b.position_at_end(head)
            i = b.phi(_I64)
            sums = [b.phi(kind) for _ in start]
            more = [
                vector(b, total, load(b.add(i, _I64(k * lanes)))) for k, total in enumerate(sums)
            ]
            following = b.add(i, _I64(step))
            back = b.block  # not `head`, where accesses are checked
            i.add_incoming(first, before)
            i.add_incoming(following, back)
            for total, value, begun in zip(sums, more, start, strict=True):
                total.add_incoming(begun, before)
                total.add_incoming(value, back)
            b.cbranch(b.icmp_signed("<", following, last), head, end)
            b.position_at_end(end)
            found = []
            for value, begun in zip(more, start, strict=True):
                total = b.phi(kind)
                total.add_incoming(begun, before)
                total.add_incoming(value, back)
                found.append(total)
            return found

        fours = b.and_(n, _I64(-4 * lanes))
        whole = b.and_(n, _I64(-lanes))
        sums = folded(_I64(0), fours, 4 * lanes, [identity] * 4)
        total = vector(b, vector(b, sums[0], sums[1]), vector(b, sums[2], sums[3]))
        (total,) = folded(fours, whole, lanes, [total])
        # What is left, one lane each.
        left = b.trunc(b.sub(n, whole), ir.IntType(32))
        flags = ir.VectorType(ir.IntType(32), lanes)
        spread = b.shuffle_vector(
            b.insert_element(ir.Constant(flags, ir.Undefined), left, ir.IntType(32)(0)),
            ir.Constant(flags, ir.Undefined),
            ir.Constant(flags, [0] * lanes),
        )
        mask = b.icmp_signed("<", ir.Constant(flags, list(range(lanes))), spread)
        short = f"v{lanes}{'f' if dtype.kind == 'f' else 'i'}{8 * dtype.itemsize}"
        pointer = kind.as_pointer()
        function = cgutils.get_or_insert_function(
            b.module,
            ir.FunctionType(kind, [pointer, ir.IntType(32), mask.type, kind]),
            f"llvm.masked.load.{short}.p0",
        )
        place = b.bitcast(b.gep(base, [whole], inbounds=True), pointer)
        if bounds.CHECKED:
            e.check(src, b.add(o, whole), dtype, b.sub(n, whole))
        rest = b.call(function, [place, ir.IntType(32)(dtype.itemsize), mask, identity])
        total = vector(b, total, rest)
        # Extremes of floats look for NaN once, not at every step of the tree.
        step = vector
        if dtype.kind == "f" and vector in PLAIN:
            step = PLAIN[vector]
            bits = b.bitcast(b.fcmp_unordered("uno", total, total), ir.IntType(lanes))
            spoilt = b.icmp_unsigned("!=", bits, ir.IntType(lanes)(0))
        width = lanes
        while width > 1:
            width //= 2
            halves = [
                b.shuffle_vector(
                    total,
                    ir.Constant(total.type, ir.Undefined),
                    ir.Constant(
                        ir.VectorType(ir.IntType(32), width),
                        list(range(half * width, (half + 1) * width)),
                    ),
                )
                for half in (0, 1)
            ]
            total = step(b, *halves)
        value = b.extract_element(total, ir.IntType(32)(0))
        if step is not vector:
            value = b.select(spoilt, ir.Constant(scalar, math.nan), value)
        e.b.store(value, e.place(e.parts(dst, cap, at)[0], _I64(0), dtype))

    return word(words, "dst cap at src o n", emit)
