"""Templates to machine code: compiled for integers, cached on disk, found by address."""

from __future__ import annotations

import os
import threading
import types
from collections.abc import Callable
from typing import Any, NamedTuple

from numba import types as nb
from numba.core import config
from numba.core.compiler_lock import global_compiler_lock

from npool.cpu import cache, interpreted, interpreted_rows

if config.DISABLE_JIT:
    instructions: Any = interpreted
    emit: Any = interpreted_rows
    access: Any = interpreted
    copies: Any = interpreted_rows
    vectors: Any = interpreted_rows
    picks: Any = interpreted_rows
    windows: Any = interpreted_rows
    forms: Any = None
    long_rows: Any = None
    slides: Any = None
else:
    from npool.cpu import (
        access,
        copies,
        emit,
        forms,
        instructions,
        long_rows,
        picks,
        slides,
        vectors,
        windows,
    )

__all__ = [
    "WORD", "Driver", "access", "address_of", "arguments", "compiled", "copies", "emit", "entry",
    "forms", "instructions", "keep", "kernels", "lock", "long_rows", "picks", "slides", "vectors",
    "windows",
]  # fmt: skip

#: One thread compiles at a time.
lock = threading.RLock()


def _hold() -> None:
    # In the order in which a thread that compiles takes them: the other way round, that thread and
    # the one that forks would wait for each other.
    lock.acquire()
    global_compiler_lock.acquire()


def _release() -> None:
    global_compiler_lock.release()
    lock.release()


if hasattr(os, "register_at_fork"):
    # A fork while another thread compiles would leave the child locks that nobody releases.
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_release)
#: The type of every argument of a loop or driver, but for a few booleans.
WORD = nb.int64


def compiled(template: Callable[..., Any], space: dict[str, Any], name: str | None) -> Any:
    """`template` bound in `space` and compiled for integer arguments; `name`, for the cache."""
    function = types.FunctionType(template.__code__, space, template.__name__)
    function.__qualname__ = f"{template.__name__}-{name}" if name else template.__name__
    dispatcher = instructions.jit(function)
    if config.DISABLE_JIT:
        return dispatcher
    if name is not None:
        cache.attach(dispatcher)
    flags = [nb.boolean if a == "fresh" else WORD for a in arguments(template)]
    dispatcher.compile(nb.none(*flags))
    return dispatcher


class Driver(NamedTuple):
    """What Python calls to have tasks done, and the address of its machine code, 0 if none.

    A driver takes seven words: the address of its tables, three of its own, that of scratch, and
    the first and the last of its tasks.
    """

    run: Callable[..., None]
    at: int = 0


def entry(function: Callable[..., Any], words: int = 7) -> Driver:
    """A template's function compiled for so many words, to be called from Python."""
    dispatcher = instructions.jit(function, entry=True)
    if config.DISABLE_JIT:
        return Driver(dispatcher)
    cache.attach(dispatcher)
    dispatcher.compile(nb.none(*[WORD] * words))
    keep(dispatcher)
    # What the dispatcher would call, once it had looked at the types of the arguments.
    (only,) = dispatcher.overloads.values()
    at = only.library.get_pointer_to_function(only.fndesc.llvm_func_name)
    return Driver(only.entry_point, int(at))


def arguments(template: Callable[..., Any]) -> tuple[str, ...]:
    """Names of a template's arguments."""
    code = template.__code__
    return code.co_varnames[: code.co_argcount]


_kept: list[Any] = []  # machine code lives as long as its dispatcher


def keep(dispatcher: Any) -> None:
    """Hold a compiled kernel for the life of the process, and count it."""
    _kept.append(dispatcher)


def kernels() -> tuple[int, int]:
    """How many kernels are ready, and how many of them were compiled, not found on disk."""
    return len(_kept), sum(sum(one.stats.cache_misses.values()) for one in list(_kept))


def address_of(dispatcher: Any) -> int:
    """Where the machine code of a dispatcher compiled for one signature starts."""
    if config.DISABLE_JIT:
        return interpreted.register(dispatcher)
    (result,) = dispatcher.overloads.values()
    keep(dispatcher)
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_func_name))
