"""Memory and code by address: tables of int64, copies past the caches, calls of loops."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "ask", "ask_line", "caller", "copy", "fence", "get", "prefetch", "put", "stream", "table",
]  # fmt: skip


def table(width: int) -> tuple[Any, Any]:
    """``read(at, i, k)`` and ``write(at, i, k, value)`` of int64 tables of `width` columns."""
    word = ir.IntType(64)

    def place(builder: Any, args: Any) -> Any:
        k = builder.add(builder.mul(args[1], word(width)), args[2])
        return builder.gep(builder.inttoptr(args[0], word.as_pointer()), [k])

    @intrinsic
    def read(typingctx: Any, at: Any, i: Any, k: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(place(builder, args))

        return types.int64(types.int64, types.int64, types.int64), codegen

    @intrinsic
    def write(typingctx: Any, at: Any, i: Any, k: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.store(args[3], place(builder, args))
            return context.get_dummy_value()

        return types.none(types.int64, types.int64, types.int64, types.int64), codegen

    return read, write


@intrinsic
def get(typingctx: Any, at: Any, k: Any) -> Any:
    """The int64 at place `k` behind an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        return builder.load(builder.gep(builder.inttoptr(args[0], word.as_pointer()), [args[1]]))

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def put(typingctx: Any, at: Any, k: Any, value: Any) -> Any:
    """Write an int64 to place `k` behind an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        place = builder.gep(builder.inttoptr(args[0], word.as_pointer()), [args[1]])
        builder.store(args[2], place)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64), codegen


def caller(arguments: tuple[str, ...]) -> Any:
    """An intrinsic that calls a compiled loop by address, as Numba itself would call it.

    All `arguments` are int64 but `fresh`, a bool. An exception in the loop (there is none but
    under NUMBA_BOUNDSCHECK, of `npool.cpu.checked`) goes on in the caller.
    """
    kinds = tuple(types.boolean if name == "fresh" else types.int64 for name in arguments)

    def typed(typingctx: Any, function: Any, *given: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            convention = context.call_conv
            kind = convention.get_function_type(types.none, kinds)
            pointer = builder.inttoptr(args[0], kind.as_pointer())
            values = [
                context.cast(builder, value, has, wants)
                for value, has, wants in zip(args[1:], signature.args[1:], kinds, strict=True)
            ]
            status, _ = convention.call_function(builder, pointer, types.none, kinds, values)
            with cgutils.if_unlikely(builder, status.is_error):
                convention.return_status_propagate(builder, status)
            return context.get_dummy_value()

        return types.none(types.int64, *kinds), codegen

    source = ", ".join(arguments)
    space: dict[str, Any] = {"typed": typed}
    # intrinsic() reads the names of the arguments off the function it is given.
    exec(f"def call(typingctx, function, {source}):\n    return typed(typingctx, function)", space)
    return intrinsic(space["call"])


#: Bytes of a line of the cache, and of what `stream` writes at once.
_LINE = 64


@intrinsic
def prefetch(typingctx: Any, at: Any, n: Any) -> Any:
    """Ask for the `n` bytes from an address on, which will be read soon. Never faults."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ask(builder, *args)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64), codegen


def ask(builder: Any, at: Any, n: Any) -> None:
    """`prefetch`, in IR."""
    word = ir.IntType(64)
    with cgutils.for_range_slice(builder, word(0), n, word(_LINE), word) as (i, _):
        ask_line(builder, builder.add(at, i))


def ask_line(builder: Any, at: Any, level: int = 2) -> None:
    """Ask for the line of the memory that an address is in, into the cache of that level."""
    flag, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    where = builder.inttoptr(at, pointer)
    builder.call(function, [where, flag(0), flag(4 - level), flag(1)])  # read, data


def _copy(builder: Any, dst: Any, src: Any, n: Any) -> None:
    pointer = ir.IntType(8).as_pointer()
    to, at = builder.inttoptr(dst, pointer), builder.inttoptr(src, pointer)
    cgutils.raw_memcpy(builder, to, at, n, ir.IntType(64)(1))


@intrinsic
def copy(typingctx: Any, dst: Any, src: Any, n: Any) -> Any:
    """Copy `n` bytes to where they do not lie."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _copy(builder, *args)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64), codegen


@intrinsic
def stream(typingctx: Any, dst: Any, src: Any, n: Any) -> Any:
    """Copy `n` bytes past the caches, whole lines at a time; `fence` must follow."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        lines = ir.VectorType(word, _LINE // 8)
        dst, src, n = args
        hint = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])

        def copied(first: Any, last: Any) -> None:
            size = builder.sub(last, first)
            _copy(builder, builder.add(dst, first), builder.add(src, first), size)

        head = builder.and_(builder.neg(dst), word(_LINE - 1))
        head = builder.select(builder.icmp_signed("<", head, n), head, n)
        copied(word(0), head)
        body = builder.add(head, builder.and_(builder.sub(n, head), word(-_LINE)))
        with cgutils.for_range_slice(builder, head, body, word(_LINE), word) as (i, _):
            value = builder.load(builder.inttoptr(builder.add(src, i), lines.as_pointer()), align=1)
            place = builder.inttoptr(builder.add(dst, i), lines.as_pointer())
            builder.store(value, place, align=_LINE).set_metadata("nontemporal", hint)
        copied(body, n)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64), codegen


@intrinsic
def fence(typingctx: Any) -> Any:
    """Whatever was written before is seen before whatever is written after."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.none(), codegen
