"""A disk cache of compiled kernels that can never make a call fail or give a stale answer.

Numba's own cache is keyed by a function's bytecode and signature, but sees neither the
functions it calls nor compiler flags, and raises on a damaged file. Here the directory's name
hashes all that could matter, and any failure means compiling without the cache.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import stat
import sys
from pathlib import Path
from typing import Any, ClassVar

import llvmlite
import numba
import numpy as np
from numba.core import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

import npool

__all__ = ["attach", "cache_directory", "cache_root"]


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
    for path in sorted([*package.glob("*.py"), *package.glob("cpu/*.py")]):
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
            if not _is_private(path):
                _say_once(
                    f"npool: not using the kernel cache {path}: it belongs to another user or "
                    "others can write to it; set NPOOL_CACHE_DIR to a private directory"
                )
                return None
        return directory if os.access(directory, os.R_OK | os.X_OK) else None
    except (OSError, RuntimeError, ValueError):
        return None


def _is_private(path: Path) -> bool:
    if os.name != "posix":
        return True
    info = path.stat()
    return info.st_uid == os.geteuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@functools.cache
def _say_once(message: str) -> None:
    # Not a warning: where warnings are errors, that would make the call fail.
    logging.getLogger("npool").warning(message)


class _Locator(_CacheLocator):  # type: ignore[misc]
    def __init__(self, directory: Path) -> None:
        self._directory = str(directory)

    def ensure_cache_path(self) -> None:
        pass

    def get_cache_path(self) -> str:
        return self._directory

    def get_source_stamp(self) -> str:
        return _fingerprint()

    def get_disambiguator(self) -> None:
        return None

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _Locator | None:
        directory = cache_directory()
        return None if directory is None else cls(directory)


class _Impl(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes: ClassVar[list[Any]] = [_Locator]

    def __init__(self, py_func: Any) -> None:
        locator = _Locator.from_function(py_func, "")
        if locator is None:
            raise RuntimeError("no cache directory")
        self._locator = locator
        self._lineno = 0
        self._filename_base = py_func.__qualname__

    def check_cachable(self, cres: Any) -> bool:
        return True


class _GuardedCache(FunctionCache):  # type: ignore[misc]
    """Numba's cache, where whatever goes wrong means 'not cached'."""

    _impl_class = _Impl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # pickle can raise anything at all
            self._broken(error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:
            self._broken(error)

    def _broken(self, error: Exception) -> None:
        # A damaged entry is removed so that the next process need not meet it again.
        if not isinstance(error, OSError):
            base = self._impl.filename_base
            for path in Path(self._cache_path).glob(f"{base}.*"):
                try:
                    path.unlink()
                except OSError:
                    break
        _say_once(
            f"npool: the kernel cache {self._cache_path} cannot be used "
            f"({type(error).__name__}): kernels are compiled anew"
        )


def attach(dispatcher: Any) -> None:
    """Give a dispatcher the guarded cache, if there is one."""
    if cache_directory() is None:
        return
    try:
        dispatcher._cache = _GuardedCache(dispatcher.py_func)
    except Exception:  # a Numba whose internals have moved: no cache, no error
        return
