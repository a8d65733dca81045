"""Vectors of sixteen elements in LLVM IR: loaded and stored under masks, widened, compared.

`npool.cpu.tap_rows` and `npool.cpu.turn` are made of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from npool.cpu import bounds
from npool.cpu.emit import Emitter
from npool.cpu.values import spread

__all__ = ["BYTE", "LANES", "SEVERAL", "Lanes", "vector"]

LANES = 16
#: Vectors that a loop over taps folds, or adds to, at once.
SEVERAL = 4

_I1, _I8, _I16, _I32, _I64 = (ir.IntType(n) for n in (1, 8, 16, 32, 64))
BYTE = np.dtype(np.uint8)
_FLOATS = {"float16": ir.HalfType(), "float32": ir.FloatType(), "float64": ir.DoubleType()}


def vector(kind: Any, lanes: int = LANES) -> Any:
    """A type of so many lanes."""
    return ir.VectorType(kind, lanes)


class Lanes:
    """IR on vectors of one element type; half types are computed with in float32."""

    def __init__(self, e: Emitter, dtype: np.dtype[Any], step: int = 1) -> None:
        self.e, self.b, self.dtype, self.step = e, e.b, dtype, step
        self.half = dtype.itemsize == 2
        self.stored = _I16 if self.half else _FLOATS[dtype.name]
        self.kind = ir.FloatType() if self.half else self.stored
        self.floats, self.codes = vector(self.kind), vector(_I8)
        self.flags = vector(_I1)

    # --- constants and integers -------------------------------------------------------------------

    def spread(self, value: Any, lanes: int = LANES) -> Any:
        """A vector of one scalar."""
        return spread(self.b, value, lanes)

    def code(self, value: Any) -> Any:
        return self.spread(self.b.trunc(value, _I8))

    def below(self, first: Any, size: Any, lanes: int = LANES, apart: int = 1) -> Any:
        """Which of ``first, first + apart, ...`` are at least 0 and less than `size`."""
        b = self.b
        counts = ir.Constant(vector(_I32, lanes), [apart * lane for lane in range(lanes)])
        at = b.add(self.spread(b.trunc(first, _I32), lanes), counts)
        return b.icmp_unsigned("<", at, self.spread(b.trunc(size, _I32), lanes))

    def room(self, kind: Any, value: Any = None) -> Any:
        """A variable; a register, once LLVM has looked at it."""
        place = cgutils.alloca_once(self.b, kind)
        if value is not None:
            self.b.store(value, place)
        return place

    def loop(self, n: Any, body: Callable[[Any], None]) -> None:
        with cgutils.for_range(self.b, n, intp=_I64) as loop:
            body(loop.index)

    def cover(
        self, first: Any, last: Any, fits: Callable[[Any], Any],
        some: Callable[[list[Any], bool], None], most: int,
    ) -> None:  # fmt: skip
        """Have `some` take ``first <= i < last``, by lists of where vectors begin.

        ``fits(i)`` is true between two ends, between which the vectors after the first and
        before the last lie: those, `most` at a time, are taken with True. Vectors may overlap,
        rather than one be left by itself, which would wait for every tap.
        """
        b = self.b
        lo, hi = self.room(_I64, first), self.room(_I64, last)
        length = _I64(LANES)

        def tail() -> Any:
            return self.most(b.sub(b.load(hi), length), first)

        def left() -> Any:
            return b.icmp_signed("<", b.load(lo), b.load(hi))

        def until(asked: Callable[[], Any], body: Callable[[], None]) -> None:
            head, inside, end = (b.append_basic_block(name) for name in ("ask", "take", "taken"))
            b.branch(head)
            b.position_at_end(head)
            b.cbranch(asked(), inside, end)
            b.position_at_end(inside)
            body()
            b.branch(head)
            b.position_at_end(end)

        def outside() -> Any:
            both = b.and_(fits(b.load(lo)), fits(tail()))
            return b.and_(left(), b.not_(both))

        def ends() -> None:
            some([b.load(lo), tail()], False)
            b.store(b.add(b.load(lo), length), lo)
            b.store(b.sub(b.load(hi), length), hi)

        def several(counts: list[int]) -> None:
            """The next vectors, of which the last may begin earlier so as to end in time."""
            count, *fewer = counts
            here = b.load(lo)
            at = self.least(here, b.sub(b.load(hi), _I64(count * LANES)))

            def take(at: Any) -> None:
                some([b.add(at, _I64(i * LANES)) for i in range(count)], True)
                b.store(b.add(at, _I64(count * LANES)), lo)

            if not fewer:
                take(self.most(at, first))
                return
            # Worth it where more than half would be left to others.
            more = b.icmp_signed(">", b.sub(b.load(hi), here), _I64(count * LANES // 2))
            begins = b.and_(b.icmp_signed(">=", at, first), fits(at))
            with b.if_else(b.and_(more, begins)) as (yes, no):
                with yes:
                    take(at)
                with no:
                    several(fewer)

        def inside() -> None:
            several([count for count in (4, 2, 1) if count <= most])

        until(outside, ends)
        until(left, inside)

    def steps(self, first: Any, last: Any, step: int, body: Callable[[Any], None]) -> Any:
        """`body` of ``first, first + step, ...`` as long as a whole step fits; where it ends."""
        b = self.b
        at = self.room(_I64, first)
        head, inside, end = (b.append_basic_block(name) for name in ("head", "inside", "end"))
        b.branch(head)
        b.position_at_end(head)
        fits = b.icmp_signed("<=", b.add(b.load(at), _I64(step)), last)
        b.cbranch(fits, inside, end)
        b.position_at_end(inside)
        body(b.load(at))
        b.store(b.add(b.load(at), _I64(step)), at)
        b.branch(head)
        b.position_at_end(end)
        return b.load(at)

    def along(self, first: Any, last: Any, body: Callable[..., None]) -> None:
        """``body(i)`` of each whole vector, ``body(i, mask, span)`` of what is left of one."""
        b = self.b
        i = self.steps(first, last, LANES, body)
        with b.if_then(b.icmp_signed("<", i, last)):
            left = b.sub(last, i)
            body(i, self.below(_I64(0), left), (_I64(0), left))

    # --- memory -----------------------------------------------------------------------------------

    def _masked(self, name: str, kind: Any, mask: Any, made: Any, *given: Any) -> Any:
        inner = kind.element
        letter = "f" if inner in (ir.FloatType(), ir.DoubleType()) else "i"
        width = inner.width if letter == "i" else 64 if inner == ir.DoubleType() else 32
        shape = ir.FunctionType(made, [value.type for value in given])
        symbol = f"llvm.masked.{name}.v{kind.count}{letter}{width}.p0"
        return self.b.call(cgutils.get_or_insert_function(self.b.module, shape, symbol), given)

    def check(self, at: Any, dtype: np.dtype[Any], lanes: int, span: Any) -> None:
        """Under NUMBA_BOUNDSCHECK: lanes ``first <= lane < last`` are touched."""
        if not bounds.CHECKED:
            return
        first, last = span or (_I64(0), _I64(lanes))
        first = self.most(first, _I64(0))
        last = self.least(last, _I64(lanes))
        with self.b.if_then(self.b.icmp_signed("<", first, last)):
            self.e.check(at, first, dtype, self.b.sub(last, first))

    def least(self, x: Any, y: Any) -> Any:
        return self.b.select(self.b.icmp_signed("<", x, y), x, y)

    def most(self, x: Any, y: Any) -> Any:
        return self.b.select(self.b.icmp_signed(">", x, y), x, y)

    def load(
        self, at: Any, kind: Any, dtype: np.dtype[Any], mask: Any = None, span: Any = None,
        blank: int = 0,
    ) -> Any:  # fmt: skip
        """A vector at an address; `mask` says which lanes, between the two of `span`."""
        b = self.b
        self.check(at, dtype, kind.count, span)
        place = b.inttoptr(at, kind.as_pointer())
        if mask is None:
            return b.load(place, align=dtype.itemsize)
        other = ir.Constant(kind, [blank] * kind.count)
        return self._masked("load", kind, mask, kind, place, _I32(dtype.itemsize), mask, other)

    def store(
        self, value: Any, at: Any, dtype: np.dtype[Any], mask: Any = None, span: Any = None
    ) -> None:
        kind = value.type
        self.check(at, dtype, kind.count, span)
        place = self.b.inttoptr(at, kind.as_pointer())
        if mask is None:
            self.b.store(value, place, align=dtype.itemsize)
            return
        size = _I32(dtype.itemsize)
        self._masked("store", kind, mask, ir.VoidType(), value, place, size, mask)

    def elements(self, at: Any, mask: Any = None, span: Any = None) -> Any:
        """`LANES` elements, `step` apart, as they are computed with."""
        raw = self.load(at, vector(self.stored, LANES * self.step), self.dtype, mask, span)
        if self.step > 1:
            raw = self.pick(raw, range(0, LANES * self.step, self.step))
        return self.decoded(raw)

    def pick(self, value: Any, lanes: Any, other: Any = None) -> Any:
        lanes = list(lanes)
        if other is None:
            other = ir.Constant(value.type, ir.Undefined)
        return self.b.shuffle_vector(value, other, ir.Constant(vector(_I32, len(lanes)), lanes))

    def decoded(self, raw: Any) -> Any:
        b = self.b
        if not self.half:
            return raw
        if self.dtype.name == "float16":
            halves = b.bitcast(raw, vector(ir.HalfType(), raw.type.count))
            return b.fpext(halves, vector(self.kind, raw.type.count))
        wide = vector(_I32, raw.type.count)
        high = b.shl(b.zext(raw, wide), ir.Constant(wide, [16] * raw.type.count))
        return b.bitcast(high, vector(self.kind, raw.type.count))

    def encoded(self, value: Any) -> Any:
        """As `npool.cpu.instructions` rounds: half to even, NaN quiet."""
        b, n = self.b, value.type.count
        if not self.half:
            return value
        if self.dtype.name == "float16":
            return b.bitcast(b.fptrunc(value, vector(ir.HalfType(), n)), vector(_I16, n))
        wide = vector(_I32, n)

        def fixed(number: int) -> Any:
            return ir.Constant(wide, [number] * n)

        bits = b.bitcast(value, wide)
        high = b.lshr(bits, fixed(16))
        rounded = b.add(bits, b.add(fixed(0x7FFF), b.and_(high, fixed(1))))
        quiet = b.or_(high, fixed(0x40))
        spoilt = b.fcmp_unordered("uno", value, value)
        return b.trunc(b.select(spoilt, quiet, b.lshr(rounded, fixed(16))), vector(_I16, n))

    def put(self, value: Any, at: Any, mask: Any = None, span: Any = None) -> None:
        self.store(self.encoded(value), at, self.dtype, mask, span)

    def size(self, count: Any) -> Any:
        """Bytes of so many elements."""
        return self.b.mul(count, _I64(self.dtype.itemsize))

    # --- windows ----------------------------------------------------------------------------------

    def taps(self, counts: Any, steps: Any, codes: Any, at: Any, code: Any, body: Any) -> None:
        """``body(address, code)`` of each tap of nested axes, in their order."""
        b = self.b
        if not counts:
            body(at, code)
            return

        def inner(i: Any) -> None:
            self.taps(
                counts[1:], steps[1:], codes[1:], b.add(at, b.mul(i, steps[0])),
                b.add(code, b.mul(i, codes[0])), body,
            )  # fmt: skip

        self.loop(counts[0], inner)

    def better(self, value: Any, best: Any, op: str) -> Any:
        """Where a tap replaces what was best: the first of equal ones stays, the last NaN."""
        beats = self.b.fcmp_ordered(op, value, best)
        return self.b.or_(beats, self.b.fcmp_unordered("uno", value, value))
