"""A kernel's PTX to LLVM IR: one function that runs one thread, every global access checked.

Registers are integers on the stack, which LLVM's own passes turn into values; floats are bits until
something computes with them.
"""

import re
from collections import Counter
from dataclasses import dataclass, field

from llvmlite import ir

from ptx.arithmetic import Arithmetic
from ptx.parse import WIDTH, Entry, Instruction, Unsupported

I1, I8, I32, I64 = (ir.IntType(n) for n in (1, 8, 32, 64))
POINTER = I8.as_pointer()
#: What the function of a thread is given: its arguments, its place (see SPECIAL), the counters.
THREAD = ir.FunctionType(I32, [POINTER, I32.as_pointer(), I64.as_pointer(), POINTER])
#: ``check(address, bytes, kind, line, counters)``: whether the access may happen.
CHECK = ir.FunctionType(I1, [I64, I32, I32, I32, I64.as_pointer()])
WAIT = ir.FunctionType(ir.VoidType(), [I32])
#: Where the place of a thread holds the special registers.
SPECIAL = {f"%{what}.{axis}": 3 * i + j for i, what in enumerate(("tid", "ntid", "ctaid", "nctaid"))
           for j, axis in enumerate("xyz")}  # fmt: skip
LOAD, STORE = 0, 1
#: Counters: instructions, bytes loaded, bytes stored, and loads by their bytes (1 to 16).
INSTRUCTIONS, LOADED, STORED, LOADS = 0, 1, 2, 3
COUNTERS = LOADS + 5
_NUMBER = re.compile(r"-?(0[xX][0-9a-fA-F]+|\d+)U?$")


def bits(kind: str) -> ir.Type:
    """The integer that holds a register of a PTX type."""
    return I1 if kind == "pred" else ir.IntType(8 * WIDTH[kind])


@dataclass
class Translation(Arithmetic):
    """The function being built; `arithmetic` has the instructions that only compute."""

    entry: Entry
    module: ir.Module
    blocks: dict[str, ir.Block] = field(default_factory=dict)
    slots: dict[str, ir.Value] = field(default_factory=dict)
    #: What registers hold, as far as it is known since the last label: it is not loaded again.
    held: dict[str, ir.Value] = field(default_factory=dict)
    #: What is to be added to the counters, at the end of the block.
    pending: Counter = field(default_factory=Counter)

    def function(self, name: str) -> ir.Function:
        """Build everything."""
        self.thread = ir.Function(self.module, THREAD, name)
        self.arguments, self.place, self.counters, self.shared = self.thread.args
        self.check = self.module.globals.get("check") or ir.Function(self.module, CHECK, "check")
        self.wait = self.module.globals.get("wait") or ir.Function(self.module, WAIT, "wait")
        self.builder = ir.IRBuilder(self.thread.append_basic_block("entry"))
        for register, kind in self.entry.registers.items():
            self.slots[register] = self.builder.alloca(bits(kind), name=register)
        self.faulted = self.thread.append_basic_block("faulted")
        ir.IRBuilder(self.faulted).ret(I32(1))
        body = self.entry.body
        for label in (item for item in body if isinstance(item, str)):
            self.blocks[label] = self.thread.append_basic_block(label)
        for item in body:
            if isinstance(item, str):
                self._count()
                if not self.builder.block.is_terminated:
                    self.builder.branch(self.blocks[item])
                self.builder.position_at_end(self.blocks[item])
                self.held = {}
                continue
            if self.builder.block.is_terminated:
                self.builder.position_at_end(self.thread.append_basic_block("dead"))
                self.held = {}
            self.pending[INSTRUCTIONS] += 1
            if item.op[0] in ("bra", "ret", "exit") or item.guard or item.op[0] == "trap":
                self._count()
            try:
                self._instruction(item)
            except (KeyError, IndexError, AttributeError) as error:
                raise Unsupported(f"line {item.line}: {'.'.join(item.op)} {item.args}") from error
        if not self.builder.block.is_terminated:
            self._count()
            self.builder.ret(I32(0))
        return self.thread

    def _count(self) -> None:
        if not self.builder.block.is_terminated:
            for counter, much in self.pending.items():
                at = self.builder.gep(self.counters, [I32(counter)])
                self.builder.store(self.builder.add(self.builder.load(at), I64(much)), at)
        self.pending.clear()

    # --- operands -----------------------------------------------------------------------------

    def value(self, text: str, kind: str) -> ir.Value:
        """An operand as the integer that holds `kind`."""
        into = bits(kind)
        if text.startswith("%") and text in SPECIAL:
            at = self.builder.gep(self.place, [I32(SPECIAL[text])])
            return self._fit(self.builder.load(at), into, False)
        if text in self.slots:
            if text not in self.held:
                self.held[text] = self.builder.load(self.slots[text])
            return self._fit(self.held[text], into, kind.startswith("s"))
        if text in self.entry.shared:
            base = self.builder.ptrtoint(self.shared, I64)
            return self._fit(self.builder.add(base, I64(self.entry.shared[text])), into, False)
        if re.fullmatch(r"0[fF][0-9a-fA-F]{8}|0[dD][0-9a-fA-F]{16}", text):
            return ir.Constant(into, int(text[2:], 16))
        if _NUMBER.match(text):
            number = int(text.rstrip("U"), 0)
            return ir.Constant(into, number & ((1 << into.width) - 1))
        if text in ("%p_true", "true"):
            return ir.Constant(into, 1)
        raise Unsupported(f"the operand {text!r}")

    def _fit(self, value: ir.Value, into: ir.Type, signed: bool) -> ir.Value:
        if value.type.width == into.width:
            return value
        if value.type.width > into.width:
            return self.builder.trunc(value, into)
        return (self.builder.sext if signed else self.builder.zext)(value, into)

    def put(self, register: str, value: ir.Value, signed: bool = False) -> None:
        """Write a register; ``_`` is nowhere."""
        if register != "_":
            slot = self.slots[register]
            held = self.held[register] = self._fit(value, slot.type.pointee, signed)
            self.builder.store(held, slot)

    def address(self, text: str) -> ir.Value:
        """``[register+offset]`` as an integer."""
        found = re.fullmatch(r"\[\s*([%$\w]+)\s*(?:\+\s*(-?\w+))?\s*\]", text)
        if not found:
            raise Unsupported(f"the address {text!r}")
        base = self.value(found[1], "b64")
        return self.builder.add(base, I64(int(found[2] or "0", 0)))

    # --- instructions -------------------------------------------------------------------------

    def _instruction(self, item: Instruction) -> None:
        name = item.op[0]
        if not item.guard:
            self._do(item, name)
            return
        test = self.value(item.guard, "pred")
        if item.negated:
            test = self.builder.not_(test)
        after = self.thread.append_basic_block("after")
        if name == "bra":
            self.builder.cbranch(test, self.blocks[item.args[0]], after)
        else:
            before, self.held = self.held, self.held.copy()
            then = self.thread.append_basic_block("then")
            self.builder.cbranch(test, then, after)
            self.builder.position_at_end(then)
            self._do(item, name)
            self._count()
            # What it has written, or was the first to read, is known only where it has run.
            self.held = {r: v for r, v in before.items() if self.held[r] is v}
            if not self.builder.block.is_terminated:
                self.builder.branch(after)
        self.builder.position_at_end(after)

    def _do(self, item: Instruction, name: str) -> None:
        if name == "bra":
            self.builder.branch(self.blocks[item.args[0]])
        elif name in ("ret", "exit"):
            self.builder.ret(I32(0))
        elif name == "trap":
            self.builder.ret(I32(2))
        elif name in ("bar", "barrier"):
            if item.op[1:2] not in (("sync",), ("cta",)) or len(item.args) > 1:
                raise Unsupported(f"line {item.line}: {'.'.join(item.op)}")
            self.builder.call(self.wait, [self.value(item.args[0], "b32") if item.args else I32(0)])
        elif name in ("ld", "ldu"):
            self._load(item)
        elif name == "st":
            self._store(item)
        elif name in ("membar", "fence"):
            return
        else:
            self.compute(item, name)

    def _memory(self, item: Instruction, text: str, store: bool) -> tuple[list[str], str, ir.Value]:
        kind = item.op[-1]
        space = next((s for s in item.op[1:] if s in ("param", "global", "shared", "local")), "")
        lanes = next((int(p[1:]) for p in item.op if p in ("v2", "v4", "v8")), 1)
        names = item.args[1 if store else 0].strip("{}").replace(" ", "").split(",")
        if len(names) != lanes:
            raise Unsupported(f"line {item.line}: {lanes} lanes and {len(names)} registers")
        if space == "param":
            found = re.fullmatch(r"\[\s*([\w$]+)\s*(?:\+\s*(\d+))?\s*\]", text)
            at = self.entry.parameters[found[1]].offset + int(found[2] or 0)
            return (
                names,
                kind,
                self.builder.ptrtoint(self.builder.gep(self.arguments, [I32(at)]), I64),
            )
        if space not in ("global", "shared"):
            raise Unsupported(f"line {item.line}: {'.'.join(item.op)}")
        address, size = self.address(text), lanes * WIDTH[kind]
        allowed = self.builder.call(
            self.check, [address, I32(size), I32(STORE if store else LOAD), I32(item.line),
                         self.counters])  # fmt: skip
        onward = self.thread.append_basic_block("allowed")
        self.builder.cbranch(allowed, onward, self.faulted)
        self.builder.position_at_end(onward)
        if space == "global":
            self.pending[STORED if store else LOADED] += size
            if not store:
                self.pending[LOADS + size.bit_length() - 1] += 1
        return names, kind, address

    def _load(self, item: Instruction) -> None:
        names, kind, address = self._memory(item, item.args[1], False)
        for i, name in enumerate(names):
            at = self.builder.add(address, I64(i * WIDTH[kind]))
            loaded = self.builder.load(self.builder.inttoptr(at, bits(kind).as_pointer()), align=1)
            self.put(name, loaded, kind.startswith("s"))

    def _store(self, item: Instruction) -> None:
        names, kind, address = self._memory(item, item.args[0], True)
        for i, name in enumerate(names):
            at = self.builder.add(address, I64(i * WIDTH[kind]))
            into = self.builder.inttoptr(at, bits(kind).as_pointer())
            self.builder.store(self.value(name, kind), into, align=1)


def translate(entry: Entry) -> ir.Module:
    """A module whose function ``thread`` runs one thread of the kernel."""
    module = ir.Module("ptx")
    Translation(entry, module).function("thread")
    return module
