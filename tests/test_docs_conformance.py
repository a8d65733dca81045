"""The conformance page is a report that could be made again: of these rules, by this npool."""

import re
from pathlib import Path

import pytest

import npool
from npool import testing

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
AGAIN = "make it anew: python docs/generate/conformance.py"


def rows():
    """The lines of the matrix: section, rule, marks."""
    lines = [line for line in PAGE.splitlines() if re.match(r"\| \d", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def heads():
    (line,) = [line for line in PAGE.splitlines() if line.startswith("| § | rule |")]
    return [cell.strip() for cell in line.strip("|").split("|")][2:]


def test_the_page_has_every_rule_in_order():
    assert [rule.strip("`") for _, rule, *_ in rows()] == list(testing.RULES), AGAIN
    assert [section for section, *_ in rows()] == [r.section for r in testing.RULES.values()]


def test_the_page_names_the_versions():
    names = [head.split()[0] for head in heads()]
    assert heads()[0] == f"npool {npool.__version__}", AGAIN
    assert {"npool", "torch", "onnxruntime", "scipy"} <= set(names) <= set(testing.INSTALLED)
    assert all(re.fullmatch(r"\w+ \d+\.\d+[\w.]*", head) for head in heads()), heads()
    assert re.search(r"Python 3\.\d+\.\d+", PAGE)


def test_npool_keeps_every_rule():
    column = heads().index(f"npool {npool.__version__}")
    assert {marks[column] for _, _, *marks in rows()} == {"✓"}


def test_every_deviation_has_its_counterexample():
    marks = sum(cell == "✗" for _, _, *cells in rows() for cell in cells)
    assert marks > 10
    assert PAGE.count("\ncall      ") == PAGE.count("\nexpected  ") == PAGE.count("\ngot       ")
    assert PAGE.count("\ncall      ") == marks


@pytest.mark.parametrize(
    ("library", "rule"),
    [
        ("onnxruntime", "nan_propagates"),
        ("onnxruntime", "all_padding_identity"),
        ("scipy", "nan_does_not_spread"),
    ],
)
def test_known_deviations_are_on_the_page(library, rule):
    (column,) = [i for i, head in enumerate(heads()) if head.split()[0] == library]
    (marks,) = [marks for _, name, *marks in rows() if name == f"`{rule}`"]
    assert marks[column] == "✗"
