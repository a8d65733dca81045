"""The check of an access against the memory of its call, compiled under NUMBA_BOUNDSCHECK=1.

`npool.cpu.bounds` says which memory that is, and why Numba's own check does not do.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import cfunc, types
from numba.core import cgutils
from numba.extending import intrinsic

from npool.cpu import access, instructions
from npool.cpu.bounds import COUNT, FAULT, FAULT_BYTES, FIRST, TABLE

__all__ = ["copy", "guard", "stream", "view"]

_get, _put, _view = access.get, access.put, instructions.view


# Called by its address, so that loops hold calls and no copies of it: three loops of dilated
# windows compile in 18 s and not in 59.
@cfunc(types.int64(types.int64, types.int64), nopython=True, error_model="numpy")
def _outside(at, size):  # type: ignore[no-untyped-def]
    # An access that begins in one range and ends in the next is outside, though they may touch.
    for k in range(_get(TABLE, COUNT)):
        low, high = _get(TABLE, FIRST + 2 * k), _get(TABLE, FIRST + 2 * k + 1)
        if low <= at and size >= 0 and at + size <= high:
            return 0
    _put(TABLE, FAULT, at)
    _put(TABLE, FAULT_BYTES, size)
    return 1


def guard(context: Any, builder: Any, at: Any, size: Any) -> None:
    """Emit: IndexError from the function at hand, unless the `size` bytes at `at` are allowed."""
    word = ir.IntType(64)
    kind = ir.FunctionType(word, [word, word]).as_pointer()
    outside = builder.call(builder.inttoptr(word(_outside.address), kind), (at, size))
    with cgutils.if_unlikely(builder, builder.icmp_signed("!=", outside, word(0))):
        message = "a loop of npool reached outside the memory of its call"
        context.call_conv.return_user_exc(builder, IndexError, (message,))


@intrinsic
def _inside(typingctx: Any, at: Any, size: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        assert all(value.type == word for value in args)
        guard(context, builder, *args)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64), codegen


@instructions.jit
def view(at, n, dtype):  # type: ignore[no-untyped-def]
    """As `npool.cpu.instructions.view`, of memory that may be touched."""
    elements = _view(at, n, dtype)
    _inside(at, n * elements.itemsize)
    return elements


@instructions.jit
def copy(dst, src, n):  # type: ignore[no-untyped-def]
    """As `npool.cpu.access.copy`, from and to memory that may be touched."""
    _inside(dst, n)
    _inside(src, n)
    access.copy(dst, src, n)


@instructions.jit
def stream(dst, src, n):  # type: ignore[no-untyped-def]
    """As `npool.cpu.access.stream`, from and to memory that may be touched."""
    _inside(dst, n)
    _inside(src, n)
    access.stream(dst, src, n)
