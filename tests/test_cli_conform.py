"""`npool conform`: the matrix on the screen and in files, and what its exit status says."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import npool
from npool import testing
from npool.cli import conform as conform_module
from npool.cli.app import app


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of the test's own, which is where the command runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def conform(*arguments):
    return CliRunner().invoke(app, ["conform", *arguments])


def outcome(rule, implementation, got=None):
    deviation = None
    if got is not None:
        deviation = testing.Deviation(None, "max_pool([1])", "[1] of int64", got)
        deviation.statement = "a rule in words"
    status = "pass" if got is None else "deviates"
    return testing.Outcome(rule, implementation, status, 3, deviation)


def report(monkeypatch, **got):
    """Have `npool.testing.conform` report one rule, with a deviation of each name in `got`."""
    rule = next(iter(testing.RULES))
    asked = []

    def stand_in(names=None, *, max_examples=60, progress=None):
        asked.append((names, max_examples))
        found = tuple(testing.descriptor(name) for name in ("npool", "numpy"))
        progress(0, 1, "npool: [odd] label")
        outcomes = tuple(outcome(rule, i.name, got.get(i.name)) for i in found)
        return testing.ConformanceReport(found, outcomes, max_examples)

    monkeypatch.setattr(testing, "conform", stand_in)
    return rule, asked


def test_a_pass_exits_with_0(monkeypatch):
    rule, asked = report(monkeypatch)
    result = conform("npool", "numpy", "--max-examples", "7")
    assert result.exit_code == 0, result.output
    assert asked == [(["npool", "numpy"], 7)]
    assert rule in result.stdout
    assert np.__version__ in result.stdout
    assert "1/1" in result.stdout


def test_a_deviation_of_a_peer_is_shown_and_exits_with_0(monkeypatch):
    report(monkeypatch, numpy="[2] of [int64]")
    result = conform()
    assert result.exit_code == 0
    for words in ("numpy deviates from", "a rule in words", "[1] of int64", "[2] of [int64]"):
        assert words in result.stdout


def test_a_deviation_of_npool_exits_with_1(monkeypatch):
    report(monkeypatch, npool="[2] of int64")
    result = conform()
    assert result.exit_code == 1
    assert "npool deviates from" in result.stdout
    assert "0/1" in result.stdout


def test_files(monkeypatch, folder):
    rule, _ = report(monkeypatch, numpy="[2] of int64")
    assert conform("--json", "r.json", "--markdown", "r.md").exit_code == 0
    found = json.loads((folder / "r.json").read_text("utf-8"))
    assert {row["implementation"] for row in found["rows"]} == {"npool", "numpy"}
    assert f"`{rule}`" in (folder / "r.md").read_text("utf-8")
    again = conform("--json", "r.json")
    assert again.exit_code == 2
    assert "add --force" in again.stderr
    assert conform("--json", "r.json", "--force").exit_code == 0
    assert conform("--json", "x", "--markdown", "x").exit_code == 2


def test_a_bug_keeps_its_trace(monkeypatch):
    def broken(*_, **__):
        raise ValueError("something inside")

    monkeypatch.setattr(testing, "conform", broken)
    result = conform("numpy")
    assert isinstance(result.exception, ValueError)


def test_an_interrupt_is_said(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(testing, "conform", interrupted)
    result = conform()
    assert result.exit_code == 130
    assert "interrupted" in result.stderr


def test_for_real(folder):
    result = conform("numpy", "--max-examples", "3", "--json", "r.json")
    assert result.exit_code == 0, result.output
    for rule in testing.RULES:
        assert rule in result.stdout
    found = json.loads((folder / "r.json").read_text("utf-8"))
    assert found["max_examples"] == 3


def test_without_hypothesis_one_line_says_so(monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == "hypothesis"]:
        monkeypatch.delitem(sys.modules, name)
    for name in [n for n in sys.modules if n.startswith("npool.testing")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(npool, "testing")
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    result = conform()
    assert result.exit_code == 2, result.output
    assert "npool conform needs hypothesis" in result.stderr
    assert conform_module._OURS == "npool"
