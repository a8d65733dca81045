"""The end of a kernel's text: accumulators finished, and written with their positions."""

from __future__ import annotations

from npool.cuda.forms import Form, Tap

__all__ = ["Results", "Text"]


class Text:
    """Lines of source, indented."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 1
        self.names = 0

    def say(self, *lines: str) -> None:
        self.lines += ["    " * self.depth + line for line in lines]

    def name(self, stem: str) -> str:
        self.names += 1
        return f"{stem}{self.names}"


class Results:
    """Mixed into a kernel of `npool.cuda.emit`, whose names these are."""

    form: Form
    out: Text
    row: Tap
    column: Tap

    def _assign(self, names: list[str], values: list[str]) -> None:
        self.out.say(*(f"{name} = {value}" for name, value in zip(names, values, strict=True)))

    def _combine(self, a: list[str], b: list[str], generic: bool) -> list[str]:
        raise NotImplementedError

    def _finish(
        self, results: dict[tuple[int, int, int], list[str]], edge: bool, deep: list[int]
    ) -> None:
        form, out = self.form, self.out
        if form.counted:
            for k in deep:
                self._deep_count(k)
        for r in range(form.down):
            guards = []
            if edge and form.down > 1 and r:
                guards.append(f"y + {r} < oy")
            for a in range(form.across):
                inside = [*guards, *([f"x + {a} < ox"] if edge and form.across > 1 and a else [])]
                if inside:
                    out.say(f"if {' and '.join(inside)}:")
                    out.depth += 1
                if edge or form.across == 1:
                    self._store([(r, a, v) for v in range(form.vector)], results, edge, deep)
                if inside:
                    out.depth -= 1
            if not edge and form.across > 1:
                self._store([(r, a, 0) for a in range(form.across)], results, edge, deep)

    def _deep_count(self, k: int) -> None:
        form = self.form
        tap = form.axes[form.outer[k]]
        positions = [f"wz{k} + {j * tap.dilation}" for j in range(tap.kernel)]
        if form.include_pad:
            tests = [f"index({p} < az{k})" for p in positions]
        else:
            tests = [f"index(({p} >= 0) & ({p} < nz{k}))" for p in positions]
        self.out.say(f"cntz{k} = index({' + '.join(tests)})")

    def _store(
        self,
        keys: list[tuple[int, int, int]],
        results: dict[tuple[int, int, int], list[str]],
        edge: bool,
        deep: list[int],
    ) -> None:
        """Write neighbouring outputs: finished, or as accumulators."""
        form, out = self.form, self.out
        r, a, _ = keys[0]
        inner = form.inner or not form.unit
        where = "t" + (f" + long(index({r} * ty))" if r else "")
        where += (f" + long(index({a} * tx))" if inner else f" + {a}") if a else ""
        columns: list[list[str]] = [[] for _ in self._targets()]
        for key in keys:
            values = results[key]
            if form.adding:
                already = [
                    f"held{p}(d{p}[{where} + {key[2]}])" for p in range(form.parts)]  # fmt: skip
                fresh = [out.name("u") for _ in already]
                self._assign(fresh, already)
                values = self._combine(fresh, values, True)
            written = self._written(key, values, edge, deep)
            for column, value in zip(columns, written, strict=True):
                column.append(value)
        for target, values in zip(self._targets(), columns, strict=True):
            if len(values) == 1:
                out.say(f"{target}[{where}] = {values[0]}")
                if form.imaginary:
                    out.say(f"{target}[{where} + 1] = ZERO")
            else:
                packed = ", ".join(values)
                out.say(f"store{len(values)}({target}, {where}, ({packed}))")

    def _targets(self) -> list[str]:
        return [p for p in self.form.pointers() if p.startswith("d")]

    def _written(
        self, key: tuple[int, int, int], values: list[str], edge: bool, deep: list[int]
    ) -> list[str]:
        form = self.form
        if form.placed:
            position = self._position(values[1])
            return [f"{'encode' if form.finishing else 'put0'}({values[0]})", f"put1({position})"]
        if not form.finishing:
            return [f"put{p}({v})" for p, v in enumerate(values)]
        count = self._count_of(key, edge, deep)
        params = "".join(f", cast(param{p})" for p in range(form.params))
        accumulator = values[0] if form.parts == 1 else f"({', '.join(values)})"
        return [f"encode(finish({accumulator}, {count}{params}))"]

    def _count_of(self, key: tuple[int, int, int], edge: bool, deep: list[int]) -> str:
        form = self.form
        if not form.counted or (not edge and not deep):
            return "full"
        r, a, _ = key
        if edge:
            factors = [f"cntx{a}"] + ([f"cnty{r}"] if form.column else [])
        else:
            factors = [str(self.row.kernel)] + ([str(self.column.kernel)] if form.column else [])
        return f"cast_count(index({' * '.join([*factors, *(f'cntz{k}' for k in deep)])}))"

    def _position(self, code: str) -> str:
        """A code within the window as a position in the plane; -1 for none."""
        form = self.form
        if form.folded:
            return f"select({code} == NO_PLACE, NOWHERE, {code})"
        bits, mask = form.code_bits, (1 << form.code_bits) - 1
        terms = []
        for axis, rank in enumerate(form.order):
            shift = bits * (len(form.axes) - 1 - rank)
            field = f"long(({code} >> {shift}) & {mask})"
            terms.append(f"{field} * {self._place_stride(axis)}")
        return f"select({code} == NO_PLACE, NOWHERE, long(base + {' + '.join(terms)}))"

    def _place_stride(self, axis: int) -> str:
        form = self.form
        if axis in form.outer:
            return f"ps{form.outer.index(axis)}"
        return "px" if axis == len(form.axes) - 1 else "py"
