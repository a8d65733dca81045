"""Small windows in one pass over registers: rows are folded, shifted and finished as vectors.

A row of results is made a vector at a time. What its windows see of all their rows is folded into
one vector for each step along the row; those, and the ones behind them, are all that the taps of
the row need: lanes shifted by a tap are parts of two neighbouring vectors. Nothing goes by
memory in between, so memory is read and written at the rate at which it can be. The ends of a row
are read and written under a mask, and count as padding where the mask says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from npool.cpu.emit import Emitter, word
from npool.cpu.forms import Form, Parts
from npool.cpu.parts import Words
from npool.cpu.slide_memory import Mask, RowMemory, Rows, Some, Source, unit_of, while_
from npool.cpu.traced import Lanes, element, split_lanes

__all__ = ["slide_rows", "unit_of"]

_I64, _I32 = ir.IntType(64), ir.IntType(32)


class _Rows(RowMemory):
    """What one call of `slide_rows` emits."""

    def lifted(self, row: Source, c: Any, mask: Mask | None) -> Parts:
        """The accumulators of one source row, from column `c` on."""
        e, b, (base, place) = self.e, self.b, row
        value = self.form.lift(Lanes(b, e.words.source, self.load(base, c, mask), self.n))
        if place is None:
            return value
        kind = e.words.held[-1]
        column = b.sdiv(c, _I64(self.group)) if self.group > 1 else c
        column = b.mul(column, self.given["wide"])
        column = column if element(kind) == _I64 else b.trunc(column, element(kind))
        at = b.add(self.spread(column), self.along)
        return (*value, Lanes(b, kind, b.add(at, self.spread(place)), self.n))

    def folded(self, rows: Rows, c: Any, mask: Mask | None, paired: bool) -> list[Parts]:
        """Each result row's fold of the source rows, `n` columns from `c` on."""
        form = self.form
        if isinstance(rows, Some):
            first = [part.value for part in self.lifted(rows.row(_I64(0)), c, mask)]
            _, values = self.while_(
                _I64(1), rows.count, first,
                lambda k, seen: [
                    part.value
                    for part in form.later(
                        self.parts(seen), self.lifted(rows.row(k), c, mask)
                    )
                ],
                1,
            )  # fmt: skip
            made = [self.parts(values)]
        else:
            values = [self.lifted(row, c, mask) for row in rows]
            if not values:
                return [self.identity()]
            if not paired:
                made = [_tree(values, form.later)]
            elif len(values) == 2:
                made = values
            else:
                middle = _tree(values[1:-1], form.combine)
                made = [form.combine(values[0], middle), form.combine(middle, values[-1])]
        if mask is None:
            return made
        blank = self.identity()
        return [
            tuple(
                Lanes(self.b, p.dtype, self.b.select(mask.lanes, p.value, q.value), self.n)
                for p, q in zip(value, blank, strict=True)
            )
            for value in made
        ]

    def parts(self, values: list[Any]) -> Parts:
        """Vectors as an accumulator."""
        held = self.e.words.held
        return tuple(Lanes(self.b, t, v, self.n) for t, v in zip(held, values, strict=True))

    def phases(self, rows: Rows, x: Any, masked: bool, paired: bool) -> list[Any]:
        """Of each result row: for each phase of the stride, what its windows from `x` on see."""
        b = self.b
        c = b.sub(b.mul(x, _I64(self.stride)), self.given["before"])
        found: list[list[Parts]] = []
        for k in range(self.stride):
            at = b.add(c, _I64(k * self.each))
            mask = self.mask(at, self.given["body"]) if masked else None
            found.append(self.folded(rows, at, mask, paired))
        made = []
        for steps in zip(*found, strict=True):
            split = [
                split_lanes(
                    b, [step[part].value for step in steps], self.stride, self.n, self.group
                )
                for part in range(len(steps[0]))
            ]
            made.append(
                [
                    tuple(
                        Lanes(b, held, values[p], self.n)
                        for held, values in zip(self.e.words.held, split, strict=True)
                    )
                    for p in self.seen
                ]
            )
        return made

    def windows(self, now: list[Parts], following: list[Parts] | None) -> Parts:
        """The results of one row whose phases these are, and those of the vectors behind them."""
        values = []
        for tap in range(self.taps):
            at = tap * self.dilation
            phase, shift = at % self.stride, at // self.stride
            k = self.seen.index(phase)
            value = now[k]
            if shift:
                assert following is not None
                lanes = [lane + shift * self.group for lane in range(self.n)]
                over = self.n - self.each
                picked = ir.Constant(
                    ir.VectorType(_I32, self.n),
                    [min(lane + (over if lane >= self.each else 0), 2 * self.n - 1)
                     for lane in lanes],
                )  # fmt: skip
                value = tuple(
                    Lanes(self.b, p.dtype, self.b.shuffle_vector(p.value, q.value, picked), self.n)
                    for p, q in zip(value, following[k], strict=True)
                )
            values.append(value)
        return self.form.finish(_tree(values, self.form.combine), self.count)

    def reach(self, fast: bool) -> None:
        """Note which vectors of a row are inside, with the ones behind them: `low` to `high`."""
        b, given, n, s = self.b, self.given, self.each, self.stride
        first, stop, before, body = (given[k] for k in ("first", "stop", "before", "body"))
        self.low = self.high = stop
        self.past = []
        if not fast:
            return
        step = _I64(n * s)
        begins = b.sub(b.mul(b.add(first, _I64(self.ahead * n)), _I64(s)), before)
        short = b.select(b.icmp_signed("<", begins, _I64(0)), b.neg(begins), _I64(0))
        skipped = b.udiv(b.add(short, b.sub(step, _I64(1))), step)
        self.low = _least(b, b.add(first, b.mul(skipped, _I64(n))), stop)
        # Vectors are read and written whole, with the lanes of a part of a group.
        over = _I64(self.n - n)
        left = b.sub(b.sub(stop, self.low), over)
        left = b.select(b.icmp_signed(">", left, _I64(0)), left, _I64(0))
        whole = b.udiv(left, _I64(n))
        room = b.sub(b.sub(b.add(body, before), b.mul(self.low, _I64(s))), over)
        room = b.select(b.icmp_signed(">", room, _I64(0)), room, _I64(0))
        seen = b.sub(b.udiv(room, step), _I64(self.ahead))
        count = _least(b, whole, seen)
        count = b.select(b.icmp_signed(">", count, _I64(0)), count, _I64(0))
        self.high = b.add(self.low, b.mul(count, _I64(n)))
        self.past = self.aligned(self.low)

    def emit(self, rows: Rows, r: Any, paired: bool, fast: bool, short: bool = False) -> None:
        """Row `r` of the results, whose windows see `rows`; with `paired` the next as well.

        A `fast` row knows which of its vectors are inside; a `short` one is a single vector.
        """
        b, given, n, s = self.b, self.given, self.each, self.stride
        first, stop, before, body = (given[k] for k in ("first", "stop", "before", "body"))
        held = self.e.words.held
        self.to = b.add(given["to"], b.mul(r, given["lift"]))
        rows_made = 2 if paired else 1
        phases = len(self.seen)

        def flat(state: list[Any]) -> list[Any]:
            return [part.value for row in state for phase in row for part in phase]

        def shaped(values: list[Any]) -> list[Any]:
            given_values = iter(values)
            return [
                [
                    tuple(Lanes(b, part, next(given_values), self.n) for part in held)
                    for _ in range(phases)
                ]
                for _ in range(rows_made)
            ]

        def results(state: list[Any], behind: Any) -> list[Parts]:
            return [self.windows(now, behind[q] if behind else None) for q, now in enumerate(state)]

        def general(x: Any, values: list[Any]) -> list[Any]:
            following = b.add(x, _I64(n))
            if fast:
                self.ask(rows, x)
            if not self.ahead:
                state, behind = self.phases(rows, x, True, paired), None
            else:
                state = shaped(values)
                blank = flat([[self.identity()] * phases] * rows_made)
                begins = b.sub(b.mul(following, _I64(s)), before)
                ahead = b.icmp_signed("<", begins, body)
                start = b.block
                with b.if_then(ahead):
                    seen = flat(self.phases(rows, following, True, paired))
                    loaded = b.block
                merged = []
                for p, q in zip(seen, blank, strict=True):
                    phi = b.phi(p.type)
                    phi.add_incoming(p, loaded)
                    phi.add_incoming(q, start)
                    merged.append(phi)
                behind = shaped(merged)
            self.store(results(state, behind), x, self.mask(x, stop))
            return flat(behind) if behind else []

        def quick(x: Any, values: list[Any]) -> list[Any]:
            self.ask(rows, x)
            if not self.ahead:
                state, behind = self.phases(rows, x, False, paired), None
            else:
                state = shaped(values)
                behind = self.phases(rows, b.add(x, _I64(n)), False, paired)
            self.store(results(state, behind), x, None)
            return flat(behind) if behind else []

        begun = flat(self.phases(rows, first, True, paired)) if self.ahead else []
        if not fast:
            self.while_(first, stop, begun, general)
            return
        if short:
            general(first, begun)
            return

        # To `low`, then on to `high`; then the rest.
        def turn(k: Any, values: list[Any]) -> list[Any]:
            again = b.icmp_signed("!=", k, _I64(0))
            x, *state = values
            x, state = self.while_(x, b.select(again, stop, self.low), state, general)
            x, state = self.while_(x, b.select(again, _I64(0), self.high), state, quick)
            return [x, *state]

        self.while_(_I64(0), _I64(2), [first, *begun], turn, 1)

    def while_(
        self, x: Any, stop: Any, values: list[Any], body: Callable[..., list[Any]], step: int = 0
    ) -> tuple[Any, list[Any]]:
        """`npool.cpu.slide_memory.while_`, a vector further each time if no `step` is given."""
        return while_(self.b, x, stop, values, body, step or self.each)


def _least(b: Any, x: Any, y: Any) -> Any:
    return b.select(b.icmp_signed("<", x, y), x, y)


def _tree(values: list[Parts], combine: Callable[[Parts, Parts], Parts]) -> Parts:
    """All of them in one, in pairs, in their order."""
    while len(values) > 1:
        pairs = [combine(*values[i : i + 2]) for i in range(0, len(values) - 1, 2)]
        values = pairs + values[len(values) - len(values) % 2 :]
    return values[0]


def slide_rows(
    words: Words, form: Form, rows: int, taps: int, stride: int, dilation: int, fresh: int,
    paired: bool, backwards: bool, group: int,
) -> Any:  # fmt: skip
    """Results `first` to `stop` of `m` rows: see `lanes.slid`.

    Windows have `rows` rows in all, of which `inside` are there, and `taps` along the row,
    `dilation` apart, and are themselves `stride` apart. The first of the rows' sources start at
    `offsets`, in places `more` behind `places`, each next row's `stride` and `climb` further on.
    They have `body` elements, the first of which is `before` behind where the windows of result 0
    begin. `fresh` has a bit for each of a window's rows that no window before has seen, what lies
    `far` bytes behind which is prefetched. With `paired` rows, all rows of a window but the last
    are the next one's first. Rows may run `backwards` in memory. What is a column elsewhere is a
    `group` of channels here, and what counts columns, but for `taps`, `stride` and `dilation`,
    counts channels. With `past`, results go past the caches where they lie on whole vectors.
    """

    def emit(e: Emitter, inside: Any, **given: Any) -> None:
        b, m = e.b, given["m"]

        # Of pairs, both last rows are fresh.
        seen = fresh | fresh << 1 if paired else fresh

        def each(count: int | None) -> None:
            whole = count == rows
            made = _Rows(e, form, taps, (stride, dilation), fresh, backwards, group, given)
            made.reach(whole)
            if not whole:
                with cgutils.for_range(b, m, intp=_I64) as loop:
                    r = loop.index
                    some: Rows = []
                    if count is None:
                        some = Some(inside, partial(made.source, r))
                    made.emit(some, r, False, False)
                return

            def all_rows(short: bool) -> None:
                begun = _I64(0)
                if paired:
                    begun = b.and_(m, _I64(-2))
                    made.fresh = seen
                    with cgutils.for_range_slice(b, _I64(0), begun, _I64(2), _I64) as (r, _):
                        made.emit(made.sources(rows, r, True), r, True, True, short)
                made.fresh = fresh
                with cgutils.for_range_slice(b, begun, m, _I64(1), _I64) as (r, _):
                    made.emit(made.sources(rows, r, False), r, False, True, short)

            length = b.sub(given["stop"], given["first"])
            with b.if_else(b.icmp_signed("<=", length, _I64(made.each))) as (short, long):
                with short:
                    all_rows(True)
                with long:
                    all_rows(False)

        # All rows of a window, none, and some: those by a loop, since they are at an edge.
        end = b.append_basic_block("chosen")
        blocks = {
            count: b.append_basic_block("rows") for count in (rows, 0, None)[: 3 if rows > 1 else 2]
        }
        switch = b.switch(inside, blocks[None if rows > 1 else rows])
        for count, block in blocks.items():
            if count is not None:
                switch.add_case(_I64(count), block)
            b.position_at_end(block)
            each(count)
            b.branch(end)
        b.position_at_end(end)

    names = (
        "src offsets places more stride climb wide before body first stop m out positions to lift "
        "past far count inside"
    )
    return word(words, names, emit)
