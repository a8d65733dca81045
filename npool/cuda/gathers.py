"""Kernels of gradients: one thread for a few elements, which asks the windows that they lie in.

Each element is written exactly once, from its windows in a fixed order: no atomics, nothing to be
zeroed first, the same bits every time.

Along the row and the column, elements `stride` apart lie in the same windows, so a thread has a
*tile* of them: which of its elements a window reaches is then known when the kernel is compiled.
Long strides, windows that overlap more than a few times, and the axes that a loop walks anyway
are *searched*: a loop over the windows that hold an element.
"""

from __future__ import annotations

from npool.cuda.counts import bins_of, count_lines, reaches
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
        #: Of each set of strides at windows, and at elements: what its names end with, and what
        #: its numbers' names and that of the channels begin with.
        self.sources = [("", "s", "i"), *([("r", "r", "r")] if form.apart else [])]
        self.results = [("", "t", "o"), *([("e", "e", "e")] if form.beside else [])]
        #: Of a norm: the elements of a tile.
        self.values: dict[tuple[int, int, int], str] = {}

    def say(self, *lines: str) -> None:
        self.lines += ["    " * self.depth + line for line in lines]

    def times(self, letter: str, stem: str) -> str:
        """`` * stride``, or nothing where it is 1."""
        plain = letter == "x" and not self.form.inner and self.form.unit and stem in "st"
        return "" if plain else f" * {stem}{letter}"

    def lane(self, stem: str) -> str:
        """The offset of a channel."""
        return "c" if self.form.unit and stem in "io" else f"c * {stem}cs"

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
                say(f"i{letter}_ = u{letter}", *bins_of(f"u{letter}", f"n{letter}", f"o{letter}",
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
        for name, stem, channel in self.results:
            where = [f"index(i{v}_{self.times(v, stem)})" for v in self.letters]
            where += [self.lane(channel)] if form.inner else []
            say(f"to{name} = long(index({' + '.join(where)}))")
        for name, stem, channel in self.sources:
            where = [f"index(h{v}{self.times(v, stem)})" for v in self.letters if form.near[v][1]]
            where += [self.lane(channel)] if form.inner else []
            say(f"at{name} = long(index({' + '.join(where) or '0'}))")
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
                for name, stem, _ in self.sources:
                    self.say(f"f{name}{v}{m} = long(index(({window} - h{v}){self.times(v, stem)}))")
                if self.form.counted:
                    self._say_count(f"c{v}{m}", window, tap, v)

    def _say_count(self, name: str, window: str, tap: Tap, suffix: str) -> None:
        self.say(*count_lines(name, window, tap, suffix, self.form.include_pad))

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
        for name, stem, _ in self.sources:
            free = (f" + long(i{k}) * {stem}i{k}" for k, axis in enumerate(outer) if axis < 0)
            say(f"b{name} = at{name}" + "".join(free))
        for name, stem, _ in self.results:
            step = "so" if stem == "t" else f"{stem}i"
            say(f"t{name} = to{name}" + "".join(
                f" + long(i{k}) * {step}{k}" for k in range(len(outer))))  # fmt: skip
        deep = [k for k, axis in enumerate(outer) if axis >= 0]
        if form.picking:
            say("mine = here" + "".join(f" + long(i{k}) * ps{k}" for k in deep))
        sizes = [form.tile(v) for v in ("y", "x") if v in form.near]
        cells = [(r, a) for r in range(sizes[0] if form.column else 1) for a in range(sizes[-1])]
        self.sums = {(r, a, v): f"g{r}_{a}_{v}" for r, a in cells for v in range(form.vector)}
        say(*(f"{name} = NOTHING" for name in self.sums.values()))
        if form.power:
            self._elements(cells, edge)
        self._search(deep, [f"b{name}" for name, _, _ in self.sources], edge, [])
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

    def _elements(self, cells: list[tuple[int, int]], edge: bool) -> None:
        """The elements of a tile; the nearest in place of one that there is not."""
        form, lanes = self.form, range(self.form.vector)
        name, stem, _ = self.results[-1]
        for r, a in cells:
            where = f"t{name}"
            for v, offset in (("y", r), ("x", a)):
                if v not in form.near or not form.near[v][1]:
                    continue
                move = str(offset)
                if edge:
                    at = f"index(i{v}_ + {offset})"
                    move = f"(min(max({at}, index(0)), index(n{v} - 1)) - i{v}_)"
                if move != "0":
                    where += f" + long(index({move}{self.times(v, stem)}))"
            read = [self._name("e") for _ in lanes]
            if form.vector > 1:
                self.say(f"{', '.join(read)} = load{form.vector}(s2, {where})")
            else:
                self.say(f"{read[0]} = s2[{where}]")
            for lane, element in zip(lanes, read, strict=True):
                self.values[r, a, lane] = self._name("v")
                self.say(f"{self.values[r, a, lane]} = keep0(lift({element}))")

    def _search(self, deep: list[int], base: list[str], edge: bool, counts: list[str]) -> None:
        """Loops over the windows of the axes that are searched, outermost first."""
        form, say = self.form, self.say
        if not deep:
            self._lines(base, edge, counts)
            return
        k = deep[0]
        tap = form.axes[form.outer[k]]
        s, e = tap.stride, tap.extent
        bounds = bins_of(f"i{k}", f"n{k}", f"oz{k}", f"z{k}", f"hz{k}") if not tap.kernel else [
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
        found = []
        for (name, stem, _), before in zip(self.sources, base, strict=True):
            found.append(f"b{name}{k}")
            say(f"b{name}{k} = {before} + long(z{k}) * {stem}i{k}")
        if form.counted:
            self._say_count(f"cz{k}", f"z{k}", tap, f"z{k}")
        self._search(deep[1:], found, edge, [*counts, f"cz{k}"])
        self.depth = depth + 1
        say(f"z{k} = index(z{k} + 1)")
        self.depth = depth

    def _lines(self, base: list[str], edge: bool, counts: list[str]) -> None:
        """The windows of the column, then those of the row."""
        if not self.form.column:
            self._row(base, edge, counts, None, [])
            return
        tap, tiled = self.form.near["y"]
        if tiled:
            for m in reversed(range(windows_of(tap))):
                reached = [r for r in range(tap.stride) if reaches(tap, r, m)]
                if reached:
                    line = [self._name("b") for _ in base]
                    for one, before, (name, _, _) in zip(line, base, self.sources, strict=True):
                        self.say(f"{one} = {before} + f{name}y{m}")
                    self._row(line, edge, [*counts, f"cy{m}"], f"vy{m}" if edge else None,
                              reached)  # fmt: skip
            return
        self._loop("y", tap, base, lambda line: self._row(
            line, edge, [*counts, "cy"], None, [0]))  # fmt: skip

    def _name(self, stem: str) -> str:
        self.names += 1
        return f"{stem}_{self.names}"

    def _loop(self, v: str, tap: Tap, base: list[str], body: object) -> None:
        say = self.say
        say(f"k{v} = l{v}", f"while k{v} <= h{v}:")
        depth = self.depth
        self.depth += 1
        if tap.dilation > 1:
            say(f"if remainder(index(u{v} + b{v} - k{v} * {tap.stride}), "
                f"index({tap.dilation})) == 0:")  # fmt: skip
            self.depth += 1
        line = [self._name("b") for _ in base]
        for one, before, (_, stem, _) in zip(line, base, self.sources, strict=True):
            say(f"{one} = {before} + long(index(k{v}{self.times(v, stem)}))")
        if self.form.counted:
            self._say_count(f"c{v}", f"k{v}", tap, v)
        body(line)  # type: ignore[operator]
        self.depth = depth + 1
        say(f"k{v} = index(k{v} + 1)")
        self.depth = depth

    def _row(
        self, base: list[str], edge: bool, counts: list[str], valid: str | None, reached: list[int]
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
            cells = [(r, a) for r in rows for a in range(tap.stride) if reaches(tap, a, n)]
            if cells:
                tests = [t for t in (valid, f"vx{n}" if edge else None) if t]
                at = [f"{b} + f{s[0]}x{n}" for b, s in zip(base, self.sources, strict=True)]
                self._meet(at, [*counts, f"cx{n}"], tests, cells)

    def _meet(
        self, at: list[str], counts: list[str], tests: list[str], cells: list[tuple[int, int]]
    ) -> None:
        """One window's gradient, and the elements that it reaches."""
        form, say = self.form, self.say
        lanes = range(form.vector)
        gradients = [self._name("e") for _ in lanes]
        places = [self._name("i") for _ in lanes]
        for pointer, names, where in (("s0", gradients, at[0]), ("s1", places, at[-1])):
            if pointer not in form.pointers():
                continue
            if form.vector > 1:
                say(f"{', '.join(names)} = load{form.vector}({pointer}, {where})")
            else:
                say(f"{names[0]} = {pointer}[{where}]")
        for v in lanes:
            value = self._name("x")
            say(f"{value} = keep0(lift({gradients[v]}))")
            if form.power in ("two", "any"):
                say(f"{places[v]} = keep0(lift({places[v]}))")
            if form.power == "two":
                say(f"{value} = keep0(over({value}, {places[v]}))")
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
                given = value
                if form.power == "any":
                    given = f"weighed({value}, {self.values[r, a, v]}, {places[v]}, less)"
                added = value if form.kind == "last" else f"keep0({name} + {given})"
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
                values = [f"encode({self._result(r, a, v)})" for v in range(form.vector)]
                if form.vector > 1:
                    say(f"store{form.vector}(d0, {where}, ({', '.join(values)}))")
                else:
                    say(f"d0[{where}] = {values[0]}")
                if tests:
                    self.depth -= 1

    def _result(self, r: int, a: int, v: int) -> str:
        total = self.sums[r, a, v]
        return f"ended({total}, {self.values[r, a, v]})" if self.form.power else total
