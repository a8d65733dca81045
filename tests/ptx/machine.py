"""Kernels made of PTX text, and the grids that they are run on."""

import ctypes
import threading
from dataclasses import dataclass, field

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from ptx.parse import WIDTH, Entry, Unsupported, parse
from ptx.translate import COUNTERS, I1, I32, I64, LOADS, POINTER, STORE, translate

READ, WRITE = 1, 2
#: The most allocations that a run may have, its shared memory among them.
MOST = 16
#: Words of the table's head, and of each allocation: start, stop, rights, counts of writes.
HEAD, ROW = 1, 4
_FAULT_WORDS = 5


class Fault(Exception):
    """An access that a GPU would not allow, or that nobody may rely on."""


@dataclass(frozen=True)
class Report:
    """What a grid did.

    Attributes
    ----------
    threads, instructions : int
        How many ran, and how many instructions they executed (a guarded one counts always).
    loaded, stored : int
        Bytes of global memory.
    loads : dict
        How many loads there were of 1, 2, 4, 8 and 16 bytes.
    """

    threads: int
    instructions: int
    loaded: int
    stored: int
    loads: dict[int, int]


@dataclass(frozen=True)
class Grid:
    """Blocks, and threads of a block, along x, y and z."""

    blocks: tuple[int, int, int]
    threads: tuple[int, int, int]


@dataclass
class _Memory:
    """What one run may touch, as the table that `check` reads."""

    table: np.ndarray = field(
        default_factory=lambda: np.zeros(HEAD + ROW * MOST, np.int64))  # fmt: skip
    kept: list = field(default_factory=list)

    def allow(self, start: int, stop: int, rights: int, writes: np.ndarray | None = None) -> None:
        row = HEAD + ROW * int(self.table[0])
        self.table[row : row + ROW] = (
            start,
            stop,
            rights,
            0 if writes is None else writes.ctypes.data,
        )
        self.table[0] += 1
        self.kept.append(writes)


def _check(module: ir.Module) -> None:
    """``check``: inside an allocation, with the right to it, and aligned to its size."""
    function = module.globals["check"]
    table = ir.GlobalVariable(module, I64.as_pointer(), "table")
    table.initializer = ir.Constant(I64.as_pointer(), None)
    fault = ir.GlobalVariable(module, ir.ArrayType(I64, _FAULT_WORDS), "fault")
    fault.initializer = ir.Constant(fault.type.pointee, [0] * _FAULT_WORDS)
    address, size, kind, line, _ = function.args
    blocks = [function.append_basic_block(n) for n in ("entry", "aligned", "loop", "row", "found",
                                                       "count", "next", "bad")]  # fmt: skip
    entry, aligned, loop, row, found, count, after, bad = blocks
    b = ir.IRBuilder(entry)
    rows = b.load(table)
    wide = b.zext(size, I64)
    stop = b.add(address, wide)
    right = b.zext(b.add(kind, I32(1)), I64)
    rest = b.and_(address, b.sub(wide, I64(1)))
    b.cbranch(b.icmp_unsigned("==", rest, I64(0)), aligned, bad)
    b.position_at_end(aligned)
    many = b.load(rows)
    b.branch(loop)
    b.position_at_end(loop)
    i = b.phi(I64)
    i.add_incoming(I64(0), aligned)
    b.cbranch(b.icmp_signed("<", i, many), row, bad)
    b.position_at_end(row)
    base = b.gep(rows, [b.add(b.mul(i, I64(ROW)), I64(HEAD))])
    first, last, rights, writes = (b.load(b.gep(base, [I64(k)])) for k in range(ROW))
    inside = b.and_(b.icmp_signed(">=", address, first), b.icmp_signed("<=", stop, last))
    inside = b.and_(inside, b.icmp_unsigned("!=", b.and_(rights, right), I64(0)))
    b.cbranch(inside, found, after)
    b.position_at_end(after)
    i.add_incoming(b.add(i, I64(1)), after)
    b.branch(loop)
    b.position_at_end(found)
    counts = b.and_(b.icmp_unsigned("==", kind, I32(STORE)), b.icmp_unsigned("!=", writes, I64(0)))
    b.cbranch(counts, count, (done := function.append_basic_block("done")))
    b.position_at_end(count)
    k = b.phi(I64)
    k.add_incoming(I64(0), found)
    cell = b.inttoptr(b.add(b.add(writes, b.sub(address, first)), k), POINTER)
    b.store(b.add(b.load(cell), ir.IntType(8)(1)), cell)
    following = b.add(k, I64(1))
    k.add_incoming(following, count)
    b.cbranch(b.icmp_unsigned("<", following, wide), count, done)
    b.position_at_end(done)
    b.ret(I1(1))
    b.position_at_end(bad)
    for word, value in enumerate((I64(1), b.zext(line, I64), address, wide, right)):
        b.store(value, b.gep(fault, [I32(0), I32(word)]))
    b.ret(I1(0))


def _run(module: ir.Module) -> None:
    """``run``: every thread of a grid, one after another."""
    thread = module.globals["thread"]
    kind = ir.FunctionType(I32, [POINTER, I32.as_pointer(), I64.as_pointer(), POINTER])
    function = ir.Function(module, kind, "run")
    arguments, dims, counters, shared = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    place = b.alloca(I32, 12)
    for axis in range(6):  # ntid and nctaid
        to = axis + 3 if axis < 3 else axis + 6
        b.store(b.load(b.gep(dims, [I32(axis)])), b.gep(place, [I32(to)]))
    # From the outermost in: ctaid z, y, x, then tid z, y, x.
    order = [(8, 11), (7, 10), (6, 9), (2, 5), (1, 4), (0, 3)]
    heads = []
    for index, limit in order:
        before = b.block
        head = function.append_basic_block("loop")
        b.branch(head)
        b.position_at_end(head)
        i = b.phi(I32)
        i.add_incoming(I32(0), before)
        b.store(i, b.gep(place, [I32(index)]))
        heads.append((i, head, limit))
    failed = b.call(thread, [arguments, place, counters, shared])
    bad = function.append_basic_block("bad")
    onward = function.append_basic_block("next")
    b.cbranch(b.icmp_unsigned("!=", failed, I32(0)), bad, onward)
    ir.IRBuilder(bad).ret(failed)
    b.position_at_end(onward)
    for i, head, limit in reversed(heads):
        following = b.add(i, I32(1))
        i.add_incoming(following, b.block)
        outer = function.append_basic_block("outer")
        most = b.load(b.gep(place, [I32(limit)]))
        b.cbranch(b.icmp_unsigned("<", following, most), head, outer)
        b.position_at_end(outer)
    b.ret(I32(0))


_WAIT = ctypes.CFUNCTYPE(None, ctypes.c_int32)
_turn = threading.local()


def _waited(_number: int) -> None:
    _turn.block.wait(_turn.index)


_callback = _WAIT(_waited)
_ready = False


def _prepare() -> None:
    global _ready
    if not _ready:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        llvm.add_symbol("wait", ctypes.cast(_callback, ctypes.c_void_p).value)
        _ready = True


class Kernel:
    """A kernel that runs: translated once, then called as often as one likes.

    Parameters
    ----------
    text : str
        PTX with one entry.
    optimise : bool
        Whether LLVM may take its time, which pays for large grids alone.
    """

    def __init__(self, text: str, optimise: bool = False) -> None:
        _prepare()
        self.entry: Entry = parse(text)
        module = translate(self.entry)
        _check(module)
        _run(module)
        target = llvm.Target.from_default_triple()
        machine = target.create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(),
            opt=2 if optimise else 0,
        )  # fmt: skip
        module.triple = machine.triple
        parsed = llvm.parse_assembly(str(module))
        parsed.verify()
        builder = llvm.create_pass_builder(
            machine, llvm.create_pipeline_tuning_options(speed_level=2 if optimise else 0)
        )
        builder.getModulePassManager().run(parsed, builder)
        self._engine = llvm.create_mcjit_compiler(parsed, machine)
        self._engine.finalize_object()
        kind = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4)
        self._run = kind(self._engine.get_function_address("run"))
        self._thread = kind(self._engine.get_function_address("thread"))
        self._table = ctypes.c_void_p.from_address(self._engine.get_global_value_address("table"))
        self._fault = (ctypes.c_int64 * _FAULT_WORDS).from_address(
            self._engine.get_global_value_address("fault"))  # fmt: skip
        self.lines = text.splitlines()

    def __call__(
        self,
        grid: Grid,
        arguments: list,
        reads: list[np.ndarray] = (),
        writes: list[np.ndarray] = (),
        once: bool = True,
        order: int = 1,
    ) -> Report:
        """Run a grid.

        Parameters
        ----------
        grid : Grid
        arguments : list
            Integers (an address, a number) and floats, one for each parameter of the entry.
        reads, writes : list of numpy.ndarray
            What the kernel may read, and what it may write (an array in both: either).
        once : bool
            Whether every byte of `writes` must be written exactly once.
        order : {1, -1}
            In which order the threads of a block take their turns, where they wait for one
            another: a missing barrier shows in one of the two.

        Raises
        ------
        Fault
            For an access outside, without the right to it, or not aligned to its size; for a
            barrier that part of a block does not reach; with `once`, for a byte that is written
            twice or not at all.
        """
        memory = _Memory()
        counts = []
        for array in writes:
            low, high = np.lib.array_utils.byte_bounds(array)
            both = any(array is other for other in reads)
            shadow = np.zeros(high - low, np.uint8)
            counts.append((array, shadow, low))
            memory.allow(low, high, WRITE | (READ if both else 0), shadow)
        for array in reads:
            if not any(array is other for other in writes):
                memory.allow(*np.lib.array_utils.byte_bounds(array), READ)
        shared = np.full(self.entry.shared_bytes + 16, 0xCD, np.uint8)
        base = -(-shared.ctypes.data // 16) * 16
        memory.allow(base, base + self.entry.shared_bytes, READ | WRITE)
        block = self._arguments(arguments)
        counters = np.zeros(COUNTERS, np.int64)
        self._table.value = memory.table.ctypes.data
        self._fault[0] = 0
        given = (block.ctypes.data, counters.ctypes.data, base)
        if self.entry.has_barrier:
            failed = self._in_turns(grid, given, shared, order)
        else:
            dims = np.array([*grid.threads, *grid.blocks], np.int32)
            failed = self._run(given[0], dims.ctypes.data, given[1], given[2])
        if failed == 1:
            _, line, address, size, right = self._fault
            raise Fault(
                f"{self.entry.name}, line {line}: {'load' if right == READ else 'store'} of {size} "
                f"bytes at {address:#x}, {_where(memory, address, size)}: "
                f"{self.lines[line - 1].strip()}"
            )
        if failed:
            raise Fault(f"{self.entry.name} stopped itself (trap)")
        if once:
            for array, shadow, low in counts:
                _written_once(array, shadow, low)
        threads = int(np.prod(grid.blocks)) * int(np.prod(grid.threads))
        loads = {1 << k: int(counters[LOADS + k]) for k in range(5)}
        return Report(threads, *(int(c) for c in counters[:LOADS]), loads)

    def _arguments(self, values: list) -> np.ndarray:
        entry = self.entry
        if len(values) != len(entry.parameters):
            raise ValueError(f"{len(values)} arguments for {len(entry.parameters)} parameters")
        block = np.zeros(max(8, entry.argument_bytes), np.uint8)
        for parameter, value in zip(entry.parameters.values(), values, strict=True):
            size = WIDTH[parameter.type]
            if isinstance(value, float):
                raw = np.array(value, f"f{size}").tobytes()
            else:
                raw = (int(value) & ((1 << 8 * size) - 1)).to_bytes(size, "little")
            block[parameter.offset : parameter.offset + size] = np.frombuffer(raw, np.uint8)
        return block

    def _in_turns(self, grid: Grid, given: tuple, shared: np.ndarray, order: int) -> int:
        for at in np.ndindex(*grid.blocks[::-1]):
            shared[:] = 0xCD
            failed = _Block(self, grid, at[::-1], given).run(order)
            if failed:
                return failed
        return 0


class _Block:
    """The threads of a block, one running at a time, each until it waits or ends."""

    def __init__(self, kernel: Kernel, grid: Grid, at: tuple, given: tuple) -> None:
        self.kernel, self.grid, self.at, self.given = kernel, grid, at, given
        self.count = int(np.prod(grid.threads))
        self.may_run = [threading.Semaphore(0) for _ in range(self.count)]
        self.stopped = threading.Semaphore(0)
        self.state = ["ready"] * self.count
        self.failed = 0

    def wait(self, index: int) -> None:
        """A thread has come to a barrier."""
        self.state[index] = "waits"
        self.stopped.release()
        self.may_run[index].acquire()

    def _one(self, index: int, tid: tuple) -> None:
        _turn.block, _turn.index = self, index
        self.may_run[index].acquire()
        if not self.failed:
            place = np.array(
                [*tid, *self.grid.threads, *self.at, *self.grid.blocks], np.int32)  # fmt: skip
            arguments, counters, shared = self.given
            self.failed |= self.kernel._thread(arguments, place.ctypes.data, counters, shared)
        self.state[index] = "ended"
        self.stopped.release()

    def run(self, order: int) -> int:
        """All of them, from barrier to barrier."""
        places = [at[::-1] for at in np.ndindex(*self.grid.threads[::-1])]
        threads = [
            threading.Thread(target=self._one, args=(i, tid), daemon=True)
            for i, tid in enumerate(places)
        ]
        for thread in threads:
            thread.start()
        uneven = ""
        while any(state != "ended" for state in self.state):
            for i in range(self.count)[::order]:
                if self.state[i] != "ended":
                    self.may_run[i].release()
                    self.stopped.acquire()
            waiting = self.state.count("waits")
            if 0 < waiting < self.count and not uneven:
                uneven = f"{waiting} of {self.count} threads of a block wait at a barrier for ever"
        for thread in threads:
            thread.join()
        if uneven and not self.failed:
            raise Fault(f"{self.kernel.entry.name}: {uneven}")
        return self.failed


def _where(memory: _Memory, address: int, size: int) -> str:
    if address % size:
        return f"which is not aligned to {size}"
    rows = memory.table[HEAD:].reshape(-1, ROW)[: int(memory.table[0])]
    for i, (start, stop, _, _) in enumerate(rows):
        if start <= address and address + size <= stop:
            return f"without the right to it in allocation {i}"
    near = min(range(len(rows)), key=lambda i: min(abs(address - rows[i][0]),
                                                  abs(address - rows[i][1])))  # fmt: skip
    start, stop = rows[near][:2]
    return f"{address - start} bytes into allocation {near} of {stop - start}"


def _written_once(array: np.ndarray, shadow: np.ndarray, low: int) -> None:
    itemsize = array.itemsize
    first = array.__array_interface__["data"][0] - low
    counts = np.lib.stride_tricks.as_strided(
        shadow[first:], (*array.shape, itemsize), (*array.strides, 1))  # fmt: skip
    if array.size and (counts.min() != 1 or counts.max() != 1):
        never, often = int((counts == 0).sum()), int((counts > 1).sum())
        raise Fault(f"{never} bytes of a result are never written, {often} more than once")
    if int(shadow.sum()) != counts.size:
        raise Fault("bytes between the elements of a result are written")


__all__ = ["Fault", "Grid", "Kernel", "Report", "Unsupported"]
