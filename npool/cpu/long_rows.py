"""Wide windows along a row in one pass over registers, at a stride of 1.

A window is a fold of two, one shifted: parts of two neighbouring vectors, the last few of which are
kept for each width. Widths are doubled, and a last window is two that overlap; where elements may
count but once, they are the shortest chain of sums. All of it is known when the loop is compiled:
which vectors of which width are there, and how far the results lag behind what is read.
`npool.cpu.strips` and `npool.cpu.van_herk` fold rows so, when they have folded columns.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types

from npool.cpu.access import ask_line
from npool.cpu.emit import Emitter, kind_of, word
from npool.cpu.forms import Form, Parts
from npool.cpu.parts import Words
from npool.cpu.slide_memory import Mask, store_lanes, while_
from npool.cpu.traced import Lanes, constant

__all__ = ["long_row"]

_I64, _I32 = ir.IntType(64), ir.IntType(32)


#: Taps from which on rows are looked through for NaN first: without any, 63 took 0.7 of the time.
LOOKED = 4


def _has_nan(b: Any, vector: Callable[[Any], Lanes], n: int, count: Any) -> Any:
    """Whether any of `count` vectors, one at least, holds NaN; two are looked at at a time."""
    last = b.sub(count, _I64(1))

    def look(k: Any, seen: list[Any]) -> list[Any]:
        following = b.add(k, _I64(1))
        second = vector(b.select(b.icmp_signed("<", following, last), following, last))
        return [b.or_(seen[0], b.fcmp_unordered("uno", vector(k).value, second.value))]

    none = ir.Constant(ir.VectorType(ir.IntType(1), n), [0] * n)
    _, (found,) = while_(b, _I64(0), count, [none], look, 2)
    bits = ir.IntType(n)
    return b.icmp_unsigned("!=", b.bitcast(found, bits), bits(0))


class _Step(NamedTuple):
    """A window of two: one of `left` taps, and one of `right` that begins `shift` behind it."""

    left: int
    right: int
    shift: int


@cache
def _chain(taps: int) -> tuple[int, ...]:
    """The shortest of sums from 1 to `taps`, each of the one before and another: 1, 2, 3, 6...

    D. E. Knuth, The Art of Computer Programming 2, 4.6.3: for 63, 8 sums where digits take 10.
    """

    def extended(chain: tuple[int, ...], more: int) -> tuple[int, ...] | None:
        last = chain[-1]
        if last == taps:
            return chain
        if last << more < taps:
            return None
        found = (extended((*chain, last + one), more - 1) for one in reversed(chain)
                 if last + one <= taps and more)  # fmt: skip
        return next(filter(None, found), None)

    sums = (taps - 1).bit_length()
    while (found := extended((1,), sums)) is None:
        sums += 1
    return found


class _Plan:
    """How a window of `taps` is made, and which vectors, of `n` lanes, are kept for it."""

    def __init__(self, taps: int, n: int, idempotent: bool) -> None:
        self.n = n
        widths = [1 << k for k in range(taps.bit_length())] if idempotent else list(_chain(taps))
        #: Each width but the first, in the order in which they are made.
        self.steps: dict[int, _Step] = {}
        for one, width in pairwise(widths):
            # One tap is read where it is, whole vectors are where they are: neither is shifted.
            left, right = sorted((one, width - one), key=lambda w: (w == 1, w % n > 0, w))
            self.steps[width] = _Step(left, right, left)
        if widths[-1] < taps:
            self.steps[taps] = _Step(widths[-1], widths[-1], taps - widths[-1])
        #: How many vectors the last of each width lies behind what is read.
        self.lags = {1: 0}
        for width, (left, right, shift) in self.steps.items():
            self.lags[width] = max(self.lags[left], self.lags[right] + -(-shift // n))
        self.lag = self.lags[taps]
        #: How many vectors of each width must be kept. Those of one tap are read again, wherever
        #: they begin: a load that crosses two lines costs less than a shuffle.
        self.kept = dict.fromkeys(self.steps, 0)
        for width, (left, right, shift) in self.steps.items():
            for part, at in ((left, 0), (right, shift)):
                if part == 1:
                    continue
                wanted = self.lags[width] - self.lags[part] - at // n
                self.kept[part] = max(self.kept[part], wanted)


def long_row(words: Words, form: Form, taps: int, idempotent: bool, bare: bool = False) -> Any:
    """``out[to + i] = finish(fold(s[at + i], ..., s[at + i + taps - 1]))`` for 0 <= i < n.

    `s` is scratch, which is read up to a few vectors further than the row. With `past`, results go
    past the caches where they lie on whole vectors. If `asked` is 1, what lies from the address
    `soon` on is prefetched, a line a vector: so memory is read while registers are folded, where
    whole rows asked for at once would be waited for. What is `bare` is not finished, but an
    accumulator of one part.
    """
    plan, n = _Plan(taps, form.lanes, idempotent), form.lanes

    def emit(
        e: Emitter, out: Any, to: Any, src: Any, cap: Any, at: Any, length: Any, past: Any,
        count: Any, soon: Any, asked: Any,
    ) -> None:  # fmt: skip
        b = e.b
        bases = e.parts(src, cap, at)
        counted = Lanes(b, words.counted, e.cast(types.int64, count, kind_of(words.counted)))
        (dtype,) = words.held if bare else words.results
        size = min(64, n * dtype.itemsize)
        row = b.add(out, b.mul(to, _I64(dtype.itemsize)))
        apart = b.mul(asked, _I64(n * words.source.itemsize))
        aligned = b.icmp_signed("==", b.and_(row, _I64(size - 1)), _I64(0))
        beyond = b.and_(aligned, b.icmp_signed(">", past, _I64(0)))
        blank = tuple(
            Lanes(b, part, constant(b, part, value).spread(n), n)
            for part, value in zip(words.held, words.identity, strict=True)
        )

        def read(i: Any) -> Parts:
            found: list[Lanes] = []
            for base, part in zip(bases, words.held, strict=True):
                e.check(base, i, part, _I64(n))
                kind = blank[len(found)].value.type
                place = b.add(base, b.mul(i, _I64(part.itemsize)))
                value = b.load(b.inttoptr(place, kind.as_pointer()), align=part.itemsize)
                found.append(Lanes(b, part, value, n))
            return tuple(found)

        def shifted(vectors: list[Parts], lag: int, newest: int, shift: int) -> Parts:
            """What lies `shift` behind the vector that lags by `lag`, of those up to `newest`."""
            q, r = divmod(shift, n)
            k = len(vectors) - 1 - (lag - newest) + q
            if not r:
                return vectors[k]
            picked = ir.Constant(ir.VectorType(_I32, n), list(range(r, r + n)))
            return tuple(
                Lanes(b, x.dtype, b.shuffle_vector(x.value, y.value, picked), n)
                for x, y in zip(vectors[k], vectors[k + 1], strict=True)
            )

        def fold(combine: Callable[[Parts, Parts], Parts]) -> None:
            parts = words.held

            def step(k: Any, values: list[Any]) -> list[Any]:
                given = iter(values)
                made = {
                    width: [
                        tuple(Lanes(b, part, next(given), n) for part in parts)
                        for _ in range(count)
                    ]
                    for width, count in plan.kept.items()
                }
                ask_line(b, b.add(soon, b.mul(k, apart)))
                for width, (left, right, shift) in plan.steps.items():
                    lag = plan.lags[width]
                    # Nothing lies before the row, and nothing that is written is made of it.
                    begun = b.sub(k, _I64(lag))
                    begun = b.select(b.icmp_signed("<", begun, _I64(0)), _I64(0), begun)
                    halves = (
                        read(b.add(b.mul(begun, _I64(n)), _I64(at)))
                        if part == 1
                        else shifted(made[part], lag, plan.lags[part], at)
                        for part, at in ((left, 0), (right, shift))
                    )
                    made[width].append(combine(*halves))
                if taps == 1:
                    made[1] = [read(b.mul(k, _I64(n)))]
                write(made[taps][-1], b.mul(b.sub(k, _I64(plan.lag)), _I64(n)))
                return [
                    value.value
                    for width, keep in plan.kept.items()
                    for vector in made[width][len(made[width]) - keep :]
                    for value in vector
                ]

            empty = [value.value for value in blank] * sum(plan.kept.values())
            while_(b, _I64(0), last, empty, step, 1)

        def write(folded: Parts, first: Any) -> None:
            """The results from `first` on, once there are any."""
            (result,) = folded if bare else form.finish(folded, counted)
            with b.if_then(b.icmp_signed(">=", first, _I64(0))):
                full = b.icmp_signed("<=", b.add(first, _I64(n)), length)
                with b.if_else(full) as (whole, part):
                    with whole:
                        store_lanes(e, row, first, dtype, result, None, beyond)
                    with part:
                        at_lane = b.add(
                            Lanes(b, words.counted, b.trunc(first, _I32)).spread(n),
                            ir.Constant(ir.VectorType(_I32, n), list(range(n))),
                        )
                        limit = Lanes(b, words.counted, b.trunc(length, _I32)).spread(n)
                        lanes = b.icmp_signed("<", at_lane, limit)
                        store_lanes(e, row, first, dtype, result, Mask(lanes, length), beyond)

        blocks = b.udiv(b.add(length, _I64(n - 1)), _I64(n))
        last = b.add(blocks, _I64(plan.lag))
        if form.without_nan is None or taps < LOOKED:
            fold(form.combine)
            return

        def vector(k: Any) -> Lanes:
            return read(b.mul(k, _I64(n)))[0]

        with b.if_else(_has_nan(b, vector, n, last)) as (some, none):
            with some:
                fold(form.combine)
            with none:
                fold(form.without_nan)

    return word(words, "out to src cap at length past count soon asked", emit)
