"""`npool pool` on .npy files: values, types, orders, pieces, and files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
from pathlib import Path

import numpy as np
import pytest
from cli_process import leftovers, run, start
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import npool
from npool.cli import npy, source, tiles
from npool.cli.app import app
from npool.cli.operation import Operation
from npool.cli.output import Output
from npool.cli.progress import Reporter
from npool.geometry import make_plan


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of the test's own, which is where the command runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def pooled(*arguments, output="y.npy"):
    """Run the command, which must succeed, and load what it wrote."""
    result = invoke("pool", *arguments)
    assert result.exit_code == 0, result.output
    return np.load(output)


def integers(shape, dtype=np.float32, seed=0):
    """Whole numbers, so that sums are exact in whatever order they are taken."""
    return np.random.default_rng(seed).integers(-40, 40, shape).astype(dtype)


@pytest.mark.parametrize("name", list(npool.REDUCERS))
def test_every_reducer_of_the_table_is_known(folder, name):
    x = np.abs(integers((9, 8))) / 8 + 1
    np.save("x.npy", x)
    expected = npool.pool(x, (3, 2), reduce=name)
    found = pooled("x.npy", "y.npy", "--reduce", name, "-k", "3x2")
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_a_new_reducer_is_known_at_once(folder, monkeypatch):
    product = npool.Reducer("prod_abs", lambda a, b: a * b, 1.0, lift=lambda x: abs(x))
    monkeypatch.setitem(npool.REDUCERS, "prod_abs", product)
    np.save("x.npy", np.array([1.0, -2.0, 3.0, -4.0]))
    found = pooled("x.npy", "y.npy", "--reduce", "prod_abs", "-k", "2")
    np.testing.assert_array_equal(found, [2.0, 12.0])


@pytest.mark.parametrize(
    ("options", "call"),
    [
        ("-k 2x3", {"kernel_size": (2, 3)}),
        ("-k 3x --stride 2", {"kernel_size": (3,), "stride": 2}),
        ("-k 3 --axes 0", {"kernel_size": 3, "axes": 0}),
        ("-k 2 --axes -3,1", {"kernel_size": 2, "axes": (-3, 1)}),
        ("-k 2,2,2 -s 1", {"kernel_size": (2, 2, 2), "stride": 1}),
        ("-k 3x3 -s 1x2 -p 1", {"kernel_size": (3, 3), "stride": (1, 2), "padding": 1}),
        ("-k 2x2 -p 1:2x0:1", {"kernel_size": (2, 2), "padding": ((1, 2), (0, 1))}),
        ("-k 3x -p 2:0x", {"kernel_size": (3,), "padding": ((2, 0),)}),
        ("-k 3x3 -s 2 -p same", {"kernel_size": (3, 3), "stride": 2, "padding": "same"}),
        (
            "-k 3x3 -s 2 -p same-lower",
            {"kernel_size": (3, 3), "stride": 2, "padding": "same_lower"},
        ),
        ("-k 2x2 -p valid", {"kernel_size": (2, 2), "padding": "valid"}),
        ("-k 2x3 -d 2x1 -s 1", {"kernel_size": (2, 3), "dilation": (2, 1), "stride": 1}),
        ("-k 3x4 --ceil-mode", {"kernel_size": (3, 4), "ceil_mode": True}),
    ],
)
def test_spellings(folder, options, call):
    x = integers((5, 6, 7))
    np.save("x.npy", x)
    for reduce in ("max", "avg"):
        found = pooled("x.npy", "y.npy", "-r", reduce, "--force", *options.split())
        np.testing.assert_array_equal(found, npool.pool(x, reduce=reduce, **call))


def test_options_of_averages(folder):
    x = np.arange(20, dtype=np.uint8).reshape(4, 5)
    np.save("x.npy", x)
    common = ("x.npy", "y.npy", "-f", "-r", "avg", "-k", "2x2")
    found = pooled(*common, "--dtype", "uint8", "--rounding", "half_up")
    expected = npool.avg_pool(x, (2, 2), dtype=np.uint8, rounding="half_up")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    found = pooled(*common, "-p", "1", "--no-count-include-pad")
    expected = npool.avg_pool(x, (2, 2), padding=1, count_include_pad=False)
    np.testing.assert_array_equal(found, expected)
    found = pooled(*common, "--divisor-override", "3")
    np.testing.assert_array_equal(found, npool.avg_pool(x, (2, 2), divisor_override=3))
    found = pooled("x.npy", "y.npy", "-f", "-r", "lp", "--norm-type", "3", "-k", "2x2")
    np.testing.assert_array_equal(found, npool.lp_pool(x, 3, (2, 2)))


@pytest.mark.parametrize("dtype", ["?", "i1", "<u2", ">i4", "u8", "f2", ">f4", "f8", ">c8", "c16"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_types_and_orders(folder, dtype, order):
    x = np.asarray(integers((6, 7), np.float64) % 3, order=order).astype(dtype, order=order)
    np.save("x.npy", x)
    reduce = "avg" if x.dtype.kind == "c" else "max"
    found = pooled("x.npy", "y.npy", "-k", "2x3", "-r", reduce)
    expected = npool.pool(x.astype(x.dtype.newbyteorder("=")), (2, 3), reduce=reduce)
    assert found.dtype == expected.dtype
    assert found.flags.f_contiguous == (order == "F")
    np.testing.assert_array_equal(found, expected)


def test_bfloat16_has_no_name_in_a_file(folder):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = integers((4, 6)).astype(ml_dtypes.bfloat16)
    np.save("x.npy", x)
    found = pooled("x.npy", "y.npy", "-k", "2x2", "--input-dtype", "bfloat16")
    np.testing.assert_array_equal(found.view(ml_dtypes.bfloat16), npool.max_pool(x, (2, 2)))
    refused = invoke("pool", "x.npy", "z.npy", "-k", "2x2")
    assert refused.exit_code == 2
    assert "--input-dtype bfloat16" in refused.stderr


def test_header_versions(folder):
    x = integers((4, 6))
    for version in ((1, 0), (2, 0), (3, 0)):
        with open("x.npy", "wb") as file:
            np.lib.format.write_array(file, x, version=version)
        np.testing.assert_array_equal(
            pooled("x.npy", "y.npy", "-k", "2x2", "-f"), npool.max_pool(x, (2, 2))
        )


def test_empty_batch(folder):
    np.save("x.npy", np.zeros((0, 4, 4), np.float32))
    found = pooled("x.npy", "y.npy", "-k", "2x2")
    assert found.shape == (0, 2, 2)
    assert found.dtype == np.float32


def test_positions(folder):
    x = integers((5, 6, 7))
    np.save("x.npy", x)
    found = pooled("x.npy", "y.npy", "-k", "2x2", "-p", "1", "--indices", "i.npy")
    values, positions = npool.max_pool(x, (2, 2), padding=1, return_indices=True)
    np.testing.assert_array_equal(found, values)
    np.testing.assert_array_equal(np.load("i.npy"), positions)
    assert np.load("i.npy").dtype == np.int64


@st.composite
def problems(draw):
    """An array, a pooling call on it, and a little memory to do it in."""
    ndim = draw(st.integers(1, 4))
    shape = tuple(draw(st.integers(1, 8)) for _ in range(ndim))
    count = draw(st.integers(1, ndim))
    axes = tuple(draw(st.permutations(range(ndim)))[:count])

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in axes)

    call = {
        "kernel_size": each(1, 4),
        "stride": each(1, 4),
        "padding": tuple(zip(each(0, 6), each(0, 6), strict=True)),
        "dilation": each(1, 3),
        "ceil_mode": draw(st.booleans()),
        "axes": axes,
    }
    dtype = draw(st.sampled_from(["<f4", ">f8", "i2"]))
    x = integers(shape, dtype, seed=draw(st.integers(0, 9)))
    x = np.asarray(x, order=draw(st.sampled_from("CF")))
    memory = draw(st.sampled_from([1, 50, 200, 1000, 1 << 20]))
    return x, call, memory


class Seen(Reporter):
    """Keeps what is reported."""

    def __init__(self):
        self.at = []

    def __call__(self, done, total):
        self.at.append((done, total))


#: Problems. What pooling gives is the array functions' matter, which have more of their own; here
#: each writes two files or three.
SHARE = min(settings.default.max_examples, 100 + settings.default.max_examples // 10)


@given(problem=problems(), reduce=st.sampled_from(["max", "min", "sum", "avg", "avg-real"]))
@settings(max_examples=SHARE)
def test_pieces_give_what_the_whole_gives(tmp_path_factory, problem, reduce):
    x, call, memory = problem
    try:
        plan = make_plan(x.shape, **call)
    except ValueError:
        return  # the window does not fit: nothing to pool
    options = {"count_include_pad": False} if reduce == "avg-real" else {}
    reduce = reduce.removesuffix("-real")
    positions = reduce in ("max", "min")
    expected = npool.pool(x, reduce=reduce, return_indices=positions, **call, **options)
    operation = Operation(npool.REDUCERS[reduce], **call, options=options, positions=positions)
    folder = tmp_path_factory.mktemp("pieces")
    np.save(folder / "x.npy", x)
    found = npy.open_source(folder / "x.npy")
    seen = Seen()
    with Output(folder / "y.npy", False) as out, Output(folder / "i.npy", False) as where:
        npy.pool_to_npy(found, operation, out, where if positions else None, memory, seen)
        out.publish()
        where.publish()
    found = np.load(folder / "y.npy")
    values = expected[0] if positions else expected
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)
    if positions:
        np.testing.assert_array_equal(np.load(folder / "i.npy"), expected[1])
    size = int(np.prod(plan.out_shape))
    assert seen.at[0] == (0, size)
    assert seen.at[-1] == (size, size)


def test_small_memory_means_many_pieces_and_progress(folder):
    x = integers((512, 1024, 8))
    np.save("x.npy", x)  # 16 MiB
    for axes, kernel in (("0", "2"), ("0,1", "2x4"), ("1,2", "4x2"), ("0", "512"), ("2", "8")):
        code, out, err = run(
            "pool", "x.npy", "y.npy", "-f", "-r", "sum", "-k", kernel, "--axes", axes,
            "--memory", "1M",
        )  # fmt: skip
        assert code == 0, err
        if kernel == "512":  # one window lies scattered over the whole file
            assert "larger than --memory" in err
        else:
            assert "10% pooled" in err
            assert "100% pooled" in err
        assert "y.npy" in out
        named = tuple(map(int, axes.split(",")))
        size = tuple(map(int, kernel.split("x")))
        expected = npool.sum_pool(x, size, axes=named)
        np.testing.assert_array_equal(np.load("y.npy"), expected)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("shape", "kernel", "axes"),
    [
        ((4000, 4000), (2, 2), (0, 1)),
        ((4000, 4000), (100, 1), (0, 1)),
        ((4000, 4000), (4000,), (0,)),
        ((4000, 4000), (4000,), (1,)),
        ((16_000_000,), (1000,), (0,)),
        ((16_000_000,), (16_000_000,), (0,)),
        ((2, 8_000_000), (2,), (0,)),
        ((8_000_000, 2), (2,), (1,)),
        ((200, 200, 400), (3, 3, 3), (0, 1, 2)),
    ],
)
def test_a_piece_fits_the_memory_or_says_that_it_cannot(order, shape, kernel, axes):
    plan = make_plan(shape, kernel, axes=axes)
    memory = 4 << 20
    tiling = tiles.tile(plan, order, 4, 4, memory)
    outermost_first = list(zip(tiling.lengths, plan.out_shape, strict=True))
    whole = False
    for length, count in outermost_first if order == "C" else outermost_first[::-1]:
        # One output each, then one axis that is cut, then whole axes: an unbroken run.
        assert length == count or not whole
        whole = whole or length > 1
    largest = 0
    outputs = 0
    for piece in tiles.pieces(plan, tiling, order):
        outputs += int(np.prod(piece.out_shape))
        read = [part.stop - part.start for part in piece.inputs]
        largest = max(largest, 4 * (int(np.prod(read)) + int(np.prod(piece.out_shape))))
    assert outputs == np.prod(plan.out_shape)
    assert tiling.wide or largest <= memory
    # One window of 64 MB, along the axis that lies together in memory or across it.
    assert tiling.wide == (kernel == (16_000_000,) or (kernel == (4000,) and _across(order, axes)))


def _across(order, axes):
    """Whether the rows that one output needs lie scattered over the whole file."""
    return axes == ((0,) if order == "C" else (1,))


def test_output_is_whole_or_absent_after_an_error(folder, monkeypatch):
    np.save("x.npy", integers((64, 64)))
    before = {p.name for p in folder.iterdir()}

    def fail(*_):
        raise OSError(28, "No space left on device", "y.npy")

    monkeypatch.setattr(npy, "write_values", fail)
    result = invoke("pool", "x.npy", "y.npy", "-k", "2x2")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "no space left on device" in result.stderr
    assert {p.name for p in folder.iterdir()} == before


def test_a_file_that_appears_meanwhile_is_kept(folder):
    with Output(folder / "y.npy", force=False) as out:
        out.file.write(b"new")
        (folder / "y.npy").write_bytes(b"other")
        with pytest.raises(Exception, match="appeared while"):
            out.publish()
    assert (folder / "y.npy").read_bytes() == b"other"
    assert leftovers(folder) == []


def test_temporaries_of_the_dead_are_swept_and_of_the_living_kept(folder):
    stale = folder / ".y.npy.npool-0123456789ab.tmp"
    other = folder / ".z.npy.npool-0123456789ab.tmp"
    stale.write_bytes(b"x")
    other.write_bytes(b"x")
    with Output(folder / "y.npy", False) as first:
        assert not stale.exists()
        assert other.exists()
        with Output(folder / "y.npy", False):
            assert len(leftovers(folder)) == 3
        first.file.write(b"first")
        first.publish()
    assert (folder / "y.npy").read_bytes() == b"first"
    assert leftovers(folder) == [other.name]


def test_permissions_are_those_of_any_new_file(folder):
    np.save("x.npy", integers((4, 4)))
    before = os.umask(0o027)
    try:
        pooled("x.npy", "y.npy", "-k", "2x2")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat("y.npy").st_mode) == 0o640


def test_force_replaces_and_follows_links(folder):
    x = integers((4, 4))
    np.save("x.npy", x)
    (folder / "real.npy").write_bytes(b"old")
    (folder / "y.npy").symlink_to("real.npy")
    pooled("x.npy", "y.npy", "-k", "2x2", "--force")
    assert (folder / "y.npy").is_symlink()
    np.testing.assert_array_equal(np.load("real.npy"), npool.max_pool(x, (2, 2)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_half_way_leaves_no_output(folder, number):
    # 512 MiB that take no room on the disk, in a thousand pieces.
    _sparse(folder / "x.npy", (131072, 1024))
    arguments = ("pool", "x.npy", "y.npy", "-k", "2x2", "-s", "1", "--memory", "1M")
    process = start(*arguments)
    line = process.stderr.readline()  # the first tenth is done: it is at work
    assert "pooled" in line, line + process.stderr.read()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (
        process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    )
    assert not (folder / "y.npy").exists()
    assert "Traceback" not in err
    left = leftovers(folder)
    if number == signal.SIGKILL:
        assert len(left) == 1
        assert left[0].startswith(".")
    else:
        assert left == []
        assert "nothing was written" in err
    # Again, smaller, to the same place: it succeeds and nothing else stays behind.
    np.save("x.npy", integers((64, 64)))
    code, _, err = run("pool", "x.npy", "y.npy", "-k", "2x2")
    assert code == 0, err
    assert leftovers(folder) == []


def _sparse(path: Path, shape: tuple[int, ...]) -> None:
    with path.open("wb") as file:
        npy.write_header(file, shape, np.dtype(np.float32), "C")
        file.truncate(file.tell() + 4 * int(np.prod(shape)))


def test_windows_that_would_be_read_again_and_again_are_refused(folder, monkeypatch):
    np.save("x.npy", integers((1 << 20,)))
    monkeypatch.setattr(source, "_SMALL", 0)
    common = ("pool", "x.npy", "y.npy", "-k", "500000", "--memory", "1M")
    refused = invoke(*common, "-s", "100")
    assert refused.exit_code == 2
    more = re.search(r"one window takes 2 MiB.* add --memory (\d+M)", refused.stderr)[1]
    # A few such windows are read one by one; with the memory asked for, any number of them.
    assert invoke(*common, "-s", "100000").exit_code == 0
    np.testing.assert_array_equal(
        np.load("y.npy"), npool.max_pool(np.load("x.npy"), (500000,), 100000)
    )
    assert invoke(*common[:-1], more, "-s", "100", "--force").exit_code == 0
    assert np.load("y.npy").shape == (5486,)


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal to pretend")
def test_a_bar_on_a_terminal(folder):
    np.save("x.npy", integers((4096, 1024)))
    master, slave = os.openpty()
    arguments = ("pool", "x.npy", "y.npy", "-k", "2x2", "--memory", "1M")
    process = start(*arguments, stderr=slave, TERM="xterm", COLUMNS="100")
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):  # the other side was closed
        while piece := os.read(master, 4096):
            shown += piece
    process.communicate(timeout=60)
    os.close(master)
    assert process.returncode == 0, shown
    text = shown.decode("utf-8", "replace")
    assert "pooling" in text
    assert "━" in text
    assert "100%" in text


def test_quiet_says_nothing(folder):
    np.save("x.npy", integers((4, 4)))
    result = invoke("pool", "x.npy", "y.npy", "-k", "2x2", "-q", "--threads", "1")
    assert result.exit_code == 0
    assert result.output == ""
