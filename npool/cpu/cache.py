"""A disk cache of compiled kernels that can never make a call fail or give a stale answer.

Numba's own cache is keyed by a function's bytecode and signature, but sees neither the
functions it calls nor compiler flags, raises on a file cut short, and runs one that was changed.
Here the directory's name hashes all that could matter, a file says what it holds
(`npool.cpu.stored`), and any failure means compiling without the cache.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import stat
import sys
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import config

import npool
from npool.cpu import bounds

__all__ = ["attach", "cache_directory", "cache_root", "is_private", "say_once"]


def cache_root() -> Path | None:
    """Directory that holds npool's caches, or None if the user wants or has none.

    ``NPOOL_CACHE_DIR`` names it; set to an empty string, it turns the cache off. Otherwise it
    is ``npool`` in the user's cache directory (``XDG_CACHE_HOME``, ``~/.cache``;
    ``~/Library/Caches`` on macOS, ``%LOCALAPPDATA%`` on Windows).
    """
    named = os.environ.get("NPOOL_CACHE_DIR")
    if named is not None:
        return Path(named) if named else None
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return Path(base) / "npool" if base else None
    base = os.environ.get("XDG_CACHE_HOME")
    if base and os.path.isabs(base):
        return Path(base) / "npool"
    # Not expanduser: it falls back on the password database, and a process without HOME has
    # no home that it may write to.
    home = os.environ.get("HOME")
    if not home or not os.path.isabs(home):
        return None
    return Path(home) / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "npool"


@functools.cache
def _fingerprint() -> str:
    digest = hashlib.sha256()
    flags = (config.BOUNDSCHECK, config.OPT, config.CPU_NAME, config.CPU_FEATURES,
             config.DEBUGINFO_DEFAULT, config.SLP_VECTORIZE, config.LOOP_VECTORIZE)  # fmt: skip
    versions = (npool.__version__, numba.__version__, llvmlite.__version__, np.__version__)
    digest.update(repr((sys.version_info[:3], versions, flags)).encode())
    package = Path(npool.__file__).parent
    sources = sorted([*package.glob("*.py"), *package.glob("cpu/*.py")])
    if not sources:  # an archive, or bytecode alone: what kernels were made of cannot be told
        raise RuntimeError("no sources")
    for path in sources:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


@functools.cache
def cache_directory() -> Path | None:
    """The directory of this version's kernels, made if need be; None means no cache.

    A directory that belongs to somebody else or that others can write to is refused: what is
    loaded from it is code.
    """
    try:
        root = cache_root()
        if root is None:
            return None
        directory = root / f"kernels-{_fingerprint()}"
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.mkdir(exist_ok=True, mode=0o700)
        for path in (root, directory):
            if not is_private(path.stat()):
                say_once(
                    "directory",
                    f"npool: not using the kernel cache {path}: it belongs to another user or "
                    "others can write to it; set NPOOL_CACHE_DIR to a private directory",
                )
                return None
        return directory if os.access(directory, os.R_OK | os.X_OK) else None
    except Exception:  # nowhere to keep kernels, or a Numba whose settings have moved
        return None


def is_private(info: os.stat_result) -> bool:
    """Whether a file or directory is this user's and nobody else can write to it."""
    if os.name != "posix":
        return True
    return info.st_uid == os.geteuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


_said: set[str] = set()


def say_once(topic: str, message: str) -> None:
    """Log a warning, the first on its topic in this process."""
    # Not by `warnings`: where those are errors, that would make the call fail.
    if topic not in _said:
        _said.add(topic)
        logging.getLogger("npool").warning(message)


def attach(dispatcher: Any) -> None:
    """Give a dispatcher the disk cache, if there is one."""
    # Checked loops hold an address of this process.
    directory = None if bounds.CHECKED else cache_directory()
    if directory is None:
        return
    try:
        from npool.cpu.stored import StoredKernel

        dispatcher._cache = StoredKernel(directory, dispatcher.py_func)
    except Exception:  # a Numba whose internals have moved: no cache, no error
        return
