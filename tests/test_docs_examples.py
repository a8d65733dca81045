"""What the documentation shows is what happens: every example in it is run."""

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md"])
FENCE = re.compile(r"^```(?P<kind>\w+)[^\n]*\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def fences(path, kind):
    """``(first line, text)`` of the fenced blocks of one kind."""
    text = path.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        if found["kind"] == kind:
            yield text.count("\n", 0, found.start("body")), found["body"]


def with_kind(kind):
    return [path for path in PAGES if any(True for _ in fences(path, kind))]


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", with_kind("pycon"), ids=name_of)
def test_python_sessions_print_what_they_show(path):
    if path.name == "torch.md":
        pytest.importorskip("torch")
    space, wrong, tried = {}, [], 0
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=FLAGS)
    for line, body in fences(path, "pycon"):
        # A name for each: doctest looks up lines of code by it.
        name = f"{name_of(path)}, line {line}"
        session = parser.get_doctest(body, space, name, name_of(path), line)
        runner.run(session, out=wrong.append, clear_globs=False)
        space = session.globs
        tried += len(session.examples)
    assert tried > 0
    assert not wrong, "".join(wrong)


def test_all_pages_with_sessions_are_found():
    names = {name_of(path) for path in with_kind("pycon")}
    assert {"docs/quickstart.md", "docs/semantics.md", "docs/choices.md"} <= names
    # A prompt outside a pycon fence would be run by nobody.
    for path in PAGES:
        outside = FENCE.sub("", path.read_text(encoding="utf-8"))
        assert ">>>" not in outside, f"{name_of(path)} has a Python session outside ```pycon"


def commands(path):
    """The lines ``$ npool …`` of a page's console blocks."""
    for _, body in fences(path, "console"):
        for line in body.splitlines():
            if line.startswith("$ npool "):
                yield shlex.split(line.removeprefix("$ "), comments=True)[1:]


@pytest.fixture
def files(tmp_path):
    """What the commands of the pages are about."""
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.arange(64 * 48 * 3, dtype=np.uint8).reshape(64, 48, 3)).save(
        tmp_path / "photo.png"
    )
    np.save(tmp_path / "volume.npy", np.arange(6 * 7 * 8, dtype=np.float32).reshape(6, 7, 8))
    np.save(tmp_path / "frames.npy", np.arange(6 * 7 * 8, dtype=np.uint8).reshape(6, 7, 8))
    return tmp_path


POOLING = [
    pytest.param(arguments, id=f"{name_of(path)}: {' '.join(arguments[:3])}")
    for path in PAGES
    for arguments in commands(path)
    if arguments[0] == "pool" and "count_nonzero" not in arguments
]


def test_the_pages_show_pooling_commands():
    assert len(POOLING) >= 4


@pytest.mark.parametrize("arguments", POOLING)
def test_pooling_commands_do_what_they_say(arguments, files):
    pytest.importorskip("typer")
    done = subprocess.run(
        [sys.executable, "-m", "npool.cli", *arguments],
        cwd=files,
        env={**_environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (files / arguments[2]).stat().st_size > 0


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(arguments, id=f"{name_of(path)}: {' '.join(arguments)}")
        for path in PAGES
        for arguments in commands(path)
        if arguments[0] != "pool" or "count_nonzero" in arguments
    ],
)
def test_options_of_other_commands_exist(arguments):
    typer = pytest.importorskip("typer")
    from npool.cli.app import app

    command = typer.main.get_command(app).commands[arguments[0]]
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    given = {argument for argument in arguments[1:] if argument.startswith("-")}
    assert given <= known, f"npool {arguments[0]} has no {sorted(given - known)}"


def _environment():
    import os

    return dict(os.environ)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_between_pages_lead_somewhere(path):
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    absent = [target for target in targets if not (path.parent / target).exists()]
    assert not absent, f"{name_of(path)} links to {absent}"
