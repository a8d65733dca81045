"""How many threads npool uses: the setting, apart from the pool that obeys it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from npool.values import integer, shown

__all__ = ["Team", "get_num_threads", "lend", "lent", "num_threads", "set_num_threads"]

MOST = 1024
_setting: int | None = None
_local: ContextVar[int | None] = ContextVar("npool_num_threads", default=None)


def _checked(n: int) -> int:
    n = integer(n, "the number of threads")
    if not 1 <= n <= MOST:
        raise ValueError(f"the number of threads must lie in 1 to {MOST}, got {shown(n)}")
    return n


def _default() -> int:
    for name in ("NPOOL_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "").split(",")[0].strip()
        if text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0:
            return min(int(text), MOST)
    if hasattr(os, "sched_getaffinity"):
        return max(1, min(len(os.sched_getaffinity(0)), MOST))
    return max(1, min(os.cpu_count() or 1, MOST))


def set_num_threads(n: int) -> None:
    """Set how many threads a call may use, in this process.

    Results never depend on it.

    Parameters
    ----------
    n : int
        From 1 to 1024.

    Raises
    ------
    ValueError, TypeError
        If `n` is no such integer.

    Examples
    --------
    >>> import npool
    >>> before = npool.get_num_threads()
    >>> npool.set_num_threads(2)
    >>> npool.get_num_threads()
    2
    >>> npool.set_num_threads(before)
    """
    global _setting
    _setting = _checked(n)


def get_num_threads() -> int:
    """How many threads a call from here may use.

    The innermost :func:`num_threads` in force; else what :func:`set_num_threads` set; else the
    environment's ``NPOOL_NUM_THREADS``, ``NUMBA_NUM_THREADS`` or ``OMP_NUM_THREADS``; else the
    number of CPUs that this process may run on.

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> import npool
    >>> npool.get_num_threads() >= 1
    True
    """
    global _setting
    here = _local.get()
    if here is not None:
        return here
    if _setting is None:
        _setting = _default()
    return _setting


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Use `n` threads inside a ``with`` block, in this thread (or task) only.

    Parameters
    ----------
    n : int
        From 1 to 1024.

    Returns
    -------
    context manager

    Raises
    ------
    ValueError, TypeError
        If `n` is no such integer.

    Examples
    --------
    >>> import npool
    >>> with npool.num_threads(1):
    ...     npool.get_num_threads()
    1
    """
    token = _local.set(_checked(n))
    try:
        yield
    finally:
        _local.reset(token)


class Team(NamedTuple):
    """Another library's threads: the address of its `GOMP_parallel`, and how many they are now."""

    start: int
    size: Callable[[], int]


_team: Team | None = None


def lend(team: Team | None) -> None:
    """Let calls from the main thread have the threads of `team`, or their own again."""
    global _team
    _team = team


if hasattr(os, "register_at_fork"):
    # Of OpenMP's threads a forked child has none, and would wait for them forever.
    os.register_at_fork(after_in_child=lambda: lend(None))


def lent(threads: int) -> Team | None:
    """The team, if it has just so many threads and they are the calling thread's.

    Any other thread would have a team of its own made, and a team of another size would be made
    anew for the call and again after it.
    """
    team = _team
    if (
        team is None
        or threading.get_ident() != threading.main_thread().ident
        or team.size() != threads
    ):
        return None
    return team
