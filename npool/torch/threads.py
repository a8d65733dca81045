"""torch's threads, lent to npool: what comes between torch's operators runs where they run."""

from __future__ import annotations

import ctypes

import torch

from npool.threads import Team, lend

__all__ = ["lend_threads"]


def lend_threads() -> None:
    """Have npool's calls from the main thread run on torch's threads, where those are OpenMP's.

    That is so on Linux, where torch brings GNU's OpenMP, or LLVM's, which answers to the same
    name. Elsewhere npool keeps to its own threads.
    """
    try:
        start = ctypes.CDLL(torch._C.__file__).GOMP_parallel
    except (AttributeError, OSError):
        return
    if address := ctypes.cast(start, ctypes.c_void_p).value:
        lend(Team(address, torch.get_num_threads))
