"""Runs a piece of Python in a process of its own: for crashes, signals, forks and caches."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import npool

ROOT = Path(npool.__file__).resolve().parents[1]
TESTS = Path(__file__).resolve().parent


def environment(root: Path = ROOT, **changes: str | None) -> dict[str, str]:
    """This process's environment with the npool of `root` first on the path; None unsets."""
    paths = [str(root), str(TESTS), os.environ.get("PYTHONPATH", "")]
    merged = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p), **changes}
    merged = {"PYTHONDONTWRITEBYTECODE": "1", **merged}
    return {name: value for name, value in merged.items() if value is not None}


def start(
    code: str, *arguments: object, root: Path = ROOT, warnings: str = "error", **changes: str | None
) -> subprocess.Popen[str]:
    """Start `code` (which sees the arguments in sys.argv) with pipes, in a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-W", warnings, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        cwd=root,
        env=environment(root, **changes),
        start_new_session=os.name == "posix",
    )


def ended(process: subprocess.Popen[str], timeout: float = 120) -> tuple[int, str, str]:
    """Wait for the end: exit status, stdout, stderr. What hangs is killed, children included."""
    with process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            raise
    return process.returncode, out, err


def run(
    code: str,
    *arguments: object,
    root: Path = ROOT,
    timeout: float = 120,
    warnings: str = "error",
    **changes: str | None,
) -> tuple[int, str, str]:
    """Run `code` to its end: exit status, stdout, stderr."""
    process = start(code, *arguments, root=root, warnings=warnings, **changes)
    return ended(process, timeout)


def check_runs(code: str, *arguments: object, **options: object) -> str:
    """Run `code`, which must exit with status 0 and without a word on stderr; its stdout."""
    status, out, err = run(code, *arguments, **options)  # type: ignore[arg-type]
    assert (status, err) == (0, ""), f"exit status {status}\n{out}\n{err}"
    return out


def copied(folder: Path, *edits: tuple[str, str, str]) -> Path:
    """A copy of the package in `folder`, with ``(file, old, new)`` replaced; its root.

    A text that is not there once is an error: a mutant that changes nothing shows nothing.
    """
    root = folder / "copy"
    shutil.copytree(ROOT / "npool", root / "npool", ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in edits:
        path = root / "npool" / name
        text = path.read_text("utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        path.write_text(text.replace(old, new), "utf-8")
    return root
