"""Loops over elements as LLVM IR, told what LLVM must know to vectorise them.

A loop that Numba compiles from Python says neither that its accesses are independent nor how
its remainder is to be run. These do: blocks of `GROUP` bytes run unrolled, and what is left in
vectors under a mask where the CPU has one for every element size, so that a row of 28 elements
is two vector operations and not 28 scalar ones (docs/performance.md). The loops' bodies are a
reducer's compiled functions, whatever they are; `npool.cpu.lanes` says what a loop is for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from npool.cpu import bounds
from npool.cpu.parts import Words

if bounds.CHECKED:
    from npool.cpu import checked

__all__ = ["Emitter", "fill_row", "finish_row", "fold_row", "kind_of", "tuple_of", "word"]

_I64 = ir.IntType(64)
#: Bytes of an accumulator's narrowest part that an unrolled step covers: two vectors of 64.
GROUP = 128
_features = {} if config.CPU_NAME or config.CPU_FEATURES else llvm.get_host_cpu_features()
#: Whether masked loads and stores of bytes are single instructions.
HAS_MASKS = bool(_features.get("avx512bw") and _features.get("avx512vl"))
#: Whether vectors have 32 bytes at least, and masks of elements of 4 bytes.
HAS_WIDE = bool(_features.get("avx2"))
#: Whether a product is added to with one rounding, as one instruction.
HAS_FMA = bool(_features.get("fma"))
#: Whether one instruction says which of 16 floats are subnormal, infinite or NaN.
HAS_CLASSES = HAS_MASKS and bool(_features.get("avx512dq"))


def kind_of(dtype: np.dtype[Any]) -> Any:
    """Numba's type of a storage type."""
    return getattr(numba, dtype.name)


def tuple_of(dtypes: tuple[np.dtype[Any], ...]) -> Any:
    """Numba's type of a tuple of storage types."""
    return types.BaseTuple.from_types(tuple(map(kind_of, dtypes)))


class _Distinct(ir.MDValue):  # type: ignore[misc]
    """A metadata node that is no other, such as the name of a loop."""

    def descr(self, buf: list[str]) -> None:
        def said(op: Any) -> str:
            plain = isinstance(op.type, ir.MetaDataType)
            return str(op.get_reference()) if plain else f"{op.type} {op.get_reference()}"

        buf.append(f"distinct !{{ {', '.join(map(said, self.operands))} }}\n")


def _distinct(module: Any, *operands: Any, itself: bool = False) -> Any:
    node = _Distinct(module, (), name=str(len(module.metadata)))
    node.operands = (node, *operands) if itself else operands
    return node


class Emitter:
    """IR of one intrinsic: calls of jitted functions, elements of memory, loops."""

    def __init__(self, words: Words, context: Any, builder: Any) -> None:
        self.words, self.context, self.b = words, context, builder
        self.typing = context.typing_context
        self.group = _distinct(builder.module)

    def call(self, function: Any, kinds: tuple[Any, ...], values: tuple[Any, ...]) -> Any:
        """``(type, value)`` of a jitted function's result."""
        known = self.typing.resolve_value_type(function)
        signature = self.typing.resolve_function_type(known, kinds, {})
        code = self.context.get_function(known, signature)
        return signature.return_type, code(self.b, values)

    def cast(self, kind: Any, value: Any, wanted: Any) -> Any:
        return value if kind == wanted else self.context.cast(self.b, value, kind, wanted)

    def check(self, base: Any, i: Any, dtype: np.dtype[Any], n: Any) -> None:
        """Under NUMBA_BOUNDSCHECK, see that the call may touch `n` elements from `i` on."""
        if bounds.CHECKED:
            size = _I64(dtype.itemsize)
            at = self.b.add(base, self.b.mul(i, size))
            checked.guard(self.context, self.b, at, self.b.mul(n, size))

    def place(self, base: Any, i: Any, dtype: np.dtype[Any]) -> Any:
        self.check(base, i, dtype, _I64(1))
        kind = self.context.get_data_type(kind_of(dtype))
        return self.b.gep(self.b.inttoptr(base, kind.as_pointer()), [i], inbounds=True)

    def load(self, base: Any, i: Any, dtype: np.dtype[Any]) -> Any:
        return self.b.load(self.place(base, i, dtype))

    def store(self, base: Any, i: Any, dtype: np.dtype[Any], value: Any) -> None:
        self.b.store(value, self.place(base, i, dtype))

    def parts(self, base: Any, cap: Any, o: Any) -> list[Any]:
        """Addresses of the parts of element `o` of a scratch buffer."""
        found, offset = [], 0
        for part in self.words.held:
            skip = self.b.mul(cap, _I64(offset))
            found.append(self.b.add(base, self.b.add(skip, self.b.mul(o, _I64(part.itemsize)))))
            offset += part.itemsize
        return found

    def take(self, parts: list[Any], i: Any) -> Any:
        """The accumulator at index `i` behind `parts`."""
        held = self.words.held
        values = [self.load(at, i, part) for at, part in zip(parts, held, strict=True)]
        return self.context.make_tuple(self.b, tuple_of(held), values)

    def put(self, parts: list[Any], i: Any, value: Any) -> None:
        for k, (at, part) in enumerate(zip(parts, self.words.held, strict=True)):
            self.store(at, i, part, self.b.extract_value(value, k))

    def held(self, kind: Any, value: Any) -> Any:
        """A tuple of any types as an accumulator."""
        return self.cast(kind, value, tuple_of(self.words.held))

    def combine(self, a: Any, b: Any) -> Any:
        kind = tuple_of(self.words.held)
        return self.held(*self.call(self.words.combine, (kind, kind), (a, b)))

    def tree(self, values: list[Any]) -> Any:
        """Accumulators to one, in pairs."""
        while len(values) > 1:
            pairs = [self.combine(*values[i : i + 2]) for i in range(0, len(values) - 1, 2)]
            values = pairs + values[len(values) - len(values) % 2 :]
        return values[0]

    def params(self, at: Any) -> tuple[Any, Any]:
        """Type and value of the tuple of run-time numbers at an address."""
        kind = types.UniTuple(types.float64, self.words.params)
        double = np.dtype(np.float64)
        values = [self.load(at, _I64(k), double) for k in range(self.words.params)]
        return kind, self.context.make_tuple(self.b, kind, values)

    def loop(
        self, n: Any, body: Callable[[Any], None], vector: bool = True, interleaved: int = 2
    ) -> None:
        """Run `body` for 0 <= i < n; no access may depend on another index's."""
        if not vector:
            self._run(
                _I64(0),
                n,
                body,
                ["llvm.loop.vectorize.width", 1],
                ["llvm.loop.interleave.count", 1],
            )
            return
        group = GROUP // min(part.itemsize for part in self.words.held)
        main = self.b.and_(n, _I64(-group))
        self._run(_I64(0), main, body, ["llvm.loop.interleave.count", interleaved])
        predicate = ["llvm.loop.vectorize.predicate.enable", HAS_MASKS]
        self._run(main, n, body, ["llvm.loop.interleave.count", 1], predicate)

    def _run(self, first: Any, last: Any, body: Callable[[Any], None], *hints: Any) -> None:
        b, module = self.b, self.b.module
        before = b.block
        # A block made now comes after all there are: those of the body will follow it.
        head = b.append_basic_block("loop")
        start = len(b.function.blocks) - 1
        with b.goto_block(head):
            i = b.phi(_I64, "i")
            i.add_incoming(first, before)
            body(i)
            # The inliner hands the group on to the accesses in the functions called.
            for block in b.function.blocks[start:]:
                for instruction in block.instructions:
                    if isinstance(instruction, (ir.CallInstr, ir.LoadInstr, ir.StoreInstr)):
                        instruction.set_metadata("llvm.access.group", self.group)
            following = b.add(i, _I64(1), flags=("nuw", "nsw"))
            i.add_incoming(following, b.block)
            end = b.append_basic_block("done")
            branch = b.cbranch(b.icmp_signed("<", following, last), head, end)
            said = [
                module.add_metadata(
                    [name, ir.Constant(ir.IntType(1 if type(v) is bool else 32), int(v))]
                )
                for name, v in hints
            ]
            independent = module.add_metadata(["llvm.loop.parallel_accesses", self.group])
            branch.set_metadata("llvm.loop", _distinct(module, independent, *said, itself=True))
        b.cbranch(b.icmp_signed("<", first, last), head, end)
        b.position_at_end(end)

    def table(self, at: Any, k: Any) -> Any:
        """The `k`-th of the driver's int64 at an address."""
        k = _I64(k) if isinstance(k, int) else k
        return self.b.load(self.b.gep(self.b.inttoptr(at, _I64.as_pointer()), [k]))

    def row(self, src: Any, offsets: Any, shift: Any, k: int) -> Any:
        """Address of the source's element `shift` behind the `k`-th of `offsets`."""
        size = _I64(self.words.source.itemsize)
        return self.b.add(src, self.b.mul(self.b.add(self.table(offsets, k), shift), size))

    def each(self, m: Any, body: Callable[[Any], None]) -> None:
        """Run `body`, which may hold loops, for 0 <= r < m."""
        with cgutils.for_range(self.b, m, intp=_I64) as loop:
            body(loop.index)

    def finisher(
        self, out: Any, positions: Any, to: Any, count: Any, params: Any
    ) -> Callable[[Any, Any], None]:
        """``finished(j, value)``: finish an accumulator and write it to the `j`-th place."""
        words, b, numbers = self.words, self.b, self.params(params)
        total = self.cast(types.int64, count, kind_of(words.counted))
        given = (tuple_of(words.held), kind_of(words.counted), numbers[0])
        targets = [
            b.add(base, b.mul(to, _I64(dtype.itemsize)))
            for base, dtype in zip((out, positions), words.results, strict=False)
        ]

        def finished(j: Any, value: Any) -> None:
            kind, results = self.call(words.finish, given, (value, total, numbers[1]))
            for k, (base, dtype) in enumerate(zip(targets, words.results, strict=True)):
                result = self.cast(kind[k], b.extract_value(results, k), kind_of(dtype))
                self.store(base, j, dtype, result)

        return finished

    def choose(self, taps: Any, emit: Callable[[int], None], most: int = 4) -> None:
        """Branch to `emit` for each number of taps up to `most`."""
        b = self.b
        end = b.append_basic_block("chosen")
        blocks = [b.append_basic_block(f"taps{k + 1}") for k in range(most)]
        switch = b.switch(taps, blocks[-1])
        for k, block in enumerate(blocks[:-1]):
            switch.add_case(_I64(k + 1), block)
        for k, block in enumerate(blocks):
            b.position_at_end(block)
            emit(k + 1)
            b.branch(end)
        b.position_at_end(end)


def word(words: Any, arguments: str, emit: Callable[..., None]) -> Any:
    """An intrinsic of the int64 (``fresh``: boolean) `arguments`; `words` may be None."""
    names = arguments.split()
    kinds = [types.boolean if name == "fresh" else types.int64 for name in names]

    def typed(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            given = {
                name: context.cast(builder, value, has, kind)
                for name, value, has, kind in zip(names, args, signature.args, kinds, strict=True)
            }
            emit(Emitter(words, context, builder), **given)
            return context.get_dummy_value()

        return types.none(*kinds), codegen

    space: dict[str, Any] = {"typed": typed}
    # intrinsic() reads the names of the arguments off the function it is given.
    exec(f"def word(typingctx, {', '.join(names)}):\n    return typed(typingctx)", space)
    return intrinsic(space["word"])


def fold_row(words: Words, from_source: bool) -> Any:
    """``d[i] = fold(s0[i], ..., s3[i])`` over one to four rows; not `fresh`, with `d[i]` too.

    Rows of the source are lifted, and with positions placed: `cols` holds what a column adds
    to `place`.
    """

    def emit(
        e: Emitter, dst: Any, cap: Any, at: Any, src: Any, o0: Any, o1: Any, o2: Any, o3: Any,
        cols: Any, p0: Any, p1: Any, p2: Any, p3: Any, params: Any, taps: Any, fresh: Any, n: Any,
    ) -> None:  # fmt: skip
        into = e.parts(dst, cap, at)
        size = _I64(words.source.itemsize)
        offsets = (o0, o1, o2, o3)
        if from_source:
            bases = [[e.b.add(src, e.b.mul(o, size))] for o in offsets]
        else:
            bases = [e.parts(src, cap, o) for o in offsets]
        numbers = e.params(params)
        places = (p0, p1, p2, p3)

        def element(k: int, i: Any) -> Any:
            if not from_source:
                return e.take(bases[k], i)
            value = e.load(bases[k][0], i, words.source)
            kind, lifted = e.call(
                words.lift, (kind_of(words.source), numbers[0]), (value, numbers[1])
            )
            if words.placed:
                column = e.load(cols, i, np.dtype(np.int64))
                place = e.b.add(places[k], column)
                kind = types.Tuple((kind[0], types.int64))
                lifted = e.context.make_tuple(e.b, kind, [e.b.extract_value(lifted, 0), place])
            return e.held(kind, lifted)

        def rows(count: int) -> None:
            def folded(i: Any) -> Any:
                return e.tree([element(k, i) for k in range(count)])

            with e.b.if_else(fresh) as (anew, more):
                with anew:
                    e.loop(n, lambda i: e.put(into, i, folded(i)))
                with more:
                    e.loop(n, lambda i: e.put(into, i, e.combine(e.take(into, i), folded(i))))

        e.choose(taps, rows)

    return word(words, "dst cap at src o0 o1 o2 o3 cols p0 p1 p2 p3 params taps fresh n", emit)


def fill_row(words: Words) -> Any:
    """``d[i] = identity``."""

    def emit(e: Emitter, dst: Any, cap: Any, at: Any, n: Any) -> None:
        into = e.parts(dst, cap, at)
        values = [
            e.context.get_constant(kind_of(part), value.item())
            for part, value in zip(words.held, words.identity, strict=True)
        ]

        def body(i: Any) -> None:
            for at, part, value in zip(into, words.held, values, strict=True):
                e.store(at, i, part, value)

        e.loop(n, body)

    return word(words, "dst cap at n", emit)


def finish_row(words: Words) -> Any:
    """``out[i * across] = finish(fold(a[i * step], ..., a[i * step + o3]))``."""

    def emit(
        e: Emitter, out: Any, positions: Any, to: Any, across: Any, src: Any, cap: Any, start: Any,
        step: Any, o1: Any, o2: Any, o3: Any, taps: Any, n: Any, count: Any, params: Any,
    ) -> None:  # fmt: skip
        write = e.finisher(out, positions, to, count, params)
        bases = [e.parts(src, cap, e.b.add(start, o)) for o in (_I64(0), o1, o2, o3)]

        def finished(i: Any, j: Any, taps: int) -> None:
            write(j, e.tree([e.take(bases[k], i) for k in range(taps)]))

        def rows(taps: int) -> None:
            together = e.b.and_(
                e.b.icmp_signed("==", across, _I64(1)), e.b.icmp_signed("==", step, _I64(1))
            )
            with e.b.if_else(together) as (unit, apart):
                with unit:
                    e.loop(n, lambda i: finished(i, i, taps))
                with apart:
                    e.loop(
                        n,
                        lambda i: finished(e.b.mul(i, step), e.b.mul(i, across), taps),
                        vector=False,
                    )

        e.choose(taps, rows)

    return word(
        words, "out positions to across src cap start step o1 o2 o3 taps n count params", emit
    )
