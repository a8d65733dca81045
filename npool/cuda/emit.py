"""The text of a kernel: a window's taps written out, edges told from the interior once a thread.

A thread decides before its loop over planes whether all its windows lie inside the input. If so
it runs a loop without a single test; else one that clamps each tap into the input and puts the
identity in place of what lies outside. Neither has a division or a branch an element.
"""

from __future__ import annotations

from collections.abc import Iterable

from npool.cuda.forms import Form, Tap
from npool.cuda.written import Results, Text

__all__ = ["kernel_source"]


def kernel_source(form: Form) -> str:
    """A function ``kernel`` in Python, for Numba to compile in the namespace of its words."""
    return _Kernel(form).text()


class _Kernel(Results):
    def __init__(self, form: Form) -> None:
        self.form, self.out = form, Text()
        self.row, self.column = form.row, form.column or Tap(1, 1, 1)
        #: Offsets of the input rows and columns that a thread reads, from its first tap.
        self.rows = _offsets(self.column, form.down)
        self.columns = _offsets(self.row, form.across)

    def text(self) -> str:
        form, out = self.form, self.out
        names = [*form.pointers(), *(name for name, _ in form.numbers())]
        self._place()
        self._outer_start()
        out.say(f"if {self._inside()}:")
        out.depth += 1
        self._loop(edge=False)
        out.depth -= 1
        out.say("else:")
        out.depth += 1
        self._edge_offsets()
        self._loop(edge=True)
        out.depth -= 1
        return f"def kernel({', '.join(names)}):\n" + "\n".join(out.lines) + "\n"

    # --- before the loop ------------------------------------------------------------------------

    def _place(self) -> None:
        form, say = self.form, self.out.say
        say("lane = index(cuda.blockIdx.x) * index(cuda.blockDim.x) + index(cuda.threadIdx.x)",
            "lane = index(lane)", "if lane >= lanes:", "    return")  # fmt: skip
        if form.inner:
            # The one division of a thread.
            say("x = index(quotient(lane, channels))",
                f"c = index((lane - x * channels) * {form.vector})")  # fmt: skip
        else:
            say(f"x = index(lane * {form.across})")
        say(f"wx = index(x * {self.row.stride} - bx)")
        if form.column:
            say("y = index(cuda.blockIdx.y) * index(cuda.blockDim.y) + index(cuda.threadIdx.y)",
                f"y = index(y * {form.down})", "if y >= oy:", "    return",
                f"wy = index(y * {self.column.stride} - by)")  # fmt: skip
        inner = form.inner or not form.unit
        source = [f"wx{' * sx' if inner else ''}"] + (["wy * sy"] if form.column else [])
        result = [f"x{' * tx' if inner else ''}"] + (["y * ty"] if form.column else [])
        if form.inner:
            source.append("c" if form.unit else "c * ics")
            result.append("c" if form.unit else "c * ocs")
        say(f"at = long(index({' + '.join(source)}))", f"to = long(index({' + '.join(result)}))")
        for c in self.columns:
            if c and inner:
                say(f"cx{c} = long(index({c} * sx))")
        for r in self.rows:
            if r:
                say(f"cy{r} = long(index({r} * sy))")
        if form.tracking:
            say("origin = long(wx) * px" + (" + long(wy) * py" if form.column else "")
                + (" + long(c) * pc" if form.inner else ""))  # fmt: skip

    def _inside(self) -> str:
        form = self.form
        tests = ["wx >= 0", f"wx + {(form.across - 1) * self.row.stride + self.row.extent} <= nx"]
        if form.across > 1:
            tests.append(f"x + {form.across} <= ox")
        if form.column:
            reach = (form.down - 1) * self.column.stride + self.column.extent
            tests += ["wy >= 0", f"wy + {reach} <= ny"]
            if form.down > 1:
                tests.append(f"y + {form.down} <= oy")
        return " and ".join(tests)

    def _outer_start(self) -> None:
        """The digits of a thread's first plane, outermost first."""
        outer, say = self.form.outer, self.out.say
        say("p = index(cuda.blockIdx.z) * index(cuda.blockDim.z) + index(cuda.threadIdx.z)",
            "p = index(p)")  # fmt: skip
        if len(outer) == 1:
            say("i0 = p", "step0 = index(index(cuda.gridDim.z) * index(cuda.blockDim.z))")
            return
        for k in range(len(outer) - 1, 0, -1):
            say(f"i{k} = index(remainder(p, n{k}))", f"p = index(quotient(p, n{k}))")
        say("i0 = p")

    def _outer_next(self) -> None:
        """Add the step, digit by digit: no division in the loop."""
        outer, say = self.form.outer, self.out.say
        for k in range(len(outer) - 1, 0, -1):
            say(
                f"i{k} = index(i{k} + step{k})",
                f"if i{k} >= n{k}:",
                f"    i{k} = index(i{k} - n{k})",
                f"    i{k - 1} = index(i{k - 1} + 1)",
            )
        say("i0 = index(i0 + step0)")

    def _edge_offsets(self) -> None:
        """Clamped offsets of the taps, whether they lie inside, and what is divided by."""
        form, say = self.form, self.out.say
        inner = form.inner or not form.unit
        for axis, offsets in (("x", self.columns), ("y", self.rows if form.column else ())):
            times = f" * s{axis}" if axis == "y" or inner else ""
            for o in offsets:
                say(f"q = index(w{axis} + {o})", f"v{axis}{o} = (q >= 0) & (q < n{axis})",
                    f"q = index(min(max(q, index(0)), index(n{axis} - 1)))",
                    f"e{axis}{o} = long(index((q - w{axis}){times}))")  # fmt: skip
        if not form.counted:
            return
        for k in range(form.across):
            self._count("x", self.row, f"cntx{k}", k * self.row.stride)
        for k in range(form.down if form.column else 0):
            self._count("y", self.column, f"cnty{k}", k * self.column.stride)

    def _count(self, axis: str, tap: Tap, name: str, first: int) -> None:
        """How many taps of an output count along an axis."""
        offsets = [first + j * tap.dilation for j in range(tap.kernel)]
        if self.form.include_pad:
            tests = [f"index(w{axis} + {o} < a{axis})" for o in offsets]
        else:
            tests = [f"index(v{axis}{o})" for o in offsets]
        self.out.say(f"{name} = index({' + '.join(tests)})")

    # --- the loop -----------------------------------------------------------------------------

    def _loop(self, edge: bool) -> None:
        form, out = self.form, self.out
        out.say("while i0 < n0:")
        out.depth += 1
        sums = [f"long(i{k}) * si{k}" for k, axis in enumerate(form.outer) if axis < 0]
        out.say(
            f"b = at{''.join(' + ' + s for s in sums)}",
            "t = to" + "".join(f" + long(i{k}) * so{k}" for k in range(len(form.outer))),
        )
        if form.tracking:
            out.say(
                "base = origin"
                + "".join(f" + long(i{k}) * ps{k}" for k, axis in enumerate(form.outer) if axis < 0)
            )
        deep = [k for k, axis in enumerate(form.outer) if axis >= 0]
        for k in deep:
            tap = form.axes[form.outer[k]]
            out.say(f"wz{k} = index(i{k} * {tap.stride} - bz{k})")
            if form.tracking:
                out.say(f"base = base + long(wz{k}) * ps{k}")
        results = self._deep(deep, "b", edge, [])
        self._finish(results, edge, deep)
        self._outer_next()
        out.depth -= 1

    def _deep(
        self, deep: list[int], base: str, edge: bool, code: list[tuple[int, int]]
    ) -> dict[tuple[int, int, int], list[str]]:
        """The accumulators of a thread's outputs, over the taps of the deep axes."""
        if not deep:
            return self._plane(base, edge, code)
        form, out, k = self.form, self.out, deep[0]
        tap = form.axes[form.outer[k]]
        totals: dict[tuple[int, int, int], list[str]] = {}
        stem = out.name("g")
        for key in self._outputs():
            names = [f"{stem}_{key[0]}_{key[1]}_{key[2]}_{p}" for p in range(self._scalars)]
            self._assign(names, self._identity())
            totals[key] = names
        for j in range(tap.kernel):
            z, slab = out.name("z"), out.name("b")
            out.say(f"{z} = index(wz{k} + {j * tap.dilation})", f"if ({z} >= 0) & ({z} < nz{k}):")
            out.depth += 1
            out.say(f"{slab} = {base} + long({z}) * si{k}")
            found = self._deep(
                deep[1:], slab, edge, [*code, (form.outer[k], j * tap.dilation)])  # fmt: skip
            for key, names in totals.items():
                self._combine_into(names, names, found[key], generic=edge or not form.in_sequence
                                   or form.placed)  # fmt: skip
            out.depth -= 1
        return totals

    def _outputs(self) -> Iterable[tuple[int, int, int]]:
        form = self.form
        return ((r, a, v) for r in range(form.down) for a in range(form.across)
                for v in range(form.vector))  # fmt: skip

    @property
    def _scalars(self) -> int:
        return self.form.parts

    def _identity(self) -> list[str]:
        return [f"IDENTITY{p}" for p in range(self._scalars)]

    def _combine(self, a: list[str], b: list[str], generic: bool) -> list[str]:
        names = [self.out.name("m") for _ in a]
        self._combine_into(names, a, b, generic)
        return names

    def _combine_into(self, names: list[str], a: list[str], b: list[str], generic: bool) -> None:
        say = self.out.say
        if len(a) == 1:
            combined = f"combine({a[0]}, {b[0]})"
            say(f"{names[0]} = {combined if self.form.closed else f'keep0({combined})'}")
            return
        if self.form.placed and not generic:
            # b comes after a: the reducer is asked about places 0 and 1, and the code is chosen
            # by which it takes.
            say(f"{names[0]}, which = combine(({a[0]}, FIRST), ({b[0]}, SECOND))",
                f"{names[1]} = select(which == SECOND, {b[1]}, {a[1]})")  # fmt: skip
            return
        fresh = [self.out.name("k") for _ in names]
        say(f"{', '.join(fresh)} = combine(({', '.join(a)}), ({', '.join(b)}))")
        say(*(f"{n} = keep{p}({f})" for p, (n, f) in enumerate(zip(names, fresh, strict=True))))

    def _plane(
        self, base: str, edge: bool, code: list[tuple[int, int]]
    ) -> dict[tuple[int, int, int], list[str]]:
        """The accumulators over the column's and the row's taps."""
        form = self.form
        generic = edge or not form.in_sequence
        totals: dict[tuple[int, int, int], list[str]] = {}
        for r in self.rows:
            users = [d for d in range(form.down) if self._uses(self.column, d, r)]
            line = self.out.name("r")
            if edge and form.column:
                self.out.say(f"{line} = {base} + ey{r}")
            else:
                self.out.say(f"{line} = {base}" + (f" + cy{r}" if r else ""))
            partial = self._line(line, edge, [*code, *self._row_code(r)], r)
            for d in users:
                for (a, v), value in partial.items():
                    key = (d, a, v)
                    totals[key] = (
                        self._combine(totals[key], value, generic) if key in totals else value
                    )
        return totals

    @staticmethod
    def _uses(tap: Tap, output: int, offset: int) -> bool:
        rest = offset - output * tap.stride
        return rest % tap.dilation == 0 and 0 <= rest // tap.dilation < tap.kernel

    def _row_code(self, r: int) -> list[tuple[int, int]]:
        return [(len(self.form.axes) - 2, r)] if self.form.column else []

    def _code(self, offsets: list[tuple[int, int]]) -> int:
        """A position within the window, ordered as the caller orders the axes."""
        form, total = self.form, 0
        for axis, offset in offsets:
            rank = form.order[axis]
            total += offset << form.code_bits * (len(form.axes) - 1 - rank)
        return total

    def _line(
        self, line: str, edge: bool, code: list[tuple[int, int]], r: int
    ) -> dict[tuple[int, int], list[str]]:
        """Each output's taps in one row of the input, folded as a tree."""
        form = self.form
        loaded = self._load(line, edge, code, r)
        partial: dict[tuple[int, int], list[str]] = {}
        for a in range(form.across):
            first = a * self.row.stride
            for v in range(form.vector):
                values = [loaded[first + j * self.row.dilation, v] for j in range(self.row.kernel)]
                partial[a, v] = self._tree(values, edge)
        return partial

    def _tree(self, values: list[list[str]], edge: bool) -> list[str]:
        generic = edge or not self.form.in_sequence
        while len(values) > 1:
            pairs = [
                self._combine(values[i], values[i + 1], generic)
                for i in range(0, len(values) - 1, 2)
            ]
            values = pairs + values[len(values) - len(values) % 2 :]
        return values[0]

    def _load(
        self, line: str, edge: bool, code: list[tuple[int, int]], r: int
    ) -> dict[tuple[int, int], list[str]]:
        """Lifted elements of a row, by offset and channel."""
        form, out = self.form, self.out
        inner = form.inner or not form.unit
        raw: dict[tuple[int, int], list[str]] = {}
        pointers = [f"s{p}" for p in range(form.parts if form.folded else 1)]
        if form.load > 1 and not edge:
            for first in range(0, form.across * self.row.kernel, form.load):
                names = [out.name("e") for _ in range(form.load)]
                out.say(f"{', '.join(names)} = load{form.load}(s0, {line} + {first})")
                raw |= {(first + i, 0): [n] for i, n in enumerate(names)}
        else:
            for c in self.columns:
                shift = f"ex{c}" if edge else (f"cx{c}" if inner and c else str(c))
                for v in range(form.vector):
                    raw[c, v] = [out.name("e") for _ in pointers]
                for p, pointer in enumerate(pointers):
                    names = [raw[c, v][p] for v in range(form.vector)]
                    if form.vector > 1:
                        out.say(f"{', '.join(names)} = load{form.vector}({pointer}, {line} + "
                                f"{shift})")  # fmt: skip
                    else:
                        out.say(f"{names[0]} = {pointer}[{line} + {shift}]")
        return {(c, v): self._lift(names, edge, c, r, code) for (c, v), names in raw.items()}

    def _lift(
        self, names: list[str], edge: bool, c: int, r: int, code: list[tuple[int, int]]
    ) -> list[str]:
        form, out = self.form, self.out
        if form.plain and not edge and not form.placed:
            return names
        values = [out.name("x") for _ in range(self._scalars)]
        if form.plain and not form.placed:
            self._assign(values, names)
        elif form.folded:
            self._assign(values, [f"held{p}({n})" for p, n in enumerate(names)])
        elif form.placed:
            place = self._code([*code, (len(form.axes) - 1, c)])
            self._assign(
                values, [names[0] if form.plain else f"lift({names[0]})", f"code({place})"]
            )
        elif form.parts == 1:
            out.say(f"{values[0]} = keep0({self._lift_call(names[0])})")
        else:
            fresh = [out.name("k") for _ in values]
            out.say(f"{', '.join(fresh)} = {self._lift_call(names[0])}")
            self._assign(values, [f"keep{p}({f})" for p, f in enumerate(fresh)])
        if edge:
            test = f"vx{c}" + (f" & vy{r}" if form.column else "")
            self._assign(values, [
                f"select({test}, {v}, IDENTITY{p})" for p, v in enumerate(values)])  # fmt: skip
        return values

    def _lift_call(self, element: str) -> str:
        params = "".join(f", cast(param{p})" for p in range(self.form.params))
        return f"lift({element}{params})"


def _offsets(tap: Tap, outputs: int) -> list[int]:
    """Where the taps of `outputs` neighbouring windows lie, from the first."""
    return sorted(
        {o * tap.stride + j * tap.dilation for o in range(outputs) for j in range(tap.kernel)}
    )
