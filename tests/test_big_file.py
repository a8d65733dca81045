"""`npool pool` on a 6 GiB file that takes no room on the disk: little memory, whole or absent."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli_process import leftovers, start

from npool.cli import npy

LIMIT_MIB = 600
SPOTS = 9.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status"),
]

# The high-water mark of the process's own memory. resource.getrusage would do, but for a child
# it begins at what its parent held, and a test session holds much.
MEASURED = """
import atexit, sys
def tell():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            sys.stderr.write(line)
atexit.register(tell)
from npool.cli import main
main()
"""


def sparse(path: Path, shape, dtype, order="C", spots=()):
    """A `.npy` of zeros, all of it a hole, with `SPOTS` written at the positions `spots`."""
    dtype = np.dtype(dtype)
    with path.open("wb") as file:
        npy.write_header(file, shape, dtype, order)
        begin = file.tell()
        file.truncate(begin + int(np.prod(shape, dtype=object)) * dtype.itemsize)
        for spot in spots:
            flat = int(np.ravel_multi_index(spot, shape, order=order))
            file.seek(begin + flat * dtype.itemsize)
            file.write(np.array(SPOTS, dtype).tobytes())


def pooled(folder: Path, *options: str) -> tuple[np.ndarray, str]:
    """Pool x.npy into y.npy in a process of its own, which must keep within the limit."""
    process = start("pool", folder / "x.npy", folder / "y.npy", *options, code=MEASURED)
    _, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    peak = int(err.rpartition("VmHWM:")[2].split()[0]) / 1024
    assert peak < LIMIT_MIB, f"{peak:.0f} MiB resident"
    return np.load(folder / "y.npy", mmap_mode="r"), err


def test_six_gib_in_little_memory_with_progress(tmp_path):
    shape = (40960, 39322)  # 6.0 GiB of float32
    spots = [(0, 0), (5, 39321), (20480, 20001), (40959, 39320)]
    sparse(tmp_path / "x.npy", shape, "<f4", spots=spots)
    assert (tmp_path / "x.npy").stat().st_size > 6 << 30
    found, err = pooled(tmp_path, "-k", "8x8", "--ceil-mode")
    assert found.shape == (5120, 4916)
    expected = {(row // 8, column // 8) for row, column in spots}
    assert {tuple(map(int, at)) for at in np.argwhere(found)} == expected
    for tenth in (1, 5, 10):
        assert f"{tenth}0% pooled" in err


@pytest.mark.parametrize(
    ("shape", "order", "options", "spot", "at"),
    [
        # Along the first axis: a window's rows lie together.
        ((98304, 16384), "C", "-k 16 --axes 0", (98303, 5), (6143, 5)),
        # All of the first axis: one window lies scattered over the whole file.
        ((1572864, 1024), "C", "-k 1572864 --axes 0", (1572863, 1023), (0, 1023)),
        # All of the last axis, and of both.
        ((16384, 98304), "C", "-k 98304 --axes 1", (16383, 7), (16383, 0)),
        ((16384, 98304), "C", "-k 16384x98304", (16383, 7), (0, 0)),
        # One line.
        ((1610612736,), "C", "-k 4096", (1610612735,), (393215,)),
        ((1610612736,), "C", "-k 1610612736", (1610612735,), (0,)),
        # In the other order.
        ((98304, 16384), "F", "-k 16x16", (98303, 5), (6143, 0)),
        ((1024, 1572864), "F", "-k 1572864 --axes 1", (1023, 1572863), (1023, 0)),
        # Three axes, the middle one pooled.
        ((64, 98304, 256), "C", "-k 98304 --axes 1", (63, 98303, 255), (63, 0, 255)),
    ],
)
def test_any_axis_of_six_gib(tmp_path, shape, order, options, spot, at):
    sparse(tmp_path / "x.npy", shape, "<f4", order, [spot])
    found, _ = pooled(tmp_path, *options.split())
    hits = np.flatnonzero(found.reshape(-1, order=order))
    expected = np.ravel_multi_index(at, found.shape, order=order)
    assert hits.tolist() == [expected]


def test_one_window_that_must_be_converted(tmp_path):
    sparse(tmp_path / "x.npy", (1 << 29,), ">f4", spots=[(77,)])  # 2 GiB
    found, err = pooled(tmp_path, "-k", str(1 << 29))
    assert found.tolist() == [SPOTS]
    assert "larger than --memory" in err
    assert leftovers(tmp_path) == []


def test_windows_that_overlap_and_do_not_fit(tmp_path):
    sparse(tmp_path / "x.npy", (1 << 29,), "<f4", spots=[(300_000_000,)])
    found, _ = pooled(tmp_path, "-k", "400000000", "-s", "60000000")
    assert found.tolist() == [SPOTS, SPOTS, SPOTS]


@pytest.mark.parametrize("dtype", [">f4", "<f2", "|u1"])
def test_types_that_are_converted_piece_by_piece(tmp_path, dtype):
    rows = (2 << 30) // (8192 * np.dtype(dtype).itemsize)
    sparse(tmp_path / "x.npy", (rows, 8192), dtype, spots=[(rows - 1, 8191)])
    found, _ = pooled(tmp_path, "-k", "4x4", "-r", "avg")
    assert float(found[-1, -1]) == SPOTS / 16
    assert np.count_nonzero(found) == 1


def test_killed_half_way_it_leaves_no_output_and_runs_again(tmp_path):
    sparse(tmp_path / "x.npy", (40960, 39322), "<f4", spots=[(40959, 0)])
    process = start("pool", tmp_path / "x.npy", tmp_path / "y.npy", "-k", "8x8")
    while True:
        line = process.stderr.readline()
        assert line, "it ended before it was half done"
        if "50% pooled" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "y.npy").exists()
    assert len(leftovers(tmp_path)) == 1
    time.sleep(0.1)
    found, _ = pooled(tmp_path, "-k", "8x8")
    assert found[-1, 0] == SPOTS
    assert leftovers(tmp_path) == []
