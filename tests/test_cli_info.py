"""`npool info`, `npool --version`, `npool --help`."""

from __future__ import annotations

import json
import os
from importlib import metadata

import numpy as np
import pytest
from cli_process import run
from typer.testing import CliRunner

import npool
from npool.cli import info as info_module
from npool.cli.app import app


def invoke(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_what_it_says():
    result = invoke("info")
    assert result.exit_code == 0, result.output
    lines = dict(line.split(None, 1) for line in result.stdout.splitlines() if line.strip())
    assert lines["npool"].strip() == npool.__version__
    assert lines["numpy"].strip() == np.__version__
    assert lines["numba"].strip() == metadata.version("numba")
    assert lines["llvmlite"].strip() == metadata.version("llvmlite")
    for name in ("Python", "system", "processor", "features", "threads", "kernel", "CUDA", "peers"):
        assert name in lines
    assert all(name in lines["reducers"] for name in npool.REDUCERS)


def test_it_imports_no_framework():
    code = (
        "import sys, json\n"
        "from npool.cli.app import app\n"
        "app(['info'], standalone_mode=False)\n"
        "print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))\n"
    )
    status, out, err = run(code=code)
    assert status == 0, err
    loaded = set(json.loads(out.splitlines()[-1]))
    # Numba, which says where its cache is, takes scipy along where that is installed.
    heavy = {"torch", "jax", "tensorflow", "onnxruntime", "skimage", "cv2", "cupy"}
    assert not loaded & heavy


def test_cache_is_counted(monkeypatch, tmp_path):
    import npool.cpu.cache

    monkeypatch.setattr(npool.cpu.cache, "cache_directory", lambda: tmp_path)
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "a.nbc").write_bytes(bytes(3 << 20))
    assert info_module.cache() == f"{tmp_path} (3.0 MiB in 1 files)"
    monkeypatch.setattr(npool.cpu.cache, "cache_directory", lambda: None)
    assert info_module.cache().startswith("none")


def test_no_cache_is_no_error(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"")
    status, out, err = run("info", HOME=str(file), XDG_CACHE_HOME=str(file))
    assert status == 0, err
    assert "kernel cache" in out


def test_absent_packages_are_marked():
    assert info_module.packages((("no-such-distribution-here",),)).endswith("–")
    assert info_module.version_of("no-such-distribution-here", "numpy") == np.__version__


def test_version():
    assert invoke("--version").stdout == f"npool {npool.__version__}\n"


COMMANDS = ("pool", "demo", "info", "warmup", "bench", "conform")


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help(command):
    for flag in ("--help", "-h"):
        result = invoke(*command, flag)
        assert result.exit_code == 0
        assert "Usage: npool" in result.stdout or "Usage: root" in result.stdout
    if command == ("pool",):
        assert all(name in result.stdout for name in npool.REDUCERS)


def test_alone_it_shows_its_commands():
    result = invoke()
    assert result.exit_code == 2
    for name in COMMANDS:
        assert name in result.output


@pytest.mark.skipif(not hasattr(os, "pipe2"), reason="needs a pipe to close")
def test_a_reader_that_leaves_early():
    code = (
        "import os, sys\n"
        "read, write = os.pipe()\n"
        "os.close(read)\n"
        "os.dup2(write, 1)\n"
        "sys.argv = ['npool', 'info']\n"
        "from npool.cli import main\n"
        "main()\n"
    )
    status, _, err = run(code=code)
    assert status == 1
    assert err == ""
