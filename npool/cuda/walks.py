"""Kernels that walk: windows too long to be written out, adaptive windows, and the last pass.

Everything that a `Form` compiles in is an argument here: one kernel serves every window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Counter", "Walk", "walk_source"]

#: Taps folded as a tree, and runs of them folded before they meet the rest of a long window: a sum
#: of 1,024 numbers of one sign stays within a few units in the last place.
TREE, RUN = 16, 128


@dataclass(frozen=True)
class Counter:
    """Along which dimension of a last pass the divisor is counted.

    `where` is the number of an outer dimension, or -1 for the lanes; `kind` says how: "padded"
    and "inside" as `npool.geometry.Window.count`, "adaptive" the length of an adaptive window.
    """

    where: int
    kind: str


@dataclass(frozen=True)
class Walk:
    """The shape of a walking kernel's code; names as in `npool.cuda.forms.Form`.

    Attributes
    ----------
    kind : str
        ``"window"``, ``"adaptive"`` or ``"finish"``.
    outer : int
        How many dimensions the loop over planes has.
    counters : tuple of Counter
        Of a ``"finish"``: what is multiplied to the divisor.
    imaginary : bool
        Of a ``"finish"``: whether a 0 is written after each result.
    """

    kind: str
    outer: int
    inner: bool = False
    parts: int = 1
    folded: bool = False
    order: tuple[int, ...] = ()
    counters: tuple[Counter, ...] = ()
    params: int = 0
    imaginary: bool = False

    #: Offsets and numbers of planes have 64 bits.
    wide = True
    adding = False

    @property
    def finishing(self) -> bool:
        """Whether results are written (else accumulators)."""
        return self.kind == "finish"

    @property
    def placed(self) -> bool:
        """Whether positions are kept."""
        return bool(self.order)

    @property
    def tracking(self) -> bool:
        """Whether positions are made here."""
        return self.placed and not self.folded

    def pointers(self) -> tuple[str, ...]:
        """Names of the pointer arguments: sources first, then results."""
        sources = tuple(f"s{p}" for p in range(self.parts if self.folded else 1))
        if self.finishing:
            return (*sources, "d0", *(("d1",) if self.placed else ()))
        return (*sources, *(f"d{p}" for p in range(self.parts)))

    def numbers(self) -> Iterator[tuple[str, str]]:
        """Names and types of the arguments after the pointers, as of a `Form`."""
        names = ["lanes"]
        if self.inner:
            names += ["channels", "ics", "ocs"]
        names += ["sx", "tx"]
        if not self.finishing:
            names += ["ox", "nx"]
            if self.kind == "window":
                names += ["bx", "kernel", "stride", "apart"]
            if self.tracking:
                names += ["px", *(["pc"] if self.inner else [])]
        for k in range(self.outer):
            names += [f"n{k}", f"si{k}", f"so{k}", f"step{k}"]
            if self.tracking:
                names.append(f"ps{k}")
        for m, counter in enumerate(self.counters):
            names += [f"cn{m}", f"co{m}"]
            if counter.kind != "adaptive":
                names += [f"cs{m}", f"cb{m}", f"ck{m}", f"cd{m}", f"cl{m}"]
        yield from ((name, "i") for name in names)
        yield "full", "c"
        for p in range(self.params):
            yield f"param{p}", "f"


def walk_source(walk: Walk) -> str:
    """A function ``kernel`` in Python, for Numba to compile in the namespace of its words."""
    lines = _place(walk)
    names = [*walk.pointers(), *(name for name, _ in walk.numbers())]
    if walk.finishing:
        lines += _planes(walk, _finish(walk))
    else:
        lines += _reach(walk) + _planes(walk, _fold(walk))
    return f"def kernel({', '.join(names)}):\n" + "\n".join("    " + line for line in lines) + "\n"


def _place(walk: Walk) -> list[str]:
    lines = [
        "lane = index(cuda.blockIdx.x) * index(cuda.blockDim.x) + index(cuda.threadIdx.x)",
        "if lane >= lanes:",
        "    return",
    ]
    if walk.inner:
        lines += ["x = quotient(lane, channels)", "c = lane - x * channels",
                  "at = c * ics", "to = x * tx + c * ocs"]  # fmt: skip
    else:
        lines += ["x = lane", "at = index(0)", "to = x * tx"]
    return lines


def _reach(walk: Walk) -> list[str]:
    """The first and the last tap inside the input, and how far apart they are."""
    if walk.kind == "adaptive":
        # As torch's adaptive pooling: floor(x n / o) to ceil((x + 1) n / o).
        lines = ["first = quotient(x * nx, ox)", "last = quotient((x + 1) * nx + ox - 1, ox)",
                 "at = at + first * sx", "taps = last - first", "hop = sx"]  # fmt: skip
        return lines + _origin(walk, "first", "1")
    lines = [
        "start = x * stride - bx",
        "first = index(0)",
        "if start < 0:",
        "    first = quotient(apart - 1 - start, apart)",
        "last = index(0)",
        "if start < nx:",
        "    last = min(kernel, quotient(nx - start + apart - 1, apart))",
        "at = at + (start + first * apart) * sx",
        "taps = last - first",
        "hop = apart * sx",
    ]
    return lines + _origin(walk, "start + first * apart", "apart")


def _origin(walk: Walk, first: str, apart: str) -> list[str]:
    """The position of a window's first tap, and how far apart those of its taps are."""
    if not walk.tracking:
        return []
    channel = " + c * pc" if walk.inner else ""
    return [f"origin = ({first}) * px{channel}", f"stretch = {apart} * px"]


def _planes(walk: Walk, body: list[str]) -> list[str]:
    """A loop over planes, the digits of which go up by the digits of a step."""
    many = range(walk.outer)
    lines = ["p = index(cuda.blockIdx.z) * index(cuda.blockDim.z) + index(cuda.threadIdx.z)"]
    for k in reversed(many[1:]):
        lines += [f"i{k} = remainder(p, n{k})", f"p = quotient(p, n{k})"]
    lines += ["i0 = p", "while i0 < n0:"]
    source = " + ".join(["at", *(f"i{k} * si{k}" for k in many)])
    result = " + ".join(["to", *(f"i{k} * so{k}" for k in many)])
    inside = [f"b = {source}", f"t = {result}", *body]
    for k in reversed(many[1:]):
        inside += [f"i{k} = i{k} + step{k}", f"if i{k} >= n{k}:", f"    i{k} = i{k} - n{k}",
                   f"    i{k - 1} = i{k - 1} + 1"]  # fmt: skip
    inside.append("i0 = i0 + step0")
    return lines + ["    " + line for line in inside]


def _element(walk: Walk, tap: str, names: list[str]) -> list[str]:
    """The accumulator of one tap."""
    at = f"b + ({tap}) * hop"
    if walk.folded:
        return [f"{n} = held{p}(s{p}[{at}])" for p, n in enumerate(names)]
    if walk.placed:
        return [f"{names[0]} = lift(s0[{at}])", f"{names[1]} = keep1(base + ({tap}) * stretch)"]
    params = "".join(f", cast(param{p})" for p in range(walk.params))
    if walk.parts == 1:
        return [f"{names[0]} = keep0(lift(s0[{at}]{params}))"]
    fresh = [f"{n}_" for n in names]
    return [
        f"{', '.join(fresh)} = lift(s0[{at}]{params})",
        *(f"{n} = keep{p}({f})" for p, (n, f) in enumerate(zip(names, fresh, strict=True))),
    ]


def _combine(walk: Walk, names: list[str], a: list[str], b: list[str]) -> list[str]:
    if walk.parts == 1:
        return [f"{names[0]} = keep0(combine({a[0]}, {b[0]}))"]
    fresh = [f"{n}_" for n in names]
    return [
        f"{', '.join(fresh)} = combine(({', '.join(a)}), ({', '.join(b)}))",
        *(f"{n} = keep{p}({f})" for p, (n, f) in enumerate(zip(names, fresh, strict=True))),
    ]


def _fold(walk: Walk) -> list[str]:
    """A window: trees of taps, runs of trees, and the runs one after another."""
    parts = range(walk.parts)

    def named(stem: str) -> list[str]:
        return [f"{stem}_{p}" for p in parts]

    def cleared(names: list[str]) -> list[str]:
        return [f"{n} = IDENTITY{p}" for p, n in enumerate(names)]

    leaves = [named(f"e{j}") for j in range(TREE)]
    tree = [line for j, names in enumerate(leaves) for line in _element(walk, f"j + {j}", names)]
    while len(leaves) > 1:
        tree += [
            line
            for i in range(0, len(leaves), 2)
            for line in _combine(walk, leaves[i], leaves[i], leaves[i + 1])
        ]
        leaves = leaves[::2]
    total, run, one = named("total"), named("run"), named("one")
    lines = ["j = index(0)", *cleared(total)]
    if walk.tracking:
        lines.append("base = origin" + "".join(f" + i{k} * ps{k}" for k in range(walk.outer)))
    inside = [
        *cleared(run),
        f"stop = min(taps, j + {RUN})",
        f"while j + {TREE} <= stop:",
        *("    " + line for line in tree),
        *("    " + line for line in _combine(walk, run, run, leaves[0])),
        f"    j = j + {TREE}",
        "while j < stop:",
        *("    " + line for line in _element(walk, "j", one)),
        *("    " + line for line in _combine(walk, run, run, one)),
        "    j = j + 1",
        *_combine(walk, total, total, run),
    ]
    lines += ["while j < taps:", *("    " + line for line in inside)]
    return lines + [f"d{p}[t] = put{p}({n})" for p, n in enumerate(total)]


def _finish(walk: Walk) -> list[str]:
    """An accumulator to a result, divided by what the window counts."""
    values = [f"v{p}" for p in range(walk.parts)]
    lines = [f"{v} = held{p}(s{p}[b + x * sx])" for p, v in enumerate(values)]
    if walk.placed:
        nowhere = f"select({values[1]} == NO_PLACE, NOWHERE, {values[1]})"
        return [*lines, f"d0[t] = encode({values[0]})", f"d1[t] = put1({nowhere})"]
    for m, counter in enumerate(walk.counters):
        lines += _count(m, counter)
    factors = " * ".join(f"count{m}" for m in range(len(walk.counters)))
    count = f"cast_count({factors})" if walk.counters else "full"
    params = "".join(f", cast(param{p})" for p in range(walk.params))
    accumulator = values[0] if walk.parts == 1 else f"({', '.join(values)})"
    lines.append(f"d0[t] = encode(finish({accumulator}, {count}{params}))")
    return [*lines, *(["d0[t + 1] = ZERO"] if walk.imaginary else [])]


def _count(m: int, counter: Counter) -> list[str]:
    i = f"i{counter.where}" if counter.where >= 0 else "x"
    if counter.kind == "adaptive":
        return [f"count{m} = quotient(({i} + 1) * cn{m} + co{m} - 1, co{m}) "
                f"- quotient({i} * cn{m}, co{m})"]  # fmt: skip
    start = [f"from{m} = {i} * cs{m} - cb{m}"]
    if counter.kind == "padded":
        extent = f"(ck{m} - 1) * cd{m} + 1"
        reach = f"min(from{m} + {extent}, cl{m}) - from{m}"
        return [*start, f"count{m} = quotient({reach} + cd{m} - 1, cd{m})"]
    return [
        *start,
        f"low{m} = index(0)",
        f"if from{m} < 0:",
        f"    low{m} = quotient(cd{m} - 1 - from{m}, cd{m})",
        f"high{m} = index(0)",
        f"if from{m} < cn{m}:",
        f"    high{m} = min(ck{m}, quotient(cn{m} - from{m} + cd{m} - 1, cd{m}))",
        f"count{m} = max(index(0), high{m} - low{m})",
    ]
