"""Runs the `npool` command in a process of its own, as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import npool

ROOT = Path(npool.__file__).resolve().parents[1]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, with the npool under test first on the path."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p), **changes}


def start(
    *arguments: object, code: str | None = None, stderr: int = subprocess.PIPE, **changes: str
) -> subprocess.Popen[str]:
    """Start `npool` (or `code`, which sees the arguments in sys.argv) with pipes."""
    program = ["-m", "npool.cli"] if code is None else ["-c", code]
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        encoding="utf-8",
        env=environment(PYTHONIOENCODING="utf-8", **changes),
    )


def run(
    *arguments: object, code: str | None = None, timeout: float = 300, **changes: str
) -> tuple[int, str, str]:
    """Run `npool` to its end: exit status, stdout, stderr."""
    with start(*arguments, code=code, **changes) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return process.returncode, out, err


def leftovers(folder: Path) -> list[str]:
    """Names of temporaries in `folder`."""
    return sorted(p.name for p in folder.iterdir() if p.name.endswith(".tmp"))
