"""Threads that another library keeps: where they are at hand, chunks run on them, not on our own.

torch computes on OpenMP's threads, which go on turning for some milliseconds after each of its
operators, and for as long keep a CPU from threads of ours: in turn with torch's calls, a call of
1 to 4 ms took 1.1 to 1.7 times as long on `npool.cpu.workers` as on torch's own threads, which
also need no waking (docs/performance.md). `npool.torch` lends them.
"""

from __future__ import annotations

from functools import cache as memoised
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types as nb
from numba.extending import intrinsic

from npool.cpu.compiling import WORD, Driver, entry, lock
from npool.memory import address
from npool.threads import Team

__all__ = ["run"]


#: What all threads of a team read, and the last two of which each adds to.
_WORDS = (
    "DRIVER", "SHARED", "X", "VALUES", "POSITIONS", "TASKS", "CHUNK", "SCRATCH", "EACH", "NEXT",
    "MEMBERS",
)  # fmt: skip


def run(
    team: Team, driver: Driver, given: tuple[int, ...], tasks: int, threads: int, scratch: int,
    each: int,
) -> None:  # fmt: skip
    """Have a driver do its tasks, in chunks that a thread takes when it has done the last.

    `given` are its first four words; from `scratch` on each thread has `each` bytes. Chunks are
    large: threads that write to memory side by side wait for one another where it is new (2x2/2
    on 4 channels last: the gradient took 7.9 ms in chunks of one task, 3.7 in 8 chunks).
    """
    chunk = max(1, tasks // (4 * threads))
    words = np.array([driver.at, *given, tasks, chunk, scratch, each, 0, 0], np.int64)
    _starter()(team.start, address(words), threads)


@intrinsic
def _start(typingctx: Any, start: Any, words: Any, threads: Any) -> Any:
    """Call `start` of so many threads, each of which does chunks until none is left."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        nothing, i32 = ir.VoidType(), ir.IntType(32)
        pointer = ir.IntType(8).as_pointer()
        member = ir.Function(builder.module, ir.FunctionType(nothing, [pointer]), "npool_member")
        member.linkage = "internal"
        _member(ir.IRBuilder(member.append_basic_block()), member.args[0], context.call_conv)
        kind = ir.FunctionType(nothing, [member.type, pointer, i32, i32])
        call = builder.inttoptr(args[0], kind.as_pointer())
        table = builder.inttoptr(args[1], pointer)
        builder.call(call, [member, table, builder.trunc(args[2], i32), i32(0)])
        return context.get_dummy_value()

    return nb.none(WORD, WORD, WORD), codegen


def _member(b: Any, given: Any, convention: Any) -> None:
    """What a thread of a team does."""
    word = ir.IntType(64)
    table = b.bitcast(given, word.as_pointer())

    def place(name: str) -> Any:
        return b.gep(table, [word(_WORDS.index(name))])

    def taken(name: str, count: Any) -> Any:
        return b.atomic_rmw("add", place(name), count, "monotonic")

    known = {name: b.load(place(name)) for name in _WORDS[:-2]}
    own = b.add(known["SCRATCH"], b.mul(taken("MEMBERS", word(1)), known["EACH"]))
    kinds = (WORD,) * 7
    driver = convention.get_function_type(nb.none, kinds).as_pointer()
    driver = b.inttoptr(known["DRIVER"], driver)
    again, more, done = (b.append_basic_block(name) for name in ("again", "more", "done"))
    b.branch(again)
    b.position_at_end(again)
    first = taken("NEXT", known["CHUNK"])
    b.cbranch(b.icmp_signed("<", first, known["TASKS"]), more, done)
    b.position_at_end(more)
    last = b.add(first, known["CHUNK"])
    last = b.select(b.icmp_signed("<", last, known["TASKS"]), last, known["TASKS"])
    words = [known[name] for name in ("SHARED", "X", "VALUES", "POSITIONS")]
    # No driver raises: checked ones, which do, are run by the caller alone.
    convention.call_function(b, driver, nb.none, kinds, [*words, own, first, last])
    b.branch(again)
    b.position_at_end(done)
    b.ret_void()


def _started(start, words, threads):  # type: ignore[no-untyped-def]
    _start(start, words, threads)


@memoised
def _starter() -> Any:
    with lock:
        return entry(_started, 3).run
