"""What is packed: metadata, extras, the command, files that must travel along."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import npool

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_version_is_the_same_everywhere():
    assert PROJECT["project"]["version"] == npool.__version__
    assert f"## [{npool.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_core_needs_numpy_and_numba_alone():
    needed = {re.match(r"[\w-]+", line)[0] for line in PROJECT["project"]["dependencies"]}
    assert needed == {"numpy", "numba"}
    assert PROJECT["project"]["requires-python"] == ">=3.11"


def test_every_dependency_has_a_lower_bound_or_a_pin():
    extras = PROJECT["project"]["optional-dependencies"]
    assert {"cli", "torch", "cuda", "half", "test", "bench", "docs", "dev"} <= set(extras)
    lines = [
        *PROJECT["project"]["dependencies"],
        *(line for extra in extras.values() for line in extra),
    ]
    unbounded = [
        line for line in lines if not line.startswith("npool[") and not re.search("[>=]=", line)
    ]
    assert unbounded == []


def test_the_demo_extra_brings_no_framework():
    heavy = {"torch", "jax", "tensorflow", "onnxruntime"}
    names = {
        re.match(r"[\w-]+", line)[0] for line in PROJECT["project"]["optional-dependencies"]["cli"]
    }
    assert not names & heavy


def test_typed():
    assert (Path(npool.__file__).parent / "py.typed").is_file()


def test_the_license_is_bsd():
    assert PROJECT["project"]["license"] == "BSD-3-Clause"
    assert "BSD 3-Clause License" in (ROOT / "LICENSE").read_text("utf-8")


def test_names_that_are_public_exist():
    assert sorted(npool.__all__) == list(npool.__all__) or len(set(npool.__all__)) == len(
        npool.__all__
    )
    for name in npool.__all__:
        assert hasattr(npool, name), name


def make(*arguments):
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_make_help_lists_every_target():
    code, out, _ = make()
    assert code == 0
    makefile = (ROOT / "Makefile").read_text("utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    assert {"demo", "test", "check", "lint", "types", "docs", "bench", "clean"} <= set(phony)
    for target in phony:
        assert re.search(rf"^  make {target} +\S", out, re.MULTILINE), target


@pytest.mark.parametrize("target", ["demo", "test", "check", "lint", "types", "docs", "bench"])
def test_make_builds_the_environment_once(target, tmp_path):
    # Nothing is installed here: make is asked what it would do.
    places = [f"VENV={tmp_path}/v", f"DEMO_VENV={tmp_path}/d"]
    code, plan, err = make("-n", target, *places)
    assert code == 0, err
    assert "-m venv" in plan
    assert "pip install" in plan
    for folder in ("v", "d"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / ".with-python").touch()
        for extra in ("cli", "test", "dev", "docs", "bench"):
            (tmp_path / folder / f".with-{extra}").touch()
    code, plan, err = make("-n", target, *places)
    assert code == 0, err
    assert "pip install" not in plan
    assert "-m venv" not in plan


def test_make_refuses_an_old_python(tmp_path):
    old = tmp_path / "python"
    old.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'import sys; sys.exit(\"npool needs\")'\n")
    old.chmod(0o755)
    code, _, err = make("test", f"VENV={tmp_path}/v", f"PYTHON={old}")
    assert code != 0
    assert "npool needs" in err
    assert not (tmp_path / "v").exists()


def test_ci_runs_the_tests_with_make():
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert script.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in script
    for words in ("make test", "make lint", "make types", "make docs", "make bench"):
        assert words in script
