"""How rows that slide in registers are read and written: in vectors, at their ends under a mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types

from npool.cpu import bounds
from npool.cpu.access import ask_line
from npool.cpu.emit import Emitter, kind_of
from npool.cpu.forms import Form, Parts
from npool.cpu.parts import Words
from npool.cpu.traced import Lanes, constant, element
from npool.cpu.vectors import masked

__all__ = ["Mask", "RowMemory", "Rows", "Some", "Source", "store_lanes", "unit_of", "while_"]

_I64, _I32 = ir.IntType(64), ir.IntType(32)


#: Where a row starts, and the position of its first element, if positions are asked for.
Source = tuple[Any, Any]


#: How many bytes behind what is read is asked for once more, from the second cache.
NEAR = 256


class Some(NamedTuple):
    """As many source rows as are known at run time only, at least one."""

    count: Any
    row: Callable[[Any], Source]


Rows = list[Source] | Some


class Mask(NamedTuple):
    """Which lanes count, and where they end."""

    lanes: Any
    end: Any


def unit_of(words: Words, stride: int, group: int) -> int:
    """Results of a row that are made together, of channels in groups: one, or a whole group."""
    return 1 if stride == 1 and not words.placed else group


class RowMemory:
    """The rows of one call of `npool.cpu.slides.slide_rows`, whose arguments are in `given`.

    `to` is where the row at hand begins in the results, `past` which results go past the caches,
    and `fresh` has a bit for each of its source rows that is to be prefetched.
    """

    to: Any
    past: list[Any]

    def __init__(
        self, e: Emitter, form: Form, taps: int, steps: tuple[int, int], fresh: int,
        backwards: bool, group: int, given: dict[str, Any],
    ) -> None:  # fmt: skip
        self.e, self.b, self.form, self.taps, self.fresh = e, e.b, form, taps, fresh
        self.stride, self.dilation = steps
        self.backwards = backwards
        self.n, self.given, self.group = form.lanes, given, group
        # Results of a vector: where those are not all next to one another in the source, or have
        # positions, whole groups of channels.
        unit = unit_of(e.words, steps[0], group)
        self.each = self.n // unit * unit
        words = e.words
        # Whether taps lie in the vectors behind, and which phases of the stride have any.
        self.ahead = int((taps - 1) * self.dilation // self.stride > 0)
        self.seen = sorted({tap * self.dilation % self.stride for tap in range(taps)})
        self.numbers = ir.Constant(ir.VectorType(_I32, self.n), list(range(self.n)))
        count = e.cast(types.int64, given["count"], kind_of(words.counted))
        self.count = Lanes(e.b, words.counted, count)
        if words.placed:
            place = element(words.held[-1])
            step = e.b.trunc(given["wide"], place) if place != _I64 else given["wide"]
            kind = ir.VectorType(place, self.n)
            groups = [lane // group for lane in range(self.n)]
            self.along = e.b.mul(self.spread(step), ir.Constant(kind, groups))

    def spread(self, value: Any) -> Any:
        return Lanes(self.b, np.dtype(np.int64), value).spread(self.n)

    def identity(self) -> Parts:
        words = self.e.words
        return tuple(
            Lanes(self.b, part, constant(self.b, part, value).spread(self.n), self.n)
            for part, value in zip(words.held, words.identity, strict=True)
        )

    def mask(self, first: Any, end: Any) -> Mask:
        """Which of the lanes from `first` on lie in ``[0, end)``; all of them below 2**31."""
        b = self.b
        at = b.add(self.spread(b.trunc(first, _I32)), self.numbers)
        return Mask(b.icmp_unsigned("<", at, self.spread(b.trunc(end, _I32))), end)

    def load(self, base: Any, c: Any, mask: Mask | None) -> Any:
        """The vector of the source at column `c`, without what the mask leaves out."""
        e, b, dtype = self.e, self.b, self.e.words.source
        kind, n = ir.VectorType(element(dtype), self.n), _I64(self.n)
        # The element that comes first in memory: of rows that run backwards, the last.
        low = b.sub(_I64(1 - self.n), c) if self.backwards else c
        place = b.inttoptr(b.add(base, b.mul(low, _I64(dtype.itemsize))), kind.as_pointer())
        if mask is None:
            e.check(base, low, dtype, n)
            return self.turned(b.load(place, align=dtype.itemsize))
        if self.backwards:
            end = b.sub(_I64(1), mask.end)
            _check_part(e, b.add(base, b.mul(end, _I64(dtype.itemsize))), b.sub(low, end), dtype, n,
                        mask.end)  # fmt: skip
        else:
            _check_part(e, base, c, dtype, n, mask.end)
        lanes, blank = self.turned(mask.lanes), ir.Constant(kind, ir.Undefined)
        return self.turned(masked(b, "load", kind, place, dtype, lanes, blank))

    def turned(self, vector: Any) -> Any:
        """A vector, its lanes the other way round where rows run backwards in memory."""
        if not self.backwards:
            return vector
        last = list(range(self.n - 1, -1, -1))
        return self.b.shuffle_vector(vector, vector, ir.Constant(self.numbers.type, last))

    def store(self, results: list[Parts], x: Any, mask: Mask | None) -> None:
        """Write the results from `x` on, under a mask if there is one."""
        e, b, given = self.e, self.b, self.given
        for q, parts in enumerate(results):
            to = b.add(self.to, b.mul(_I64(q), given["lift"]))
            for k, (base, dtype, part) in enumerate(
                zip((given["out"], given["positions"]), e.words.results, parts, strict=False)
            ):
                row = b.add(base, b.mul(to, _I64(dtype.itemsize)))
                past = None if mask else self.past[k]
                store_lanes(e, row, x, dtype, part, mask, past)

    def source(self, r: Any, k: Any) -> Source:
        """Where the `k`-th source row of row `r` starts, and the position of its first element."""
        e, b, given = self.e, self.b, self.given
        size, place = e.words.source.itemsize, None
        at = b.add(e.table(given["offsets"], k), b.mul(r, given["stride"]))
        if e.words.placed:
            place = b.add(given["more"], b.mul(r, given["climb"]))
            place = b.add(e.table(given["places"], k), place)
            kind = element(e.words.held[-1])
            place = place if kind == _I64 else b.trunc(place, kind)
        return b.add(given["src"], b.mul(at, _I64(size))), place

    def sources(self, count: int, r: Any, paired: bool) -> list[Source]:
        """All source rows of row `r`, and with `paired` the next row's last."""
        found = [self.source(r, k) for k in range(count)]
        if paired:
            found.append(self.source(self.b.add(r, _I64(1)), count - 1))
        return found

    def ask(self, rows: Rows, x: Any) -> None:
        """Prefetch what lies `far` bytes behind the rows that no window saw before."""
        e, b, far = self.e, self.b, self.given["far"]
        item = e.words.source.itemsize
        c = b.sub(b.mul(x, _I64(self.stride)), self.given["before"])
        at = b.mul(c, _I64(-item if self.backwards else item))
        assert not isinstance(rows, Some)
        lines = [
            b.add(b.add(base, at), _I64(line))
            for k, (base, _) in enumerate(rows)
            if self.fresh >> k & 1
            for line in range(0, max(1, self.each * self.stride * item), 64)
        ]
        with b.if_then(b.icmp_signed("!=", far, _I64(0))):
            # From memory into the second cache, which takes more lines at a time than the first
            # (docs/performance.md); one row alone the CPU follows by itself, and positions of
            # many taps take longer than memory does.
            slow = e.words.placed and len(rows) * self.taps > 8
            several = len(rows) > 1 and not slow
            beyond = b.icmp_signed(">", self.given["past"], _I64(1))
            with b.if_else(b.and_(beyond, ir.IntType(1)(several))) as (memory, cache):
                with memory:
                    for line in lines:
                        ask_line(b, b.add(line, far), 2)
                        ask_line(b, b.add(line, _I64(-NEAR if self.backwards else NEAR)), 1)
                with cache:
                    for line in lines:
                        ask_line(b, b.add(line, far), 1)

    def aligned(self, x: Any) -> list[Any]:
        """Of each kind of results: do they go past the caches, in whole vectors from `x` on?"""
        b, given, found = self.b, self.given, []
        # Vectors of which some lanes are over begin anywhere.
        whole = ir.IntType(1)(self.each == self.n)
        for base, dtype in zip(
            (given["out"], given["positions"]), self.e.words.results, strict=False
        ):
            item = _I64(dtype.itemsize)
            place = b.add(base, b.mul(b.add(given["to"], x), item))
            size = min(64, self.n * dtype.itemsize)
            apart = b.select(b.icmp_signed(">", given["m"], _I64(1)), given["lift"], _I64(0))
            bits = b.and_(b.or_(place, b.mul(apart, item)), _I64(size - 1))
            wanted = b.and_(b.icmp_signed(">", given["past"], _I64(0)), whole)
            found.append(b.and_(b.icmp_signed("==", bits, _I64(0)), wanted))
        return found


def while_(
    b: Any, x: Any, stop: Any, values: list[Any], body: Callable[..., list[Any]], step: int
) -> tuple[Any, list[Any]]:
    """Run ``values = body(x, values)`` while ``x < stop``, `step` further each time."""
    before = b.block
    head, inside, end = (b.append_basic_block(name) for name in ("while", "block", "done"))
    b.branch(head)
    b.position_at_end(head)
    at = b.phi(_I64)
    phis = [b.phi(value.type) for value in values]
    for phi, value in zip((at, *phis), (x, *values), strict=True):
        phi.add_incoming(value, before)
    b.cbranch(b.icmp_signed("<", at, stop), inside, end)
    b.position_at_end(inside)
    made = body(at, list(phis))
    following = b.add(at, _I64(step))
    for phi, value in zip((at, *phis), (following, *made), strict=True):
        phi.add_incoming(value, b.block)
    b.branch(head)
    b.position_at_end(end)
    return at, list(phis)


def store_lanes(
    e: Emitter, row: Any, x: Any, dtype: np.dtype[Any], part: Lanes, mask: Mask | None, past: Any
) -> None:
    """Write results to a row from `x` on: under a mask, or past the caches where `past` is true."""
    b, kind = e.b, part.value.type
    place = b.inttoptr(b.add(row, b.mul(x, _I64(dtype.itemsize))), kind.as_pointer())
    if mask is not None:
        _check_part(e, row, x, dtype, _I64(part.n), mask.end)
        masked(b, "store", kind, place, dtype, mask.lanes, part.value)
        return
    e.check(row, x, dtype, _I64(part.n))
    hint = b.module.add_metadata([ir.Constant(_I32, 1)])
    with b.if_else(past) as (beyond, within):
        with beyond:
            stored = b.store(part.value, place, align=min(64, part.n * dtype.itemsize))
            stored.set_metadata("nontemporal", hint)
        with within:
            b.store(part.value, place, align=dtype.itemsize)


def _check_part(e: Emitter, base: Any, first: Any, dtype: np.dtype[Any], n: Any, end: Any) -> None:
    """`Emitter.check` of those of `n` elements from `first` on that lie in ``[0, end)``."""
    if not bounds.CHECKED:
        return
    b = e.b
    low = b.select(b.icmp_signed(">", first, _I64(0)), first, _I64(0))
    high = b.add(first, n)
    high = b.select(b.icmp_signed("<", high, end), high, end)
    with b.if_then(b.icmp_signed("<", low, high)):
        e.check(base, low, dtype, b.sub(high, low))
