"""Wide windows along a row in one pass over registers, at a stride of 1.

Windows of 2, 4, 8... elements are folds of two of half their width, one shifted: parts of two
neighbouring vectors, the last few of which are kept for each width. A window of any other width is
two of these that overlap, or where elements may count but once, one for each binary digit. All of
it is known when the loop is compiled: which vectors of which width are there, and how far the
results lag behind what is read. `npool.cpu.van_herk` folds rows so, when it has folded columns.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from npool.cpu.emit import Emitter, kind_of, word
from npool.cpu.forms import Form, Parts
from npool.cpu.parts import Words
from npool.cpu.slide_memory import Mask, store_lanes
from npool.cpu.traced import Lanes, constant

__all__ = ["long_row"]

_I64, _I32 = ir.IntType(64), ir.IntType(32)


class _Plan:
    """Which vectors are kept: a window of `taps`, in vectors of `n` lanes."""

    def __init__(self, taps: int, n: int, idempotent: bool) -> None:
        self.n, widest = n, 1 << (taps.bit_length() - 1)
        self.widths = [1 << k for k in range(widest.bit_length())]
        #: Folds that make up a window: their widths, and where they begin.
        self.terms = [(widest, 0)]
        if idempotent and taps > widest:
            self.terms.append((widest, taps - widest))
        elif taps > widest:
            for width in reversed(self.widths[:-1]):
                if taps & width:
                    begin = sum(self.terms[-1])
                    self.terms.append((width, begin))
        #: How many vectors the last of each width lie behind what is read, and results do.
        self.lags = {1: 0}
        for width in self.widths[:-1]:
            self.lags[2 * width] = self.lags[width] + self._ahead(width)
        self.lag = max(self.lags[width] + self._ahead(at) for width, at in self.terms)
        #: How many vectors of each width must be kept.
        self.kept = {}
        for width in self.widths:
            first = [self.lag - at // n for term, at in self.terms if term == width]
            first += [self.lags[2 * width]] if width < widest else []
            self.kept[width] = max(first) - self.lags[width]

    def _ahead(self, shift: int) -> int:
        return -(-shift // self.n)


def long_row(words: Words, form: Form, taps: int, idempotent: bool) -> Any:
    """``out[to + i] = finish(fold(s[at + i], ..., s[at + i + taps - 1]))`` for 0 <= i < n.

    `s` is scratch, which is read up to a few vectors further than the row. With `past`, results go
    past the caches where they lie on whole vectors.
    """
    plan, n = _Plan(taps, form.lanes, idempotent), form.lanes

    def emit(
        e: Emitter, out: Any, to: Any, src: Any, cap: Any, at: Any, length: Any, past: Any,
        count: Any,
    ) -> None:  # fmt: skip
        b = e.b
        bases = e.parts(src, cap, at)
        counted = Lanes(b, words.counted, e.cast(types.int64, count, kind_of(words.counted)))
        (dtype,) = words.results
        size = min(64, n * dtype.itemsize)
        row = b.add(out, b.mul(to, _I64(dtype.itemsize)))
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

        before = b.block
        head, end = b.append_basic_block("long"), b.append_basic_block("read")
        blocks = b.udiv(b.add(length, _I64(n - 1)), _I64(n))
        last = b.add(blocks, _I64(plan.lag))
        b.branch(head)
        b.position_at_end(head)
        k = b.phi(_I64)
        k.add_incoming(_I64(0), before)
        kept: dict[int, list[Parts]] = {}
        phis = []
        for width in plan.widths:
            kept[width] = []
            for _ in range(plan.kept[width]):
                parts = []
                for value in blank:
                    phi = b.phi(value.value.type)
                    phi.add_incoming(value.value, before)
                    phis.append(phi)
                    parts.append(Lanes(b, value.dtype, phi, n))
                kept[width].append(tuple(parts))
        made = {1: [*kept[1], read(b.mul(k, _I64(n)))]}
        for width in plan.widths[:-1]:
            lag, newest = plan.lags[2 * width], plan.lags[width]
            halves = (shifted(made[width], lag, newest, shift) for shift in (0, width))
            made[2 * width] = [*kept[2 * width], form.combine(*halves)]
        values = [shifted(made[width], plan.lag, plan.lags[width], at) for width, at in plan.terms]
        folded = values[0]
        for term in values[1:]:
            folded = form.combine(folded, term)
        (result,) = form.finish(folded, counted)
        first = b.mul(b.sub(k, _I64(plan.lag)), _I64(n))
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
        following = b.add(k, _I64(1))
        k.add_incoming(following, b.block)
        left = iter(phis)
        for width in plan.widths:
            keep = plan.kept[width]
            for last_ones in made[width][len(made[width]) - keep :] if keep else []:
                for value in last_ones:
                    next(left).add_incoming(value.value, b.block)
        b.cbranch(b.icmp_signed("<", following, last), head, end)
        b.position_at_end(end)

    return word(words, "out to src cap at length past count", emit)
