"""`npool warmup`: what it says, what it leaves in the cache, what it refuses."""

from __future__ import annotations

import re

import pytest
from cli_process import run
from typer.testing import CliRunner

import npool
import npool.cpu.cache
from npool import warming
from npool.cli import warmup as warmup_module
from npool.cli.app import app
from npool.operation import Operation


def warmup(*arguments):
    return CliRunner().invoke(app, ["warmup", *arguments])


@pytest.fixture
def asked(monkeypatch):
    """What would be warmed, in place of doing it."""
    labels = []
    steps = warming.steps

    def spy(*given):
        found = steps(*given)
        labels.extend(step.label for step in found)
        return []

    monkeypatch.setattr(warming, "steps", spy)
    return labels


@pytest.mark.slow
def test_it_fills_the_cache_once(tmp_path):
    status, out, err = run("warmup", "-r", "sum", NPOOL_CACHE_DIR=str(tmp_path))
    assert (status, err) == (0, "")
    ready, compiled, found = _counts(out)
    assert ready == compiled >= 3 + 5 + 1 + 1
    assert found == 0
    assert str(tmp_path) in out
    assert f"{compiled} files" in out
    assert len(list(tmp_path.glob("*/*.nbc"))) == compiled
    status, out, err = run("warmup", "-r", "sum", NPOOL_CACHE_DIR=str(tmp_path))
    assert (status, err) == (0, "")
    assert _counts(out) == (ready, 0, ready)


def _counts(out):
    words = r"(\d+) kernels ready after \d+\.\d s: (\d+) compiled, (\d+) found in the cache"
    return tuple(map(int, re.search(words, out).groups()))


def test_the_default_is_that_of_the_function(asked):
    assert warmup().exit_code == 0
    plain = warming.steps(("float32",), (1, 2, 3), ("max", "avg"), False)
    assert plain == []
    assert {label.partition(",")[0] for label in asked} == {"max of float32", "avg of float32"}


def test_names_may_be_repeated_or_have_commas(asked):
    result = warmup(
        "--dtype", "uint8,float64", "--dtype", "uint8", "--reduce", "max", "-r", "sum", "--indices"
    )
    assert result.exit_code == 0, result.output
    assert {label.partition(",")[0] for label in asked} == {
        f"{name} of {dtype}{more}"
        for dtype in ("uint8", "float64")
        for name, more in (("max", ""), ("max", " with positions"), ("sum", ""))
    }
    assert len(asked) == 2 * 3 * (2 * 16 + 18)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dtype", "float33"], "--dtype 'float33' names no type"),
        (["--dtype", "U3"], "not supported: use one of"),
        (["--dtype", "float32,"], "has an empty name"),
        (["--dtype", "complex64"], "'max' of complex64 is not defined"),
        (["--reduce", "mox"], "did you mean max?"),
        (["--reduce", "avg", "--indices"], "use 'max' or 'min'"),
        (["float32"], "unexpected extra argument"),
        (["--rank", "2"], "No such option"),
    ],
)
def test_bad_input_gets_one_line(arguments, words, monkeypatch):
    monkeypatch.setattr(Operation, "apply", lambda *_: pytest.fail("something was run"))
    result = warmup(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("npool: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


def test_without_a_cache_it_would_be_in_vain(monkeypatch):
    monkeypatch.setattr(Operation, "apply", lambda *_: pytest.fail("something was run"))
    monkeypatch.setattr(npool.cpu.cache, "cache_directory", lambda: None)
    result = warmup()
    assert result.exit_code == 2
    assert "set NPOOL_CACHE_DIR" in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_a_compiler_there_is_nothing_to_keep():
    status, out, err = run("warmup", NUMBA_DISABLE_JIT="1")
    assert (status, out) == (2, "")
    assert err == "npool: NUMBA_DISABLE_JIT is set, and nothing is compiled: unset it\n"


def test_an_interruption_is_said_in_one_line(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Operation, "apply", interrupt)
    result = warmup()
    assert result.exit_code == 130
    assert result.stderr == ("npool: interrupted: what was compiled until now is in the cache\n")


def test_progress_counts_every_call(monkeypatch):
    import contextlib

    said = []
    monkeypatch.setattr(
        warmup_module, "counted", lambda: contextlib.nullcontext(lambda *told: said.append(told))
    )
    monkeypatch.setattr(Operation, "apply", lambda *_: None)
    assert warmup("-r", "max").exit_code == 0
    assert [told[0] for told in said] == list(range(49))
    assert {told[1] for told in said} == {48}
    assert said[0][2] == "max of float32, small planes"
