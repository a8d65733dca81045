"""Memory of results: on lines of the cache, and used again once a large result is gone.

The system hands out fresh memory zeroed, page by page, at the first touch: for a large result
that takes longer than pooling into it (docs/performance.md). So the memory of the last
results, up to `KEPT` bytes, is used again as soon as nobody holds them any more.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections import deque
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LARGE", "address", "empty"]

#: Bytes of a line of the cache; of a result from which on it starts on one, and from which on
#: its memory is used again; and of memory kept at most.
LINE, LARGE, HUGE, KEPT = 64, 1 << 15, 1 << 20, 1 << 27

# A block that nobody but this refers to is free: no finaliser tells, which Ctrl-C could hit.
# Popping and appending are atomic, and a block is looked at only while it is in neither.
_blocks: deque[NDArray[np.uint8]] = deque()
if hasattr(os, "register_at_fork"):
    # A child would copy every page of these at its first write.
    os.register_at_fork(after_in_child=_blocks.clear)


def address(array: NDArray[Any]) -> int:
    """Where the elements of an array start.

    Read from the array itself, 0.1 us: ``array.__array_interface__`` takes 0.3 and
    ``array.ctypes.data`` 0.7.
    """
    at: int = _word(id(array) + _DATA).value
    return at


def _by_interface(array: NDArray[Any]) -> int:
    at: int = array.__array_interface__["data"][0]
    return at


_word = ctypes.c_size_t.from_address
#: In NumPy's C interface an array is an object whose first field is this address.
_DATA = object.__basicsize__
_probe = np.zeros(3, np.uint8)
if address(_probe[1:]) != _by_interface(_probe) + 1 or address(_probe) != _by_interface(_probe):
    address = _by_interface  # another Python, or another NumPy


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """`numpy.empty` in C order; a large array starts on a line of the cache.

    NumPy's own large arrays start 16 bytes behind one, and then every vector of 64 bytes that
    is written takes two lines.
    """
    size = prod(shape) * dtype.itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    if size < HUGE or size > KEPT:
        memory = np.empty(size + LINE, np.uint8)
        return np.ndarray(shape, dtype, memory, _start(memory))
    memory = _taken(size + LINE)
    result: NDArray[Any] = np.ndarray(shape, dtype, memory, _start(memory))
    _blocks.append(memory)
    while sum(block.size for block in tuple(_blocks)) > KEPT + 2 * LINE:
        try:
            _blocks.popleft()
        except IndexError:
            break
    return result


def _start(memory: NDArray[np.uint8]) -> int:
    return -address(memory) % LINE


def _taken(size: int) -> NDArray[np.uint8]:
    """Memory of `size` bytes or a little more, used before if there is any that is free.

    The last that was used, of several: some of it may still be in the caches.
    """
    others: list[NDArray[np.uint8]] = []
    found = None
    for _ in range(len(_blocks)):
        try:
            memory = _blocks.pop()
        except IndexError:
            break
        # Views of a result refer to its memory, however they were made: NumPy sees to that.
        if size <= memory.size <= 2 * size and sys.getrefcount(memory) == _UNSHARED:
            found = memory
            break
        others.append(memory)
        del memory
    _blocks.extend(reversed(others))
    return _mapped(size) if found is None else found


def _mapped(size: int) -> NDArray[np.uint8]:
    """Memory of the system's own, apart from that of malloc.

    A block that is kept among malloc's is in the way of those of others: what they free no longer
    lies at the end of the heap, or is given back to the system, and a model's next layer has fresh
    memory to touch. A U-Net of volumes took 35 ms longer, 54 MB of page faults.
    """
    if os.name == "nt":
        return np.frombuffer(mmap.mmap(-1, size), np.uint8)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8)


def _references() -> int:
    memory = np.empty(0, np.uint8)
    return sys.getrefcount(memory)


#: What `sys.getrefcount` says of what one local variable alone refers to.
_UNSHARED = _references()
