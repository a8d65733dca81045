"""Windows reduced in whole vectors, by words that combine vectors as they do scalars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from npool import scalars
from npool.cpu import bounds
from npool.cpu.access import ask_line
from npool.cpu.emit import Emitter, kind_of, word
from npool.cpu.parts import Words

__all__ = ["WIDE", "masked", "whole_rows", "wide_sum"]

_I64, _I32 = ir.IntType(64), ir.IntType(32)
#: How many bytes behind what is read are prefetched: a global 7×7 maximum took 1.1 ms without.
AHEAD = 1 << 12


def _wide_extreme(op: str) -> Callable[..., Any]:
    def combine(builder: Any, x: Any, y: Any) -> Any:
        kind = getattr(x.type, "element", x.type)
        integers = isinstance(kind, ir.IntType)
        compare = builder.icmp_signed if integers else builder.fcmp_ordered
        best = builder.select(compare(op, x, y), x, y)
        if integers:
            return best
        return builder.select(builder.fcmp_ordered("ord", x, x), best, x)

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


def whole_rows(words: Words, vector: Callable[..., Any]) -> Any:
    """``d[r] = fold(s[0], ..., s[n - 1])`` of `m` windows, each `stride` behind the one before.

    ``vector(builder, x, y)`` combines scalars and vectors alike. A window becomes one vector: in
    vectors of 64 bytes, four apart, what does not fill one under a mask. As many windows as a
    vector has lanes are then reduced at once, halves of pairs of them: 15 folds for 16 windows of
    float32, where a tree for each took 64 (docs/performance.md).
    """
    (dtype,) = words.held
    lanes = 64 // dtype.itemsize

    def emit(
        e: Emitter, dst: Any, cap: Any, src: Any, o: Any, stride: Any, n: Any, m: Any
    ) -> None:  # fmt: skip
        b = e.b
        kind = ir.VectorType(e.context.get_data_type(kind_of(dtype)), lanes)
        windows = cgutils.alloca_once(b, ir.ArrayType(kind, lanes))

        def slot(k: Any) -> Any:
            return b.gep(windows, [_I64(0), k])

        with cgutils.for_range_slice(b, _I64(0), m, _I64(lanes), _I64) as (begun, _):
            left = b.sub(m, begun)
            some = b.select(b.icmp_signed("<", left, _I64(lanes)), left, _I64(lanes))
            with cgutils.for_range(b, some, intp=_I64) as loop:
                at = b.add(o, b.mul(b.add(begun, loop.index), stride))
                b.store(_whole(e, vector, kind, src, at, n), slot(loop.index), align=64)
            rows = [b.load(slot(_I64(k)), align=64) for k in range(lanes)]
            while len(rows) > 1:
                rows = [
                    vector(b, *(_every_second(b, x, y, odd) for odd in (0, 1)))
                    for x, y in zip(rows[::2], rows[1::2], strict=True)
                ]
            place = e.parts(dst, cap, begun)[0]
            e.check(place, _I64(0), dtype, some)
            to = b.inttoptr(place, kind.as_pointer())
            masked(b, "store", kind, to, dtype, _first(b, some, lanes), rows[0])

    return word(words, "dst cap src o stride n m", emit)


def _every_second(b: Any, x: Any, y: Any, odd: int) -> Any:
    places = list(range(odd, 2 * x.type.count, 2))
    return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(_I32, x.type.count), places))


def _first(b: Any, n: Any, lanes: int) -> Any:
    """The mask of the first `n` of `lanes`."""
    flags = ir.VectorType(_I32, lanes)
    nothing = ir.Constant(flags, ir.Undefined)
    one = b.insert_element(nothing, b.trunc(n, _I32), _I32(0))
    spread = b.shuffle_vector(one, nothing, ir.Constant(flags, [0] * lanes))
    return b.icmp_signed("<", ir.Constant(flags, list(range(lanes))), spread)


def masked(
    b: Any, verb: str, kind: Any, place: Any, dtype: np.dtype[Any], mask: Any, value: Any
) -> Any:
    """Load or store a vector at `place` where `mask` says so; a load gives `value` elsewhere."""
    letter = "f" if dtype.kind == "f" else "i"
    name = f"llvm.masked.{verb}.v{kind.count}{letter}{8 * dtype.itemsize}.p0"
    align = _I32(dtype.itemsize)
    if verb == "load":
        given, returned = (place, align, mask, value), kind
    else:
        given, returned = (value, place, align, mask), ir.VoidType()
    signature = ir.FunctionType(returned, [v.type for v in given])
    function = cgutils.get_or_insert_function(b.module, signature, name)
    return b.call(function, given)


def _whole(e: Emitter, vector: Callable[..., Any], kind: Any, src: Any, o: Any, n: Any) -> Any:
    """The `n` elements from `o` on as one vector."""
    b, lanes, (dtype,) = e.b, kind.count, e.words.held
    one = e.context.get_constant(kind_of(dtype), e.words.identity[0].item())
    identity = ir.Constant(kind, [one] * lanes)
    base = e.place(src, o, dtype)

    def load(i: Any) -> Any:
        if bounds.CHECKED:
            e.check(src, b.add(o, i), dtype, _I64(lanes))
        place = b.gep(base, [i], inbounds=True)
        ask_line(b, b.add(b.ptrtoint(place, _I64), _I64(AHEAD)), 1)
        return b.load(b.bitcast(place, kind.as_pointer()), align=dtype.itemsize)

    def folded(first: Any, last: Any, step: int, start: list[Any]) -> list[Any]:
        before = b.block
        head, end = b.append_basic_block("vectors"), b.append_basic_block("summed")
        b.cbranch(b.icmp_signed("<", first, last), head, end)
        b.position_at_end(head)
        i = b.phi(_I64)
        sums = [b.phi(kind) for _ in start]
        more = [vector(b, total, load(b.add(i, _I64(k * lanes)))) for k, total in enumerate(sums)]
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
    # What fills no vector, one lane each; then vector by vector; then four apart, if there are.
    left = b.sub(n, whole)
    if bounds.CHECKED:
        e.check(src, b.add(o, whole), dtype, left)
    place = b.bitcast(b.gep(base, [whole], inbounds=True), kind.as_pointer())
    ask_line(b, b.add(b.ptrtoint(place, _I64), _I64(AHEAD)), 1)
    rest = masked(b, "load", kind, place, dtype, _first(b, left, lanes), identity)
    (total,) = folded(fours, whole, lanes, [rest])
    before = b.block
    with b.if_then(b.icmp_signed(">", fours, _I64(0))):
        sums = folded(_I64(0), fours, 4 * lanes, [identity] * 4)
        summed = vector(b, vector(b, sums[0], sums[1]), vector(b, sums[2], sums[3]))
        summed = vector(b, total, summed)
        after = b.block
    made = b.phi(kind)
    made.add_incoming(total, before)
    made.add_incoming(summed, after)
    return made
