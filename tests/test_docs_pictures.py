"""The pictures of the guide show what npool does: drawn anew, and held to the oracle."""

import importlib
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from npool.testing import oracle

ROOT = Path(__file__).resolve().parent.parent
GUIDE = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))


def load(name):
    """A module of docs/generate, which is no package."""
    sys.path.insert(0, str(ROOT / "docs" / "generate"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


pictures = load("pictures")


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_pictures_are_what_the_script_draws(name):
    path = pictures.FOLDER / f"{name}.svg"
    assert path.read_text(encoding="utf-8") == pictures.PICTURES[name](), (
        "the picture differs from what npool does now: python docs/generate/pictures.py"
    )


def test_no_picture_is_left_over_or_unused():
    drawn = {f"{name}.svg" for name in pictures.PICTURES}
    assert {path.name for path in pictures.FOLDER.iterdir()} == drawn
    assert set(re.findall(r"\(pictures/([\w-]+\.svg)\)", GUIDE)) == drawn


def marks(svg, *kinds):
    """``(output, position)`` of every mark of these classes, as integers, in order."""
    found = []
    for element in ElementTree.fromstring(svg).iter():
        if element.get("class") in kinds and element.get("data-output"):
            output = tuple(map(int, element.get("data-output").split()))
            found.append((output, tuple(map(int, element.get("data-position").split()))))
    return found


def axis_of(call):
    (axis,) = oracle.pooled_axes(
        (call.length,), (call.kernel,), call.stride, call.padding, call.dilation, call.ceil_mode
    )
    return axis


@pytest.mark.parametrize("name", pictures.CHARTS)
def test_taps_are_the_oracle_s(name):
    _, calls = pictures.CHARTS[name]
    for call in calls:
        svg = pictures.charts(call).svg("", "")
        axis = axis_of(call)
        expected = [((o,), (p,)) for o in range(axis.outputs) for p in axis.taps(o)]
        assert marks(svg, "tap") == expected
        every = marks(svg, "tap", "tap-in-padding", "tap-past-the-end")
        assert len(every) == axis.outputs * axis.kernel
        # Whatever is drawn as padding lies in it, and what counts is what the divisor counts.
        counted = marks(svg, "tap", "tap-in-padding")
        for output in range(axis.outputs):
            assert sum(o == (output,) for o, _ in counted) == axis.counted(output)
        for _, (position,) in marks(svg, "tap-in-padding"):
            inside = 0 <= position < axis.length
            assert not inside
            assert -axis.before <= position < axis.length + axis.after


def test_divisors_are_the_oracle_s():
    _, calls = pictures.CHARTS["divisors"]
    for call in calls:
        axis = axis_of(call)
        numbers = re.findall(
            r'<text class="number"[^>]*>(\d+)</text>', pictures.charts(call).svg("", "")
        )
        expected = [[axis.counted(o), len(axis.taps(o))] for o in range(axis.outputs)]
        assert np.reshape(numbers, (-1, 2)).astype(int).tolist() == expected


def test_planes_are_the_oracle_s():
    x = np.arange(16).reshape(4, 4)
    svg = pictures.PICTURES["windows-2d"]()
    rows, columns = oracle.pooled_axes((4, 4), (3, 3), 2, 1)
    expected = {
        ((i, j), (r, c))
        for i in range(rows.outputs)
        for j in range(columns.outputs)
        for r in rows.taps(i)
        for c in columns.taps(j)
    }
    assert set(marks(svg, "seen")) == expected
    results = re.findall(r"output\[\d, \d\] = (\d+)", svg)
    values = oracle.pool(x, (3, 3), 2, 1)
    assert [int(result) for result in results] == values.ravel().tolist()


def test_a_change_of_the_geometry_shows(monkeypatch):
    # One tap fewer at the left edge: the committed picture is no longer what is drawn.
    window = type(pictures.Call(5, 3).plan().windows[0])
    taps = window.taps

    def wrong(self, i):
        first, stop = taps(self, i)
        return (min(first + 1, stop), stop) if i == 0 else (first, stop)

    monkeypatch.setattr(window, "taps", wrong)
    committed = (pictures.FOLDER / "padding.svg").read_text(encoding="utf-8")
    assert committed != pictures.PICTURES["padding"]()


def test_dropped_windows_are_drawn_apart():
    (call,) = [call for call in pictures.CHARTS["ceil-mode"][1] if call.dropped]
    svg = pictures.charts(call).svg("", "")
    assert axis_of(call).outputs == 2
    assert "dropped: 2" in svg
    assert {output for output, _ in marks(svg, "tap", "tap-in-padding")} == {(0,), (1,)}
