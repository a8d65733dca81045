"""`npool bench`: whom it times, whose answers it shows, how long it takes, what it refuses."""

from __future__ import annotations

import time

import numpy as np
import pytest
from typer.testing import CliRunner

import npool
from npool.cli import bench as bench_module
from npool.cli import bench_peers
from npool.cli.app import app
from npool.cli.bench_peers import PEERS, Job, Peer, Ready, Unable
from npool.geometry import make_plan


def bench(*arguments):
    return CliRunner().invoke(app, ["bench", *arguments])


@pytest.fixture(autouse=True)
def no_rest(monkeypatch):
    monkeypatch.setattr(bench_module, "REST", 0.0)
    monkeypatch.setattr(bench_module, "SHORTEST", 0.0)


def rows(result):
    """The cells of the table, by the first word of each row; what is wrapped is left out."""
    lines = [line.strip("│").split("│") for line in result.stdout.splitlines() if "│" in line]
    return {
        cells[0].split()[0]: [cell.strip() for cell in cells] for cells in lines if cells[0].strip()
    }


def job(shape, kernel, reduce="max", dtype="float32", axes=None, threads=1, **geometry):
    x = bench_module._random(shape, np.dtype(dtype))
    ceil_mode = geometry.get("ceil_mode", False)
    return Job(x, make_plan(shape, kernel, axes=axes, **geometry), reduce, ceil_mode, threads)


def answer(peer, asked):
    """A peer's answer and npool's."""
    ready = peer.prepare(asked)
    windows = asked.plan.windows
    expected = npool.pool(
        asked.x, asked.each("kernel"), asked.each("stride"),
        tuple((w.before, w.after) for w in windows), asked.each("dilation"), asked.ceil_mode,
        axes=asked.plan.axes, reduce=asked.reduce,
    )  # fmt: skip
    return ready.array(ready.call()), expected


def peer_named(name):
    peer = next(peer for peer in PEERS if peer.name == name)
    if peer.missing():
        pytest.skip(f"{name} is not installed")
    return peer


def test_a_table_of_everybody():
    result = bench("--shape", "2x3x12x16", "--kernel-size", "2x2", "--rounds", "3")
    assert result.exit_code == 0, result.output
    table = rows(result)
    assert list(table) == ["npool", "copy", *(peer.name.split()[0] for peer in PEERS)]
    assert npool.__version__ in table["npool"][0]
    assert table["npool"][2] == "1.00×"
    assert table["copy"][3] == "100%"
    assert table["NumPy"][4:] == ["3", "✓ the same"]
    assert "max 2×2 of 2×3×12×16 float32" in result.stdout
    for peer in PEERS:
        if not peer.missing():
            assert table[peer.name.split()[0]][5] == "✓ the same", result.stdout


#: Reductions that each can do of some of the calls below.
ABLE = {
    "NumPy": {"max", "min", "avg", "sum", "prod", "any", "var"},
    "torch": {"max", "min", "avg", "sum", "lp"},
    "ONNX Runtime": {"max", "avg", "lp"},
    "OpenCV": {"max", "min", "avg", "sum"},
    "scipy": {"max", "min", "avg"},
}
CALLS = [
    ((2, 3, 8, 12), (2, 4), {}),
    ((2, 3, 9, 13), (2, 4), {}),
    ((2, 3, 9, 13), (2, 2), {"ceil_mode": True}),
    ((9, 13), (3, 3), {"stride": 1, "padding": 1}),
    ((9, 13), (3, 3), {"stride": 2, "padding": 1}),
    ((2, 9, 14), (4, 2), {"stride": (1, 3), "padding": ((2, 1), (1, 0))}),
    ((2, 9, 13), (3, 3), {"stride": 2, "padding": 1, "dilation": 2}),
    ((2, 9, 13, 3), (3, 3), {"stride": 2, "padding": 1, "axes": (1, 2)}),
    ((7, 2, 9), (2, 3), {"axes": (2, 0)}),
    ((5, 13), (3,), {"stride": 1}),
    ((13,), (4,), {}),
    ((6, 7, 8), (2, 2, 2), {"stride": 1}),
    ((2, 3, 4, 5), (2, 2, 2, 2), {}),
    ((2, 3, 9, 9), (9, 9), {}),
]


@pytest.mark.parametrize("name", [peer.name for peer in PEERS])
@pytest.mark.parametrize(
    "reduce", ["max", "min", "avg", "sum", "lp", "prod", "any", "var", "range"]
)
def test_answers_are_the_same_wherever_a_peer_is_able(name, reduce):
    peer, compared, refusals = peer_named(name), 0, []
    for shape, kernel, geometry in CALLS:
        try:
            found, expected = answer(peer, job(shape, kernel, reduce, **geometry))
        except Unable as error:
            refusals.append(str(error))
            continue
        assert bench_module._difference(found, expected) == "", (shape, kernel, geometry)
        compared += 1
    assert (compared > 0) == (reduce in ABLE[name]), refusals
    assert all(refusals)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "float64", "bfloat16", "bool"])
@pytest.mark.parametrize("reduce", ["max", "avg"])
def test_other_types_are_served_or_refused(reduce, dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    result = bench("--shape", "8x8", "-k", "3x3", "-s", "1", "-r", reduce, "--dtype", dtype)
    assert result.exit_code == 0, result.output
    assert "differs" not in result.stdout
    assert rows(result)["npool"][4] == "11"


def test_who_cannot_do_it_says_why():
    result = bench("--shape", "2x9x9x3", "-k", "3", "-a", "1,2", "-r", "logsumexp", "--rounds", "1")
    assert result.exit_code == 0, result.output
    table = rows(result)
    assert table["NumPy"][1:] == ["–", "–", "–", "–", "has no logsumexp of float32"]
    assert table["npool"][4] == "1"


def stand_in(call, **more):
    return Peer(
        "odd [one]", ("numpy",), ("numpy",), lambda asked: Ready(lambda: call(asked), **more)
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda asked: np.zeros(asked.plan.out_shape, np.float32), "differs by up to"),
        (lambda asked: np.zeros(3, np.float32), "differs: shape (3,)"),
        (lambda asked: 1 / 0, "refuses: division by zero"),
    ],
)
def test_a_wrong_answer_gets_no_time(call, words, monkeypatch):
    monkeypatch.setattr(bench_module, "PEERS", (stand_in(call),))
    result = bench("--shape", "6x6", "-k", "2x2")
    assert result.exit_code == 0, result.output
    row = rows(result)["odd"]
    assert row[0].startswith("odd [one]")
    assert row[1:5] == ["–"] * 4
    assert row[5].startswith(words)


def test_a_missing_peer_is_named(monkeypatch):
    monkeypatch.setattr(bench_peers, "find_spec", lambda name: None if name == "torch" else name)
    monkeypatch.setattr(bench_module, "PEERS", PEERS[:2])
    result = bench("--shape", "6x6", "-k", "2x2", "--rounds", "1")
    assert rows(result)["torch"][5] == "torch is not installed"


def test_a_slow_one_is_asked_once(monkeypatch):
    calls = []

    def slow(asked):
        calls.append(1)
        time.sleep(0.3)
        return npool.max_pool(asked.x, (2, 2))

    monkeypatch.setattr(bench_module, "PEERS", (stand_in(slow),))
    monkeypatch.setattr(bench_module, "SHORTEST", 1e-4)
    table = rows(bench("--shape", "6x6", "-k", "2x2"))
    assert len(calls) == 2  # compared, and timed once
    assert (table["odd"][4], table["npool"][4]) == ("1", "11")


def test_rounds_end_when_the_time_is_up(monkeypatch):
    monkeypatch.setattr(bench_module, "ALL_ROUNDS", 0.0)
    table = rows(bench("--shape", "6x6", "-k", "2x2", "--rounds", "1000000"))
    assert table["npool"][4] == table["copy"][4] == "1"


def test_numpy_is_not_asked_for_what_takes_for_ever(monkeypatch):
    monkeypatch.setattr(bench_peers, "MOST_READS", 99)
    with pytest.raises(Unable, match="would read 1e\\+02 elements"):
        PEERS[0].prepare(job((28,), (4,), stride=1))


def test_threads_are_everybodys_and_given_back():
    before = npool.get_num_threads()
    result = bench("--shape", "6x6", "-k", "2x2", "--threads", "1", "--rounds", "1")
    assert "1 thread(s)" in result.stdout
    assert npool.get_num_threads() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--shape 6x6", "Missing option '--kernel-size'"),
        ("-k 2x2", "Missing option '--shape'"),
        ("--shape 6y6 -k 2x2", "--shape '6y6' cannot be read"),
        ("--shape 6x-6 -k 2x2", "cannot be read"),
        ("--shape 6x6 -k 2", "--kernel-size 2 does not say which axes"),
        ("--shape 6x6 -k 2x2x2", "kernel_size"),
        ("--shape 6x6 -k 7x7", "kernel_size"),
        ("--shape 0x6x6 -k 2x2", "leaves nothing to compute"),
        ("--shape 6x6 -k 2x2 -r mox", "did you mean max?"),
        ("--shape 6x6 -k 2x2 --dtype float33", "--dtype 'float33' names no type"),
        ("--shape 6x6 -k 2x2 --dtype U3", "not supported"),
        ("--shape 6x6 -k 2x2 --dtype complex64", "'max' of complex64 is not defined"),
        ("--shape 6x6 -k 2x2 --threads 0", "the number of threads must lie in"),
        ("--shape 6x6 -k 2x2 --rounds 0", "--rounds"),
        ("--shape 6x6 -k 2x2 -a 5,6", "axes"),
        ("--shape 1000000x1000000 -k 2x2", "use a smaller shape"),
        ("--shape 99999999999999999999x9 -k 2x2", "shape"),
    ],
)
def test_bad_input_gets_one_line(arguments, words):
    result = bench(*arguments.split())
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("npool: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


def test_an_interruption_is_said_in_one_line(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_module, "measure", interrupt)
    result = bench("--shape", "6x6", "-k", "2x2")
    assert (result.exit_code, result.stderr) == (130, "npool: interrupted\n")
