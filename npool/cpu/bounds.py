"""Under NUMBA_BOUNDSCHECK=1: which memory the loops of the call at hand may touch.

The loops know memory by address, so Numba's own check, of indices into arrays, sees nothing of
them. In this mode every access to an element is looked up in a table of the call's arrays
(`npool.cpu.checked`), and one outside them raises IndexError. The table is one for the whole
process, at an address that is written into the compiled loops: hence calls run one at a time,
each on its caller's thread, and no kernel is kept on disk. In any other mode none of this is
compiled.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba.core import config
from numpy.typing import NDArray

from npool.memory import address

__all__ = ["CHECKED", "COUNT", "FAULT", "FAULT_BYTES", "FIRST", "TABLE", "allowed", "extent"]

#: Whether accesses are checked; the interpreted loops have checks of their own.
CHECKED = bool(config.BOUNDSCHECK) and not config.DISABLE_JIT
#: Places of the table: how many ranges there are; where the first access outside them all was,
#: and its bytes; the first range, a pair of addresses, the second of which lies behind it.
COUNT, FAULT, FAULT_BYTES, FIRST = range(4)
#: Ranges that there is room for: scratch, input, two results, parameters and masks.
MOST = 6
_table = np.zeros(FIRST + 2 * MOST, np.int64)
#: Where the table lies, as long as the process lives.
TABLE = address(_table)
# Reentrant, since Python's garbage collector may run anything, a call of npool as well.
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    # As for the lock of npool.cpu.compiling: a child must not inherit this one taken.
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


def extent(array: NDArray[Any]) -> tuple[int, int]:
    """Addresses of an array's lowest byte, and of the one behind its highest."""
    low = high = address(array)
    if array.size == 0:
        return low, high
    for n, stride in zip(array.shape, array.strides, strict=True):
        reach = (n - 1) * stride
        low, high = low + min(reach, 0), high + max(reach, 0)
    return low, high + array.itemsize


@contextmanager
def allowed(**memory: tuple[int, int]) -> Iterator[None]:
    """Let loops touch these ranges of addresses, and no other, until the block ends.

    An IndexError of theirs leaves with a note that says where the access was.
    """
    with _lock:
        kept = _table.copy()
        _table[:] = 0
        _table[COUNT] = len(memory)
        _table[FIRST : FIRST + 2 * len(memory)] = np.array(list(memory.values())).ravel()
        try:
            yield
        except IndexError as error:
            error.add_note(_told(memory))
            raise
        finally:
            _table[:] = kept


def _told(memory: dict[str, tuple[int, int]]) -> str:
    """Where the access outside was, seen from every range."""
    at, size = int(_table[FAULT]), int(_table[FAULT_BYTES])
    seen = [f"{at - low:+d} in {name} of {high - low}" for name, (low, high) in memory.items()]
    return f"{size} bytes, at byte {', '.join(seen)}"
