"""A compiled kernel in a file, with a digest by which every kind of damage is noticed.

What is loaded is machine code: a bit that flipped, a file cut short by a crash, or the file of
another kernel under this one's name would be wrong results or worse. Numba's own files carry no
digest, and its index is a second file that may belong to other data. Here a kernel is one file,
its digest covers the directory's and its own name, and what is not exactly what was written is
removed and compiled anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import secrets
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

from npool.cpu.cache import is_private, say_once

__all__ = ["Damaged", "StoredKernel", "framed", "unframed"]

_MAGIC = b"npool kernel 2\n"
_HEAD = len(_MAGIC) + hashlib.sha256().digest_size


class Damaged(Exception):
    """A file does not hold what was written to it."""


def _digest(name: str, content: bytes) -> bytes:
    # The name's length is fixed by the zero after it, which no name holds.
    return hashlib.sha256(name.encode() + b"\0" + content).digest()


def framed(name: str, content: bytes) -> bytes:
    """What to write so that `content` is known again under `name`, and only there."""
    return _MAGIC + _digest(name, content) + content


def unframed(name: str, stored: bytes) -> bytes:
    """The content that was framed under `name`; anything else raises `Damaged`."""
    content = stored[_HEAD:]
    if stored[:_HEAD] != _MAGIC + _digest(name, content):
        raise Damaged("is not what was written")
    return content


def _read(path: Path) -> bytes | None:
    try:
        with open(path, "rb") as file:
            if not is_private(os.fstat(file.fileno())):
                raise Damaged("could be written by others")
            return file.read()
    except FileNotFoundError:
        return None


def _replace(path: Path, stored: bytes) -> None:
    """Write a file that others see whole or not at all, whatever the umask for its owner alone.

    It is not synced: what a power cut makes of it, the digest tells.
    """
    temporary = path.with_name(f"{path.name}.tmp.{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
            file.write(stored)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _symbols(library: Any) -> list[str]:
    """What machine code finds by name in a process.

    Where all of it is there once Numba's runtime is, the modules by which Numba learns what NumPy's
    functions compile to need not be imported, SciPy among them: a fifth of the time to a
    process' first result.
    """
    module = library._final_module
    found = (*module.functions, *module.global_variables)
    return [one.name for one in found if one.is_declaration and not one.name.startswith("llvm.")]


class StoredKernel(NullCache):  # type: ignore[misc]
    """What a dispatcher asks before it compiles; whatever goes wrong means 'not cached'.

    `directory` is named for all that kernels have in common, `py_func` for all that tells this
    one from the rest (`npool.cpu.compiling.compiled`).
    """

    def __init__(self, directory: Path, py_func: Any) -> None:
        self._directory = directory
        self._name = py_func.__qualname__
        self._code = hashlib.sha256(py_func.__code__.co_code).hexdigest()

    @property
    def cache_path(self) -> str:
        """The directory, as Numba's statistics show it."""
        return str(self._directory)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The kernel as it was compiled by an earlier process, or None."""
        path = None
        try:
            path = self._path(sig, target_context.codegen())
            stored = _read(path)
            if stored is None:
                return None
            symbols, payload = pickle.loads(unframed(self._identity(path), stored))
            rtsys.initialize(target_context)
            if not all(map(llvm.address_of_symbol, symbols)):
                target_context.refresh()
            return CompileResult._rebuild(target_context, *payload)
        except Exception as error:  # pickle and the linker can raise anything at all
            if path is not None and not isinstance(error, (OSError, MemoryError)):
                # The next process need not meet it again.
                with contextlib.suppress(OSError):
                    path.unlink()
            self._say(path, error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a kernel for later processes, if it can be kept."""
        path = None
        try:
            if data.library.has_dynamic_globals:  # it holds addresses of this process
                return
            path = self._path(sig, data.codegen)
            content = dumps((_symbols(data.library), data._reduce()))
            _replace(path, framed(self._identity(path), content))
        except Exception as error:
            # Windows lets nobody replace what another process is reading: it is there, then.
            if not (isinstance(error, PermissionError) and path and os.path.exists(path)):
                self._say(path, error)

    def _path(self, sig: Any, codegen: Any) -> Path:
        # Machines of several kinds may share a home directory.
        key = repr((sig, codegen.magic_tuple(), self._code))
        return self._directory / f"{self._name}.{hashlib.sha256(key.encode()).hexdigest()[:16]}.nbc"

    def _identity(self, path: Path) -> str:
        return f"{self._directory.name}/{path.name}"

    def _say(self, path: Path | None, error: Exception) -> None:
        what = f"{path} {error}" if isinstance(error, Damaged) else (
            f"the kernel cache {self._directory} cannot be used ({type(error).__name__})"
        )  # fmt: skip
        say_once("kernels", f"npool: {what}: kernels are compiled anew")
