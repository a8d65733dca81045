"""Kernels of gradients: one thread for a few elements, which asks the windows that they lie in.

Each element is written exactly once, from its windows in a fixed order: no atomics, nothing to be
zeroed first, the same bits every time.

Along the row and the column, elements `stride` apart lie in the same windows, so a thread has a
*tile* of them: which of its elements a window reaches is then known when the kernel is compiled.
Long strides, windows that overlap more than a few times, and the axes that a loop walks anyway
are *searched*: a loop over the windows that hold an element.
"""

from __future__ import annotations

from npool.cuda.forms import Gather, Tap, windows_of

__all__ = ["gather_source"]


def gather_source(form: Gather) -> str:
    """A function ``kernel`` in Python, for Numba to compile in the namespace of its words."""
    return _Kernel(form).text()


class _Kernel:
    def __init__(self, form: Gather) -> None:
        self.form = form
        self.lines: list[str] = []
        self.depth = 1
        self.letters = tuple(reversed(form.near))  # column before row
        self.names = 0

    def say(self, *lines: str) -> None:
        self.lines += ["    " * self.depth + line for line in lines]

    def times(self, letter: str, stem: str) -> str:
        """`` * stride``, or nothing where it is 1."""
        plain = letter == "x" and not self.form.inner and self.form.unit
        return "" if plain else f" * {stem}{letter}"

    def text(self) -> str:
        form = self.form
        names = [*form.pointers(), *(name for name, _ in form.numbers())]
        self._place()
        if any(tiled for _, tiled in form.near.values()):
            self.say(f"if {self._inside()}:")
            self.depth += 1
            self._planes(edge=False)
            self.depth -= 1
            self.say("else:")
            self.depth += 1
            self._planes(edge=True)
            self.depth -= 1
        else:
            self._planes(edge=True)
        return f"def kernel({', '.join(names)}):\n" + "\n".join(self.lines) + "\n"

    def _place(self) -> None:
        form, say = self.form, self.say
        say("lane = index(index(cuda.blockIdx.x) * index(cuda.blockDim.x) + "
            "index(cuda.threadIdx.x))", "if lane >= lanes:", "    return")  # fmt: skip
        if form.inner:
            say("ux = index(quotient(lane, channels))",
                f"c = index((lane - ux * channels) * {form.vector})")  # fmt: skip
        else:
            say("ux = lane")
        if form.column:
            tap, tiled = form.near["y"]
            say("uy = index(index(cuda.blockIdx.y) * index(cuda.blockDim.y) + "
                "index(cuda.threadIdx.y))",
                f"if {f'(uy + qy) * {tap.stride} - by' if tiled else 'uy'} >= ny:",
                "    return")  # fmt: skip
        for letter in self.letters:
            tap, tiled = form.near[letter]
            s, e = tap.stride, tap.extent
            if tiled:
                # h is the last window that reaches the tile, i its first element.
                say(f"h{letter} = index(u{letter} + q{letter})",
                    f"i{letter}_ = index(h{letter} * {s} - b{letter})")  # fmt: skip
            elif not tap.kernel:
                say(f"i{letter}_ = u{letter}", *_bins(f"u{letter}", f"n{letter}", f"o{letter}",
                                                      f"l{letter}", f"h{letter}"))  # fmt: skip
            else:
                say(
                    f"i{letter}_ = u{letter}",
                    f"far = index(u{letter} + b{letter})",
                    f"h{letter} = min(index(o{letter} - 1), index(quotient(far, index({s}))))",
                    f"l{letter} = index(0)",
                    f"if far >= {e}:",
                    f"    l{letter} = index(quotient(index(far - {e - s}), index({s})))",
                )
        where = [f"index(i{v}_{self.times(v, 't')})" for v in self.letters]
        source = [f"index(h{v}{self.times(v, 's')})" for v in self.letters if form.near[v][1]]
        if form.inner:
            where.append("c" if form.unit else "c * ocs")
            source.append("c" if form.unit else "c * ics")
        say(f"to = long(index({' + '.join(where)}))",
            f"at = long(index({' + '.join(source) or '0'}))")  # fmt: skip
        if form.picking:
            say("here = " + " + ".join(f"long(i{v}_) * p{v}" for v in self.letters))
        say("p = index(index(cuda.blockIdx.z) * index(cuda.blockDim.z) + index(cuda.threadIdx.z))")

    def _inside(self) -> str:
        """Whether a tile and all windows that reach it exist."""
        tests = []
        for v in self.letters:
            tap, tiled = self.form.near[v]
            if tiled:
                tests += [f"i{v}_ >= 0", f"i{v}_ + {tap.stride} <= n{v}",
                          f"h{v} >= {windows_of(tap) - 1}", f"h{v} < o{v}"]  # fmt: skip
        return " and ".join(tests)

    # --- windows along an axis ------------------------------------------------------------------

    def _hoisted(self, edge: bool) -> None:
        """What is known of the windows of a tile before the loop."""
        for v in self.letters:
            tap, tiled = self.form.near[v]
            if not tiled:
                continue
            for m in range(windows_of(tap)):
                window = f"w{v}{m}"
                self.say(f"{window} = index(h{v} - {m})")
                if edge:
                    self.say(
                        f"v{v}{m} = ({window} >= 0) & ({window} < o{v})",
                        f"{window} = min(max({window}, index(0)), index(o{v} - 1))",
                    )
                self.say(f"f{v}{m} = long(index(({window} - h{v}){self.times(v, 's')}))")
                if self.form.counted:
                    self._count(f"c{v}{m}", window, tap, v)

    def _count(self, name: str, window: str, tap: Tap, suffix: str) -> None:
        """The count of a window along an axis, as `npool.geometry.Window.count`."""
        s, d = tap.stride, tap.dilation
        size = f"n{suffix}" if not suffix.startswith("z") else f"n{suffix[1:]}"
        if not tap.kernel:
            outs = f"o{suffix}"
            self.say(f"{name} = quotient(({window} + 1) * {size} + {outs} - 1, {outs}) - "
                     f"quotient({window} * {size}, {outs})")  # fmt: skip
            return
        self.say(f"from_ = index({window} * {s} - b{suffix})")
        if self.form.include_pad:
            self.say(
                f"end_ = min(index(from_ + {tap.extent}), a{suffix})",
                f"{name} = index(quotient(index(end_ - from_ + {d - 1}), index({d})))",
            )
            return
        self.say("low_ = index(0)", "if from_ < 0:",
                 f"    low_ = index(quotient(index({d - 1} - from_), index({d})))",
                 "high_ = index(0)", f"if from_ < {size}:",
                 f"    high_ = min(index({tap.kernel}), index(quotient(index({size} - from_ + "
                 f"{d - 1}), index({d}))))",
                 f"{name} = index(high_ - low_)")  # fmt: skip

    # --- planes ---------------------------------------------------------------------------------

    def _planes(self, edge: bool) -> None:
        form, say = self.form, self.say
        outer = form.outer
        self._hoisted(edge)
        if len(outer) == 1:
            say("i0 = p", "step0 = index(index(cuda.gridDim.z) * index(cuda.blockDim.z))")
        else:
            for k in range(len(outer) - 1, 0, -1):
                say(f"i{k} = index(remainder(p, n{k}))", f"p = index(quotient(p, n{k}))")
            say("i0 = p")
        say("while i0 < n0:")
        self.depth += 1
        sums = "".join(f" + long(i{k}) * si{k}" for k, axis in enumerate(outer) if axis < 0)
        say(f"b = at{sums}",
            "t = to" + "".join(f" + long(i{k}) * so{k}" for k in range(len(outer))))  # fmt: skip
        deep = [k for k, axis in enumerate(outer) if axis >= 0]
        if form.picking:
            say("mine = here" + "".join(f" + long(i{k}) * ps{k}" for k in deep))
        sizes = [form.tile(v) for v in ("y", "x") if v in form.near]
        cells = [(r, a) for r in range(sizes[0] if form.column else 1) for a in range(sizes[-1])]
        self.sums = {(r, a, v): f"g{r}_{a}_{v}" for r, a in cells for v in range(form.vector)}
        say(*(f"{name} = NOTHING" for name in self.sums.values()))
        self._search(deep, "b", edge, [])
        self._store(edge)
        for k in range(len(outer) - 1, 0, -1):
            say(
                f"i{k} = index(i{k} + step{k})",
                f"if i{k} >= n{k}:",
                f"    i{k} = index(i{k} - n{k})",
                f"    i{k - 1} = index(i{k - 1} + 1)",
            )
        say("i0 = index(i0 + step0)")
        self.depth -= 1

    def _search(self, deep: list[int], base: str, edge: bool, counts: list[str]) -> None:
        """Loops over the windows of the axes that are searched, outermost first."""
        form, say = self.form, self.say
        if not deep:
            self._lines(base, edge, counts)
            return
        k = deep[0]
        tap = form.axes[form.outer[k]]
        s, e = tap.stride, tap.extent
        bounds = _bins(f"i{k}", f"n{k}", f"oz{k}", f"z{k}", f"hz{k}") if not tap.kernel else [
            f"far{k} = index(i{k} + bz{k})",
            f"hz{k} = min(index(oz{k} - 1), index(quotient(far{k}, index({s}))))",
            f"z{k} = index(0)", f"if far{k} >= {e}:",
            f"    z{k} = index(quotient(index(far{k} - {e - s}), index({s})))"]  # fmt: skip
        say(*bounds, f"while z{k} <= hz{k}:")
        depth = self.depth
        self.depth += 1
        if tap.dilation > 1:
            say(f"if remainder(index(far{k} - z{k} * {s}), index({tap.dilation})) == 0:")
            self.depth += 1
        say(f"b{k} = {base} + long(z{k}) * si{k}")
        if form.counted:
            self._count(f"cz{k}", f"z{k}", tap, f"z{k}")
        self._search(deep[1:], f"b{k}", edge, [*counts, f"cz{k}"])
        self.depth = depth + 1
        say(f"z{k} = index(z{k} + 1)")
        self.depth = depth

    def _lines(self, base: str, edge: bool, counts: list[str]) -> None:
        """The windows of the column, then those of the row."""
        if not self.form.column:
            self._row(base, edge, counts, None, [])
            return
        tap, tiled = self.form.near["y"]
        if tiled:
            for m in reversed(range(windows_of(tap))):
                reached = [r for r in range(tap.stride) if _reaches(tap, r, m)]
                if reached:
                    line = self._name("b")
                    self.say(f"{line} = {base} + fy{m}")
                    self._row(line, edge, [*counts, f"cy{m}"], f"vy{m}" if edge else None,
                              reached)  # fmt: skip
            return
        self._loop("y", tap, base, lambda line: self._row(
            line, edge, [*counts, "cy"], None, [0]))  # fmt: skip

    def _name(self, stem: str) -> str:
        self.names += 1
        return f"{stem}_{self.names}"

    def _loop(self, v: str, tap: Tap, base: str, body: object) -> None:
        say = self.say
        say(f"k{v} = l{v}", f"while k{v} <= h{v}:")
        depth = self.depth
        self.depth += 1
        if tap.dilation > 1:
            say(f"if remainder(index(u{v} + b{v} - k{v} * {tap.stride}), "
                f"index({tap.dilation})) == 0:")  # fmt: skip
            self.depth += 1
        line = self._name("b")
        say(f"{line} = {base} + long(index(k{v}{self.times(v, 's')}))")
        if self.form.counted:
            self._count(f"c{v}", f"k{v}", tap, v)
        body(line)  # type: ignore[operator]
        self.depth = depth + 1
        say(f"k{v} = index(k{v} + 1)")
        self.depth = depth

    def _row(
        self, base: str, edge: bool, counts: list[str], valid: str | None, reached: list[int]
    ) -> None:
        tap, tiled = self.form.near["x"]
        rows = reached or [0]
        if not tiled:
            self._loop(
                "x",
                tap,
                base,
                lambda line: self._meet(
                    line, [*counts, "cx"], [valid] if valid else [], [(r, 0) for r in rows]
                ),
            )
            return
        for n in reversed(range(windows_of(tap))):
            cells = [(r, a) for r in rows for a in range(tap.stride) if _reaches(tap, a, n)]
            if cells:
                tests = [t for t in (valid, f"vx{n}" if edge else None) if t]
                self._meet(f"{base} + fx{n}", [*counts, f"cx{n}"], tests, cells)  # fmt: skip

    def _meet(
        self, at: str, counts: list[str], tests: list[str], cells: list[tuple[int, int]]
    ) -> None:
        """One window's gradient, and the elements that it reaches."""
        form, say = self.form, self.say
        lanes = range(form.vector)
        gradients = [self._name("e") for _ in lanes]
        places = [self._name("i") for _ in lanes]
        for pointer, names in (("s0", gradients), ("s1", places)):
            if pointer == "s1" and not form.picking:
                continue
            if form.vector > 1:
                say(f"{', '.join(names)} = load{form.vector}({pointer}, {at})")
            else:
                say(f"{names[0]} = {pointer}[{at}]")
        for v in lanes:
            value = self._name("x")
            say(f"{value} = keep0(lift({gradients[v]}))")
            if form.kind == "average":
                count = f"cast_count(index({' * '.join(counts)}))" if form.counted else "full"
                say(f"{value} = keep0(divide({value}, {count}))")
            for r, a in cells:
                name = self.sums[r, a, v]
                conditions = list(tests)
                if form.picking:
                    shift = "".join(
                        [f" + {r} * py" if r else "", f" + {a} * px" if a else ""])  # fmt: skip
                    conditions.append(f"(long({places[v]}) == mine{shift})")
                added = value if form.kind == "last" else f"keep0({name} + {value})"
                if form.kind == "last" or form.picking or tests:
                    say(f"{name} = select({' & '.join(conditions)}, {added}, {name})")
                else:
                    say(f"{name} = {added}")

    def _store(self, edge: bool) -> None:
        form, say = self.form, self.say
        tiles = {letter: form.tile(letter) for letter in form.near}
        for r in range(tiles.get("y", 1)):
            for a in range(tiles["x"]):
                tests = []
                for v, offset in (("y", r), ("x", a)):
                    if edge and v in form.near and form.near[v][1]:
                        tests += [f"i{v}_ + {offset} >= 0", f"i{v}_ + {offset} < n{v}"]
                if tests:
                    say(f"if {' and '.join(tests)}:")
                    self.depth += 1
                where = "t" + (f" + long(index({r} * ty))" if r else "")
                where += f" + long(index({a}{self.times('x', 't')}))" if a else ""
                values = [f"encode({self.sums[r, a, v]})" for v in range(form.vector)]
                if form.vector > 1:
                    say(f"store{form.vector}(d0, {where}, ({', '.join(values)}))")
                else:
                    say(f"d0[{where}] = {values[0]}")
                if tests:
                    self.depth -= 1


def _bins(i: str, size: str, outs: str, low: str, high: str) -> list[str]:
    """The first and the last adaptive bin that holds an element."""
    return [f"{low} = quotient({i} * {outs}, {size})",
            f"{high} = quotient(({i} + 1) * {outs} + {size} - 1, {size}) - 1"]  # fmt: skip


def _reaches(tap: Tap, r: int, m: int) -> bool:
    """Whether the window `m` before the last holds element `r` of a tile."""
    t = r + m * tap.stride
    return t < tap.extent and t % tap.dilation == 0
