"""Bad input on the command line: one line that says what to do, exit status 2, nothing written."""

from __future__ import annotations

import json
import os
import struct

import numpy as np
import pytest
from cli_process import run
from PIL import Image
from typer.testing import CliRunner

from npool.cli.app import app

GOOD = "x.npy y.npy -k 2x2"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of the test's own with inputs of every bad kind."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.arange(24.0).reshape(4, 6))
    np.save("v.npy", np.arange(6))
    np.save("zero.npy", np.float64(3))
    np.save("hollow.npy", np.zeros((3, 0)))
    np.save("complex.npy", np.zeros((4, 4), complex))
    np.save("text.npy", np.array([["a", "b"], ["c", "d"]]))
    np.save("date.npy", np.zeros((4, 4), "M8[s]"))
    np.save("record.npy", np.zeros((4, 4), [("a", "f4"), ("b", "i2")]))
    np.save("long.npy", np.zeros((4, 4), np.longdouble))
    np.save("void.npy", np.zeros((4, 4), "V2"))
    np.save("object.npy", np.array([[1, None], [2, 3]], dtype=object), allow_pickle=True)
    np.savez("many.npz", np.zeros(3))
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-9])
    (tmp_path / "stub.npy").write_bytes(whole[:50])
    (tmp_path / "magic.npy").write_bytes(whole[:6])
    (tmp_path / "newer.npy").write_bytes(whole[:6] + b"\x09\x00" + whole[8:])
    (tmp_path / "nonsense.npy").write_bytes(whole.replace(b"descr", b"deskr"))
    (tmp_path / "huge.npy").write_bytes(_header((2**40, 2**40)))
    (tmp_path / "wrap.npy").write_bytes(_header((2**70, 2)))
    (tmp_path / "minus.npy").write_bytes(_header((-4, 4)))
    (tmp_path / "deep.npy").write_bytes(whole[:10] + b"(" * 118 + whole[128:])
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "words.txt").write_text("hello")
    (tmp_path / "there.npy").write_bytes(b"keep me")
    (tmp_path / "folder").mkdir()
    os.link(tmp_path / "x.npy", tmp_path / "same.npy")
    (tmp_path / "loop.npy").symlink_to("loop.npy")
    os.mkfifo(tmp_path / "pipe.npy")
    Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(tmp_path / "x.png")
    return tmp_path


def _header(shape):
    text = repr({"descr": "<f8", "fortran_order": False, "shape": shape}).ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(64)


# What is asked for, and words that the one line must hold.
REFUSED = [
    # arguments
    ("", "INPUT"),
    ("x.npy", "OUTPUT"),
    ("x.npy y.npy", "--kernel-size"),
    ("x.npy y.npy z.npy -k 2x2", "z.npy"),
    (f"{GOOD} --karnel 3", "--karnel"),
    (f"{GOOD} --reduce maximum", "did you mean max? choose from max, min"),
    (f"{GOOD} --reduce zzz", "choose from"),
    ("x.npy y.npy -k two", "--kernel-size 'two' cannot be read"),
    ("x.npy y.npy -k 2xx2", "cannot be read"),
    ("x.npy y.npy -k 2.5", "cannot be read"),
    ("x.npy y.npy -k -2x2", "cannot be read"),
    ("x.npy y.npy -k 2x2x", "cannot be read"),
    ("x.npy y.npy -k", "-k"),
    ("x.npy y.npy -k 3", "write 3x3 for the last two"),
    ("x.npy y.npy -k 0x2", "at least 1"),
    ("x.npy y.npy -k 5x2", "does not fit axis 0"),
    ("x.npy y.npy -k 2x2x2", "3"),
    ("x.npy y.npy -k 99999999999x1", "2**31"),
    (f"x.npy y.npy -k {'9' * 5000}x1", "5000 digits"),
    (f"x.npy y.npy -k {2**70}x1", "2**31"),
    (f"{GOOD} -s 0", "at least 1"),
    (f"{GOOD} -s 1x1x1", "3 entries for 2"),
    (f"{GOOD} -s same", "--stride 'same' cannot be read"),
    (f"{GOOD} -d 0", "at least 1"),
    (f"{GOOD} -d 9", "does not fit"),
    (f"{GOOD} -p -1", "--padding '-1' cannot be read"),
    (f"{GOOD} -p full", "valid, same or same_lower"),
    (f"{GOOD} -p 1:2:3", "cannot be read"),
    (f"{GOOD} -p 1x1x1", "3 entries for 2"),
    (f"{GOOD} -p {2**40}", "2**31"),
    (f"{GOOD} -p 1000000000", "MiB free"),
    (f"{GOOD} --axes one", "--axes 'one' is not a list"),
    (f"{GOOD} --axes 0,5", "axis 5"),
    (f"{GOOD} --axes 1,-1", "twice"),
    (f"{GOOD} --axes 0,1,", "is not a list"),
    (f"{GOOD} --dtype uint8", "dtype"),
    (f"{GOOD} -r avg --dtype uint8", "uint8"),
    (f"{GOOD} -r avg --dtype nonsense", "--dtype 'nonsense' names no type"),
    (f"{GOOD} -r avg --dtype O", "object"),
    (f"{GOOD} -r avg --dtype '", "names no type"),
    ("v.npy y.npy -k 2 -r avg --dtype int8 --rounding up", "half_even"),
    ("v.npy y.npy -k 2 -r avg --rounding floor", "rounding"),
    (f"{GOOD} --rounding floor", "rounding"),
    (f"{GOOD} --no-count-include-pad", "count_include_pad"),
    (f"{GOOD} --divisor-override 3", "divisor_override"),
    (f"{GOOD} -r avg --divisor-override 0", "0"),
    (f"{GOOD} -r avg --divisor-override x", "--divisor-override"),
    (f"{GOOD} -r avg --divisor-override nan", "--divisor-override"),
    (f"{GOOD} --norm-type 3", "goes with --reduce lp"),
    (f"{GOOD} -r lp --norm-type 0", "above 0"),
    (f"{GOOD} -r lp --norm-type inf", "absmax"),
    (f"{GOOD} --threads 0", "--threads 0 must be 1 or more"),
    (f"{GOOD} --threads two", "--threads"),
    (f"{GOOD} --memory lots", "128M or 2G"),
    (f"{GOOD} --memory 10", "1M"),
    (f"{GOOD} --input-dtype bfloat16", "holds float64"),
    (f"{GOOD} --indices i.txt", ".npy"),
    (f"{GOOD} --indices y.npy", "is the output itself"),
    (f"{GOOD} --indices x.npy --force", "is the input itself"),
    (f"{GOOD} --indices there.npy", "add --force"),
    (f"{GOOD} -r avg --indices i.npy", "max"),
    # inputs
    ("none.npy y.npy -k 2x2", "none.npy: does not exist"),
    ("folder y.npy -k 2x2", "is a directory"),
    ("pipe.npy y.npy -k 2x2", "is not a regular file"),
    ("loop.npy y.npy -k 2x2", "loop.npy"),
    ("words.txt y.npy -k 2x2", "is neither"),
    ("empty.npy y.npy -k 2x2", "is empty"),
    ("many.npz y.npy -k 2x2", "numpy.save the array inside"),
    ("cut.npy y.npy -k 2x2", "promises 192 bytes of data and 183 are there"),
    ("stub.npy y.npy -k 2x2", "not a whole .npy file"),
    ("magic.npy y.npy -k 2x2", "not a whole .npy file"),
    ("newer.npy y.npy -k 2x2", "9.0"),
    ("nonsense.npy y.npy -k 2x2", "not a whole .npy file"),
    ("deep.npy y.npy -k 2x2", "not a whole .npy file"),
    ("huge.npy y.npy -k 2x2", "is cut short"),
    ("wrap.npy y.npy -k 2x2", "is cut short"),
    ("minus.npy y.npy -k 2x2", "-4"),
    ("object.npy y.npy -k 2x2", "never unpickled"),
    ("text.npy y.npy -k 2x2", "<U1"),
    ("date.npy y.npy -k 2x2", "datetime64"),
    ("record.npy y.npy -k 2x2", "not supported"),
    ("long.npy y.npy -k 2x2", "not supported"),
    ("void.npy y.npy -k 2x2", "--input-dtype bfloat16"),
    ("void.npy y.npy -k 2x2 --input-dtype float64", "cannot read"),
    ("complex.npy y.npy -k 2x2", "complex128"),
    ("zero.npy y.npy -k 2", "shape ()"),
    ("hollow.npy y.npy -k 1x1", "length 0"),
    ("v.npy y.npy -k 2x2", "last 2 axes"),
    ("x.png y.png -k 2 --input-dtype bfloat16", "goes with a .npy"),
    ("x.png y.png -k 9", "does not fit"),
    # outputs
    ("x.npy y -k 2x2", "use .npy"),
    ("x.npy y.gif -k 2x2", "use .npy"),
    ("x.npy there.npy -k 2x2", "there.npy: exists already: add --force"),
    ("x.npy x.npy -k 2x2 --force", "is the input itself"),
    ("x.npy same.npy -k 2x2 --force", "is the input itself"),
    ("x.npy nowhere/y.npy -k 2x2", "nowhere does not exist"),
    ("x.npy words.txt/y.npy -k 2x2", "not a directory"),
    ("x.npy folder/.npy -k 2x2 --reduce no", "choose from"),
    ("x.npy pipe.npy -k 2x2 --force", "is not a regular file"),
    (f"x.npy {'n' * 300}.npy -k 2x2", "name too long"),
    ("x.npy y.png -k 2x2", "PNG cannot hold float64"),
    ("x.npy y.jpg -k 2x2", "JPEG cannot hold float64"),
    ("v.npy y.png -k 2", "is no image"),
]


def snapshot(folder):
    """Everything that a run could have changed."""
    return {
        p.name: (p.stat().st_mtime_ns, p.stat().st_size)
        for p in folder.iterdir()
        if p.name != "loop.npy"
    }


@pytest.mark.parametrize(("line", "words"), REFUSED)
def test_one_line_and_status_2(folder, line, words):
    before = snapshot(folder)
    arguments = line.split()
    result = CliRunner().invoke(app, ["pool", *arguments])
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("npool: ")
    assert words in result.stderr
    assert len(result.stderr) < 600, "an essay is no line"
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("nothing", "nothing"),
        ("--wrong", "--wrong"),
        ("pool --wrong", "--wrong"),
        ("demo --output picture.jpg", "PNG"),
        ("demo --output there.npy", ".png"),
        ("demo --output nowhere/p.png", "nowhere"),
        ("demo extra", "extra"),
        ("info extra", "extra"),
        ("conform nobody", "nobody"),
        ("conform --max-examples none", "--max-examples"),
        ("conform --max-examples 0", "--max-examples"),
        ("conform npool --json nowhere/r.json", "nowhere"),
        ("conform npool --json there.npy", "add --force"),
    ],
)
def test_other_commands(arguments, words):
    result = CliRunner().invoke(app, arguments.split())
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stderr.count("\n") == 1, result.stderr
    assert words in result.stderr


def test_a_line_in_a_process_of_its_own():
    code, out, err = run("pool", "none.npy", "y.npy", "-k", "2x2")
    assert (code, out, err) == (2, "", "npool: none.npy: does not exist: check the name\n")


def test_names_of_any_kind(folder):
    odd = folder / "a b\t[red]ü.npy"
    np.save(odd, np.arange(4.0))
    result = CliRunner().invoke(app, ["pool", str(odd), "y.npy", "-k", "2"])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(app, ["pool", f"{odd}.gone", "z.npy", "-k", "2"])
    assert result.exit_code == 2
    assert "[red]ü" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(folder):
    (folder / "folder").chmod(0o500)
    result = CliRunner().invoke(app, ["pool", "x.npy", "folder/y.npy", "-k", "2x2"])
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from npool.cli import main
main()
"""


def test_a_write_that_fails_half_way(folder):
    # A limit on the size of files stands for a full disk: the write itself fails.
    np.save("big.npy", np.ones((1024, 1024), np.float32))
    before = snapshot(folder)
    code, _, err = run(
        "pool", "big.npy", "y.npy", "-k", "1x1", "--memory", "1M", code=LIMITED,
        NPOOL_CACHE_DIR="",
    )  # fmt: skip
    assert code == 2, err
    lines = err.splitlines()
    assert "Traceback" not in err
    assert "file too large" in lines[-1]
    assert "nothing was written" in lines[-1]
    after = snapshot(folder)
    assert "y.npy" not in after
    assert not [name for name in after if name.endswith(".tmp")]
    assert before.items() <= after.items()


def test_without_the_extra_one_line_says_so(tmp_path):
    code = "import sys\nsys.modules['typer'] = None\nfrom npool.cli import main\nmain()\n"
    status, out, err = run("info", code=code)
    assert status == 2
    assert out == ""
    assert err == 'npool: the command line needs typer: pip install "npool[cli]"\n'


def test_importing_the_command_loads_no_typer():
    code = "import npool.cli, sys, json\nprint(json.dumps(sorted(sys.modules)))"
    status, out, _ = run(code=code)
    assert status == 0
    loaded = {name.partition(".")[0] for name in json.loads(out)}
    assert not loaded & {"typer", "rich", "click", "PIL", "numba", "torch", "skimage"}
