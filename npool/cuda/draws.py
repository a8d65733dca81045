"""The text of a kernel whose windows begin elsewhere in each plane."""

from __future__ import annotations

import numpy as np

from npool.cuda.forms import Drawing

__all__ = ["drawn_source"]


def drawn_source(form: Drawing) -> str:
    """A function ``kernel`` in Python, for Numba to compile in the namespace of its words."""
    names = [*form.pointers(), *(name for name, _ in form.numbers())]
    lines = [
        "lane = index(index(cuda.blockIdx.x) * index(cuda.blockDim.x) + index(cuda.threadIdx.x))",
        "if lane >= lanes:",
        "    return",
    ]
    row = len(form.kernels) - 1
    if form.inner:
        lines += ["x = index(quotient(lane, channels))", "c = index(lane - x * channels)",
                  "at = long(c) * ics", "to = long(x) * tx + long(c) * ocs",
                  "drawn = long(c) * uc"]  # fmt: skip
    else:
        lines += ["x = lane", "at = long(0)", "to = long(x) * tx", "drawn = long(0)"]
    lines += ["p = index(index(cuda.blockIdx.z) * index(cuda.blockDim.z) + "
              "index(cuda.threadIdx.z))"]  # fmt: skip
    many = range(len(form.outer))
    for k in reversed(many[1:]):
        lines += [f"i{k} = index(remainder(p, n{k}))", f"p = index(quotient(p, n{k}))"]
    lines += ["i0 = p", "while i0 < n0:"]
    free = [k for k in many if form.outer[k] < 0]
    body = [
        "b = at" + "".join(f" + long(i{k}) * si{k}" for k in free),
        "t = to" + "".join(f" + long(i{k}) * so{k}" for k in many),
        "u = drawn" + "".join(f" + long(i{k}) * su{k}" for k in free),
    ]
    digits = {axis: f"i{k}" for k, axis in enumerate(form.outer) if axis >= 0} | {row: "x"}
    for a in range(len(form.kernels)):
        body += [
            f"g{a} = index(begin{a}(draw(su[u + u{a}]), {digits[a]}, far{a}, last{a}))",
            f"g{a} = select({digits[a]} == index(o{a} - 1), last{a}, g{a})",
            f"b = b + long(g{a}) * m{a}",
        ]
    if form.tracking:
        body.append("base = " + " + ".join(f"long(g{a}) * p{a}" for a in range(len(form.kernels))))
    body += _taps(form)
    for k in reversed(many[1:]):
        body += [f"i{k} = index(i{k} + step{k})", f"if i{k} >= n{k}:",
                 f"    i{k} = index(i{k} - n{k})",
                 f"    i{k - 1} = index(i{k - 1} + 1)"]  # fmt: skip
    body.append("i0 = index(i0 + step0)")
    lines += ["    " + line for line in body]
    return f"def kernel({', '.join(names)}):\n" + "\n".join("    " + line for line in lines) + "\n"


def _taps(form: Drawing) -> list[str]:
    """A window's taps, folded as a tree, and the result."""
    lines: list[str] = []
    values: list[list[str]] = []
    for number, taps in enumerate(np.ndindex(*form.kernels)):
        names = [f"e{number}_{p}" for p in range(form.parts)]
        at = "b" + "".join(f" + {j} * m{a}" for a, j in enumerate(taps) if j)
        values.append(names)
        if form.folded:
            lines += [f"{n} = held{p}(s{p}[{at}])" for p, n in enumerate(names)]
            continue
        lines.append(f"{names[0]} = keep0(lift(s0[{at}]))")
        if form.tracking:
            place = "base" + "".join(f" + {j} * p{a}" for a, j in enumerate(taps) if j)
            lines.append(f"{names[1]} = keep1({place})")
    while len(values) > 1:
        following = []
        for i in range(0, len(values) - 1, 2):
            a, b = values[i], values[i + 1]
            if form.parts == 1:
                lines.append(f"{a[0]} = keep0(combine({a[0]}, {b[0]}))")
            else:
                fresh = [f"{n}_" for n in a]
                lines.append(f"{', '.join(fresh)} = combine(({', '.join(a)}), ({', '.join(b)}))")
                lines += [
                    f"{n} = keep{p}({f})" for p, (n, f) in enumerate(zip(a, fresh, strict=True))
                ]
            following.append(a)
        values = following + values[len(values) - len(values) % 2 :]
    (found,) = values
    lines.append(f"d0[t] = encode({found[0]})")
    if form.placed:
        lines.append(f"d1[t] = put1({found[1]})")
    return lines
