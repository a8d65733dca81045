"""A reducer's words for vectors: what `npool.cpu.parts` makes for scalars, of traced functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from npool import scalars
from npool.cpu.emit import HAS_MASKS, HAS_WIDE
from npool.cpu.instructions import HAS_HALF
from npool.cpu.parts import Words
from npool.cpu.traced import Lanes, Untraceable, constant, element, traced
from npool.cpu.values import either
from npool.dtypes import is_half
from npool.reducers import REDUCERS, Reducer

__all__ = ["Form", "Parts", "as_bytes", "form_of"]

_I64, _I32 = ir.IntType(64), ir.IntType(32)
#: Bytes of the CPU's vectors.
VECTOR = 64 if HAS_MASKS else 32 if HAS_WIDE else 16
Parts = tuple[Lanes, ...]


class Form(NamedTuple):
    """What `Words` says, for vectors: each function takes and returns tuples of `Lanes`."""

    lanes: int
    lift: Callable[[Lanes], Parts]
    combine: Callable[[Parts, Parts], Parts]
    #: The same where the second comes after the first, in the order of positions.
    later: Callable[[Parts, Parts], Parts]
    finish: Callable[[Parts, Lanes], Parts]
    #: `combine` of what holds no NaN, where that takes fewer instructions.
    without_nan: Callable[[Parts, Parts], Parts] | None = None

    def in_any_order(self) -> Form:
        """The same for rows that are not in the order of their positions."""
        return self._replace(later=self.combine)


def form_of(
    words: Words, reducer: Reducer, dtype: np.dtype[Any], accumulator: np.dtype[Any],
    result: np.dtype[Any], form: str,
) -> Form | None:  # fmt: skip
    """How vectors are reduced, or None where they cannot be.

    In `words` truth values are bytes. `form` is that of half types in an accumulator
    (`npool.cpu.instructions.DECODERS`).
    """
    half = is_half(dtype) or is_half(result)
    sizes = [part.itemsize for part in words.held] + [words.source.itemsize]
    if (
        words.params
        or (half and "float16" in (dtype.name, result.name) and not HAS_HALF)
        or (min(sizes) < 4 and not HAS_MASKS)
    ):
        return None
    lanes = VECTOR // max(sizes)
    form_is_key = form != "value"

    def held(made: Any, closed: bool = False) -> Parts:
        # What accumulators of truth values are made of is one itself, if only chosen or masked.
        if accumulator.kind == "b" and not closed:
            values = made if isinstance(made, tuple) else (made,)
            values = tuple(_truth(value) if isinstance(value, Lanes) else value for value in values)
            made = values if isinstance(made, tuple) else values[0]
        return _held(made, words.held)

    def lift(x: Lanes) -> Parts:
        value = _truth(x) if dtype.kind == "b" else _decoded(x, dtype, form)
        if words.placed:
            return (value.astype(words.held[0]),)
        if accumulator.kind == "f":
            value = value.astype(accumulator)
        lifted = traced(reducer.lift)(value) if reducer.lift else value
        return held(lifted, dtype.kind == "b" and not reducer.lift)

    def combine(a: Parts, b: Parts) -> Parts:
        if words.placed or reducer.parts > 1:
            function: Any = reducer.positions if words.placed else reducer.combine
            made = traced(function)(a, b)
        else:
            made = traced(reducer.combine)(a[0], b[0])
        return held(made, words.placed or reducer.combine in _CLOSED)

    def later(a: Parts, b: Parts) -> Parts:
        if reducer.in_order is None or not words.placed:
            return combine(a, b)
        return _held(traced(reducer.in_order)(a, b), words.held)

    def encoded(x: Lanes) -> Lanes:
        if result.kind != "b":
            return _encoded(x, result, form)
        return x if accumulator.kind == "b" and not reducer.finish else _truth(x)

    def finish(a: Parts, count: Lanes) -> Parts:
        if words.placed:
            value, place = a
            nowhere = constant(value.b, place.dtype, words.identity[-1])
            none = constant(value.b, place.dtype, -1)
            place = Lanes(place.b, place.dtype, place.b.select(
                (place == nowhere).value, none.spread(place.n), place.value), place.n)  # fmt: skip
            return (encoded(value), place.astype(words.results[1]))
        given = a[0] if reducer.parts == 1 else a

        def divided() -> Lanes:
            made = traced(reducer.finish)(given, count) if reducer.finish else given
            if not isinstance(made, Lanes) or made.n == 1:
                raise Untraceable("not one vector")
            return encoded(made)

        if not (reducer.divides and accumulator.kind in "iu" and reducer.parts == 1):
            return (divided(),)
        # Averages of integers by a power of two: a shift.
        b = a[0].b
        value = either(
            b, _is_power(b, count),
            lambda: _shifted(a[0], count, reducer.name, result).value, lambda: divided().value,
        )  # fmt: skip
        return (Lanes(b, result, value, a[0].n),)

    without_nan = None
    if reducer.combine in _ORDERS and not words.placed and accumulator.kind == "f":
        without_nan = partial(_chosen, _ORDERS[reducer.combine])
    made = Form(lanes, lift, combine, later, finish, without_nan)
    return made if _works(made, words) and not (form_is_key and words.placed) else None


def as_bytes(words: Words) -> Words:
    """The same with truth values as the bytes that hold them."""

    def byte(dtype: np.dtype[Any]) -> np.dtype[Any]:
        return np.dtype(np.uint8) if dtype.kind == "b" else dtype

    return words._replace(
        held=tuple(map(byte, words.held)),
        source=byte(words.source),
        results=tuple(map(byte, words.results)),
    )


def _truth(x: Lanes) -> Lanes:
    """Whether each lane is other than 0, as a byte: `npool.cpu.parts.nonzero`."""
    test = x if x.dtype.kind == "b" else x != constant(x.b, x.dtype, 0)
    return test.astype(np.uint8)


#: What makes truth values of truth values.
_CLOSED = (
    scalars.maximum, scalars.minimum, REDUCERS["any"].combine, REDUCERS["all"].combine,
)  # fmt: skip
#: What two numbers are asked, of which the first is returned where it is so.
_ORDERS: dict[Any, str] = {scalars.maximum: ">", scalars.minimum: "<"}


def _chosen(order: str, a: Parts, b: Parts) -> Parts:
    (x,), (y,) = a, b
    first = x.b.fcmp_ordered(order, x.value, y.value)
    return (Lanes(x.b, x.dtype, x.b.select(first, x.value, y.value), x.n),)


def _is_power(b: Any, count: Lanes) -> Any:
    """Whether an integer is a power of two from 2 to 4,096, half of which sums have room for."""
    n, one = count.value, _I64(1)
    inside = b.icmp_unsigned("<", b.sub(n, _I64(2)), _I64(4095))
    return b.and_(inside, b.icmp_signed("==", b.and_(n, b.sub(n, one)), _I64(0)))


def _shifted(total: Lanes, count: Lanes, name: str, result: np.dtype[Any]) -> Lanes:
    """``total / count``, of a power of two, rounded as `npool.averages` does and saturated."""
    b, t, n = total.b, total.value, total.n
    signed = total.dtype.kind == "i"
    kind = element(total.dtype)
    size = total.dtype.itemsize

    def spread(value: Any) -> Any:
        narrow = b.trunc(value, kind) if size < 8 else value
        return Lanes(b, total.dtype, narrow).spread(n)

    def number(value: int) -> Any:
        return ir.Constant(t.type, [value] * n)

    bits = spread(b.cttz(count.value, ir.IntType(1)(1)))
    shift = b.ashr if signed else b.lshr
    half = spread(b.lshr(count.value, _I64(1)))
    rounding = name.removeprefix("avg_")
    if rounding == "half_even":
        odd = b.and_(shift(t, bits), number(1))
        t = b.add(t, b.add(b.sub(half, number(1)), odd))
    elif rounding == "half_up":
        t = b.add(t, half)
    elif rounding == "trunc" and signed:
        less = b.sub(spread(count.value), number(1))
        t = b.add(t, b.select(b.icmp_signed("<", t, number(0)), less, number(0)))
    quotient = shift(t, bits)
    # As far as the sums' own type tells.
    info, own = np.iinfo(result), np.iinfo(total.dtype)
    compare = b.icmp_signed if signed else b.icmp_unsigned
    if info.max < own.max:
        most = number(int(info.max))
        quotient = b.select(compare("<", quotient, most), quotient, most)
    if info.min > own.min:
        least = number(int(info.min))
        quotient = b.select(compare(">", quotient, least), quotient, least)
    return Lanes(b, total.dtype, quotient, n).astype(result)


def _works(form: Form, words: Words) -> bool:
    """Whether all functions can be traced: they are, into a module that is thrown away."""
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "trial")
    b = ir.IRBuilder(function.append_basic_block())
    x = ir.Constant(ir.VectorType(element(words.source), form.lanes), ir.Undefined)
    try:
        value = form.lift(Lanes(b, words.source, x, form.lanes))
        if words.placed:
            place = ir.Constant(ir.VectorType(element(words.held[-1]), form.lanes), ir.Undefined)
            value += (Lanes(b, words.held[-1], place, form.lanes),)
        value = form.combine(form.later(value, value), value)
        form.finish(value, constant(b, words.counted, 1))
    except Untraceable:
        return False
    return True


def _held(made: Any, held: tuple[np.dtype[Any], ...]) -> Parts:
    """What a function returned, in the types of an accumulator."""
    values = made if isinstance(made, tuple) else (made,)
    if isinstance(made, tuple) != (len(held) > 1) or len(values) != len(held):
        raise Untraceable(f"{len(values)} parts, not {len(held)}")  # Numba says so, in words
    lanes = [value for value in values if isinstance(value, Lanes)]
    if not lanes:
        raise Untraceable("an accumulator of numbers alone")
    n = max(value.n for value in lanes)
    found = []
    for value, dtype in zip(values, held, strict=True):
        if isinstance(value, Lanes):
            kept = value.astype(dtype)
        elif type(value) in (bool, int) and value in (0, 1):
            kept = constant(lanes[0].b, dtype, value)
        else:
            raise Untraceable(f"{value!r} in an accumulator")
        found.append(Lanes(kept.b, dtype, kept.spread(n), n))
    return tuple(found)


def _decoded(x: Lanes, dtype: np.dtype[Any], form: str) -> Lanes:
    """An element as it is stored, as its value or its key: `npool.cpu.instructions.DECODERS`."""
    if not is_half(dtype):
        return x
    b, n = x.b, x.n
    if form == "value" and dtype.name == "float16":
        half = b.bitcast(x.value, ir.VectorType(ir.HalfType(), n))
        wide = b.fpext(half, ir.VectorType(ir.FloatType(), n))
        return Lanes(b, np.dtype(np.float32), wide, n)
    if form == "value":
        bits = b.zext(x.value, ir.VectorType(_I32, n))
        bits = b.shl(bits, ir.Constant(bits.type, [16] * n))
        return Lanes(b, np.dtype(np.float32), b.bitcast(bits, ir.VectorType(ir.FloatType(), n)), n)

    def number(value: int) -> Any:
        return ir.Constant(x.value.type, [value] * n)

    key = _turned(b, x.value, n)
    infinity, nan = (
        (0x7C00 if dtype.name == "float16" else 0x7F80),
        (0x7FFF if form == "highest" else -0x8000),
    )
    is_nan = b.icmp_signed(">", b.and_(x.value, number(0x7FFF)), number(infinity))
    return Lanes(b, np.dtype(np.int16), b.select(is_nan, number(nan), key), n)


def _turned(b: Any, bits: Any, n: int) -> Any:
    """Sign-magnitude bits of 16 as two's complement, and back."""

    def number(value: int) -> Any:
        return ir.Constant(bits.type, [value] * n)

    return b.xor(bits, b.and_(b.ashr(bits, number(15)), number(0x7FFF)))


def _encoded(x: Lanes, result: np.dtype[Any], form: str) -> Lanes:
    """A result as it is stored: `npool.cpu.instructions.ENCODERS`."""
    b, n = x.b, x.n
    stored = np.dtype(np.uint16)
    if not is_half(result):
        return x.astype(result)
    if form != "value":
        return Lanes(b, stored, _turned(b, x.value, n), n)
    x = x.astype(np.float32)
    if result.name == "float16":
        half = b.fptrunc(x.value, ir.VectorType(ir.HalfType(), n))
        return Lanes(b, stored, b.bitcast(half, ir.VectorType(ir.IntType(16), n)), n)
    kind = ir.VectorType(_I32, n)

    def number(value: int) -> Any:
        return ir.Constant(kind, [value] * n)

    bits = b.bitcast(x.value, kind)
    top = b.lshr(bits, number(16))
    rounded = b.add(b.add(bits, number(0x7FFF)), b.and_(top, number(1)))
    rounded = b.lshr(rounded, number(16))
    quiet = b.or_(top, number(0x40))
    made = b.select(b.fcmp_unordered("uno", x.value, x.value), quiet, rounded)
    return Lanes(b, stored, b.trunc(made, ir.VectorType(ir.IntType(16), n)), n)
