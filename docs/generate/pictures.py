"""Draw the pictures of the guide: `python docs/generate/pictures.py`.

Every tap, every piece of padding and every count comes from the plan that npool itself makes of
the call in the caption (`npool.geometry.make_plan`), so a picture cannot say anything else than
what the library does. A test draws them again and compares, and holds the taps to the oracle's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

import npool
from npool.geometry import Plan, Window, make_plan

FOLDER = Path(__file__).resolve().parent.parent / "pictures"

CELL, ROW = 34, 30
LEFT, MARGIN = 92, 16
STYLE = """
text { font-family: "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; fill: #222; }
.small { font-size: 11px; fill: #667; }
.label { font-size: 13px; }
.call { font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 13px; }
.number { font-size: 13px; text-anchor: middle; }
.position { font-size: 11px; fill: #889; text-anchor: middle; }
.head { font-size: 11px; fill: #667; text-anchor: middle; }
.element { fill: #e8eefc; stroke: #7d90c4; }
.padding { fill: #f3efe6; stroke: #b9ad93; stroke-dasharray: 3 2; }
.span { fill: #3f51b5; fill-opacity: 0.10; }
.tap { fill: #3f51b5; stroke: #3f51b5; stroke-width: 1.5; }
.tap-in-padding { fill: #fff; stroke: #3f51b5; stroke-width: 1.5; }
.tap-past-the-end { stroke: #c0504d; stroke-width: 1.8; fill: none; }
.dropped { opacity: 0.45; }
.seen { fill: #c9d3f7; stroke: #3f51b5; }
.seen-padding { fill: #e6dcc4; stroke: #8d7c55; stroke-dasharray: 3 2; }
.frame { fill: none; stroke: #3f51b5; stroke-width: 2.2; }
"""


@dataclass(frozen=True)
class Call:
    """A call on one axis: what the caption says and the plan is made of."""

    length: int
    kernel: int
    stride: int | None = None
    padding: Any = 0
    dilation: int = 1
    ceil_mode: bool = False
    #: Write the divisors beside the outputs.
    divisors: bool = False
    #: Also draw the window that the rule on the last one drops.
    dropped: bool = False

    def plan(self) -> Plan:
        """What npool makes of it."""
        return make_plan(
            (self.length,), (self.kernel,), self.stride, self.padding, self.dilation, self.ceil_mode
        )

    def text(self) -> str:
        """The call, without what is at its default."""
        given = [f"{self.length} elements", f"kernel_size=({self.kernel},)"]
        for name, default in (
            ("stride", None), ("padding", 0), ("dilation", 1), ("ceil_mode", False),
        ):  # fmt: skip
            value = getattr(self, name)
            if value != default:
                given.append(f"{name}={value!r}")
        if self.length == 1:
            given[0] = "1 element"
        return ", ".join(given)


class Canvas:
    """SVG elements, and how much room they take."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.width = self.height = 0

    def reach(self, x: int, y: int) -> None:
        """Make room up to a point."""
        self.width, self.height = max(self.width, x), max(self.height, y)

    def text(self, x: int, y: int, words: str, kind: str) -> None:
        """Words, their baseline starting (or, for some kinds, centred) at a point."""
        self.parts.append(f'<text class="{kind}" x="{x}" y="{y}">{escape(words)}</text>')
        if kind in ("call", "label", "small"):
            self.reach(x + int(len(words) * (8.2 if kind == "call" else 6.4)), y)

    def box(self, x: int, y: int, width: int, height: int, kind: str, more: str = "") -> None:
        """A rectangle."""
        self.parts.append(
            f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}"{more}/>'
        )
        self.reach(x + width, y + height)

    def dot(self, x: int, y: int, kind: str, more: str = "") -> None:
        """A tap."""
        self.parts.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="6"{more}/>')

    def cross(self, x: int, y: int, kind: str, more: str = "") -> None:
        """A tap that there is no place for."""
        self.parts.append(f'<path class="{kind}" d="M{x - 5} {y - 5}l10 10m0 -10l-10 10"{more}/>')

    def svg(self, title: str, description: str) -> str:
        """The picture as a file."""
        width, height = self.width + MARGIN, self.height + MARGIN
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" '
            f'height="{height}" viewBox="0 0 {width} {height}">'
        )
        return "\n".join(
            [
                head,
                f"<title>{escape(title)}</title>",
                f"<desc>{escape(description)}</desc>",
                f"<style>{STYLE}</style>",
                f'<rect width="{width}" height="{height}" rx="6" fill="#fff"/>',
                *self.parts,
                "</svg>\n",
            ]
        )


def taps(window: Window, output: int) -> Iterator[tuple[int, str]]:
    """Each tap of an output: its position, and where it lies."""
    first, stop = window.taps(output)
    for j in range(window.kernel):
        position = window.start(output) + j * window.dilation
        if first <= j < stop:
            yield position, "tap"
        elif position < window.size + window.after:
            yield position, "tap-in-padding"
        else:
            yield position, "tap-past-the-end"


KINDS = {
    "tap": "an element of x",
    "tap-in-padding": "padding",
    "tap-past-the-end": "past the padding: never counted",
}


def chart(canvas: Canvas, call: Call, top: int) -> tuple[int, set[str]]:
    """Draw a call: the axis, then one line for each output. Returns the bottom and what it used."""
    window = call.plan().windows[0]
    n, before, after = window.size, window.before, window.after
    outputs = list(range(window.out + int(call.dropped)))
    end = max(n + after, *(window.start(i) + window.extent for i in outputs))

    def left_of(position: int) -> int:
        return LEFT + (position + before) * CELL

    y = top + 16
    canvas.text(MARGIN, y, f"{call.text()} → {window.out}", "call")
    y += 22
    for position in range(-before, end):
        canvas.text(left_of(position) + CELL // 2, y, str(position), "position")
    y += 6
    canvas.text(MARGIN, y + 18, "x", "label")
    for position in range(-before, n + after):
        kind = "element" if 0 <= position < n else "padding"
        canvas.box(left_of(position), y, CELL, 26, kind)
    y += 32
    counts_at = left_of(end) + 14
    if call.divisors:
        for column, words in enumerate(("with", "without")):
            canvas.text(counts_at + 26 + column * 56, top + 36, words, "head")
            canvas.text(counts_at + 26 + column * 56, top + 48, "padding", "head")
            canvas.reach(counts_at + 56 * (column + 1), y)
    used: set[str] = set()
    for output in outputs:
        middle = y + ROW // 2
        is_dropped = output >= window.out
        if is_dropped:
            canvas.parts.append('<g class="dropped">')
        label = f"dropped: {output}" if is_dropped else f"output {output}"
        canvas.text(MARGIN, middle + 5, label, "label")
        span = window.extent * CELL
        canvas.box(left_of(window.start(output)), y + 3, span, ROW - 6, "span", ' rx="9"')
        for position, kind in taps(window, output):
            data = "" if is_dropped else f' data-output="{output}" data-position="{position}"'
            mark = canvas.cross if kind == "tap-past-the-end" else canvas.dot
            mark(left_of(position) + CELL // 2, middle, kind, data)
            used.add(kind)
        if is_dropped:
            canvas.parts.append("</g>")
        elif call.divisors:
            for column, include_pad in enumerate((True, False)):
                count = str(window.count(output, include_pad))
                canvas.text(counts_at + 26 + column * 56, middle + 5, count, "number")
        y += ROW
    canvas.reach(left_of(end), y)
    return y + 14, used


def charts(*calls: Call) -> Canvas:
    """Several calls, one below the other, and what the marks mean."""
    canvas = Canvas()
    y, used = 8, set()
    for call in calls:
        y, more = chart(canvas, call, y)
        used |= more
    x = MARGIN + 6
    for kind, words in KINDS.items():
        if kind in used:
            (canvas.cross if kind == "tap-past-the-end" else canvas.dot)(x, y + 4, kind)
            canvas.text(x + 13, y + 8, words, "small")
            x += 30 + int(len(words) * 6.4)
    return canvas


def planes(x: Any, **call: Any) -> Canvas:
    """A matrix under each of the windows of a call, and what max_pool makes of it."""
    plan = make_plan(x.shape, **call)
    rows, columns = plan.windows
    result = npool.max_pool(x, **call)
    canvas = Canvas()
    words = ", ".join(f"{k}={v!r}" for k, v in call.items())
    canvas.text(MARGIN, 26, f"max_pool(x, {words})", "call")
    size, gap, top = 26, 34, 44
    height = rows.size + rows.before + rows.after
    width = columns.size + columns.before + columns.after
    for at, (i, j) in enumerate(np.ndindex(plan.out_shape)):
        left = MARGIN + at * (width * size + gap)
        seen_rows = {position for position, _ in taps(rows, i)}
        seen_columns = {position for position, _ in taps(columns, j)}
        for r in range(-rows.before, rows.size + rows.after):
            for c in range(-columns.before, columns.size + columns.after):
                inside = 0 <= r < rows.size and 0 <= c < columns.size
                seen = r in seen_rows and c in seen_columns
                kind = "element" if inside else "padding"
                if seen:
                    kind = "seen" if inside else "seen-padding"
                px = left + (c + columns.before) * size
                py = top + (r + rows.before) * size
                data = f' data-output="{i} {j}" data-position="{r} {c}"' if seen else ""
                canvas.box(px, py, size, size, kind, data)
                if inside:
                    canvas.text(px + size // 2, py + 18, str(x[r, c]), "number")
        canvas.box(
            left + (columns.start(j) + columns.before) * size,
            top + (rows.start(i) + rows.before) * size,
            columns.extent * size,
            rows.extent * size,
            "frame",
        )
        canvas.text(left, top + height * size + 22, f"output[{i}, {j}] = {result[i, j]}", "label")
    canvas.reach(0, top + height * size + 26)
    return canvas


CHARTS: dict[str, tuple[str, tuple[Call, ...]]] = {
    "windows": ("Windows of three elements at stride 1", (Call(7, 3, 1),)),
    "stride": (
        "The default stride is the window itself; a smaller one makes windows overlap",
        (Call(7, 3), Call(7, 3, 2), Call(7, 2, 3)),
    ),
    "padding": (
        "Padding on both sides, and on one side",
        (Call(5, 3, 2, 1), Call(5, 3, 2, ((2, 0),))),
    ),
    "dilation": (
        "Taps that lie apart: an effective window of five elements",
        (Call(8, 3, 1, 0, 2),),
    ),
    "ceil-mode": (
        "Ceil mode keeps a clipped last window, if it starts before the trailing padding",
        (Call(6, 3, 2), Call(6, 3, 2, ceil_mode=True),
         Call(4, 2, 3, 1, ceil_mode=True, dropped=True)),
    ),
    "same": (
        "SAME padding: as many outputs as strides; the odd element goes after, or before",
        (Call(6, 3, 2, "same"), Call(6, 3, 2, "same_lower")),
    ),
    "divisors": (
        "What an average divides by, with and without padding in the count",
        (Call(6, 3, 2, 1, ceil_mode=True, divisors=True), Call(6, 2, 1, 1, 2, divisors=True)),
    ),
    "only-padding": (
        "Windows that hold no element: stepping over x, and lying beside it",
        (Call(1, 2, 1, 1, 2), Call(2, 1, 1, ((1, 0),))),
    ),
}  # fmt: skip


def _chart_picture(name: str) -> str:
    title, calls = CHARTS[name]
    said = "; ".join(f"{call.text()}: {call.plan().windows[0].out} outputs" for call in calls)
    return charts(*calls).svg(title, said)


def _planes_picture() -> str:
    x = np.arange(16).reshape(4, 4)
    canvas = planes(x, kernel_size=(3, 3), stride=2, padding=1)
    return canvas.svg(
        "The four windows of a padded 4 × 4 matrix",
        "The maximum over windows of 3 × 3 elements, two apart, with one element of padding",
    )


PICTURES: dict[str, Callable[[], str]] = {
    **{name: (lambda name=name: _chart_picture(name)) for name in CHARTS},
    "windows-2d": _planes_picture,
}


def main() -> int:
    """Write all pictures; with ``--check`` only say which ones would change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if any differs")
    check = parser.parse_args().check
    changed = []
    for name, draw in PICTURES.items():
        path = FOLDER / f"{name}.svg"
        svg = draw()
        if not path.is_file() or path.read_text(encoding="utf-8") != svg:
            changed.append(name)
            if not check:
                path.write_text(svg, encoding="utf-8")
    print("changed:", ", ".join(changed) or "nothing")
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
