"""PTX text to a kernel's parameters, registers, shared arrays and instructions."""

import re
from dataclasses import dataclass, field

#: Bytes of a type's element.
WIDTH = {"pred": 0, "b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "f16": 2, "bf16": 2,
         "b32": 4, "u32": 4, "s32": 4, "f32": 4, "f16x2": 4, "bf16x2": 4, "b64": 8, "u64": 8,
         "s64": 8, "f64": 8}  # fmt: skip


class Unsupported(Exception):
    """The text holds something that the executor does not know."""


@dataclass(frozen=True)
class Parameter:
    """One argument of the entry: where it lies in the block of arguments."""

    name: str
    type: str
    offset: int


@dataclass(frozen=True)
class Instruction:
    """``@guard op args``: `op` split at its dots, `args` as text."""

    line: int
    op: tuple[str, ...]
    args: tuple[str, ...]
    guard: str = ""
    negated: bool = False


@dataclass
class Entry:
    """A kernel as text gives it."""

    name: str
    target: str
    parameters: dict[str, Parameter] = field(default_factory=dict)
    registers: dict[str, str] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)
    shared_bytes: int = 0
    argument_bytes: int = 0
    #: Labels (strings) and instructions, in order.
    body: list[str | Instruction] = field(default_factory=list)

    @property
    def has_barrier(self) -> bool:
        """Whether threads wait for one another."""
        return any(isinstance(i, Instruction) and i.op[0] in ("bar", "barrier") for i in self.body)


_PARAM = re.compile(r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+(?:\.ptr\s+(?:\.(?!align)\w+\s+)?"
                    r"(?:\.align\s+\d+\s+)?)?([\w$]+)(\[\d+\])?")  # fmt: skip
_REG = re.compile(r"\.reg\s+\.(\w+)\s+(.+)")
_SHARED = re.compile(r"\.shared\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d+)\])?")


def parse(text: str) -> Entry:
    """The one entry of a PTX module.

    Raises
    ------
    Unsupported
        For local memory, functions, or more than one entry.
    """
    target = re.search(r"\.target\s+(\w+)", text)
    heads = list(re.finditer(r"\.entry\s+([\w$]+)\s*\((.*?)\)", text, re.S))
    if len(heads) != 1 or target is None:
        raise Unsupported(f"{len(heads)} entries: one is expected")
    if re.search(r"^\s*(?:\.visible\s+|\.weak\s+)?\.func", text, re.M):
        raise Unsupported("a function of its own (.func)")
    head = heads[0]
    entry = Entry(head[1], target[1])
    for kind, name, array in _PARAM.findall(head[2]):
        if array:
            raise Unsupported(f"the parameter {name} is an array")
        size = WIDTH[kind]
        at = -(-entry.argument_bytes // size) * size
        entry.parameters[name] = Parameter(name, kind, at)
        entry.argument_bytes = at + size
    for found in _SHARED.finditer(text):
        align, kind, name, count = found.groups()
        size = WIDTH[kind]
        at = -(-entry.shared_bytes // int(align or size)) * int(align or size)
        entry.shared[name] = at
        entry.shared_bytes = at + size * int(count or 1)
    first = text.index("{", head.end())
    line = text.count("\n", 0, first) + 1
    for raw in text[first + 1 : text.rindex("}")].split("\n"):
        _line(entry, raw.split("//")[0].strip(), line)
        line += 1
    return entry


def _line(entry: Entry, text: str, line: int) -> None:
    while text:
        label = re.match(r"([$\w]+):(?!:)\s*", text)
        if label:
            entry.body.append(label[1])
            text = text[label.end() :]
            continue
        if text[0] in "{}" and not text.startswith("{%"):
            text = text[1:].strip()  # a scope of names: NVVM's are unique
            continue
        statement, _, text = text.partition(";")
        _statement(entry, statement.strip(), line)
        text = text.strip()


def _statement(entry: Entry, text: str, line: int) -> None:
    if not text or text.startswith((".shared", ".pragma", ".loc", ".file")):
        return
    register = _REG.match(text)
    if register:
        for name in register[2].split(","):
            many = re.fullmatch(r"(%?[\w$]+)<(\d+)>", name.strip())
            names = [f"{many[1]}{i}" for i in range(int(many[2]))] if many else [name.strip()]
            entry.registers.update(dict.fromkeys(names, register[1]))
        return
    if text.startswith("."):
        raise Unsupported(f"line {line}: {text}")
    guard = re.match(r"@(!?)(%[\w$]+)\s+", text)
    if guard:
        text = text[guard.end() :]
    op, _, rest = text.partition(" ") if " " in text else (*text.partition("\t"),)
    op, rest = (op + " " + rest).split(None, 1) if rest else (op, "")
    entry.body.append(
        Instruction(
            line,
            tuple(op.strip().split(".")),
            tuple(arguments(rest)),
            guard[2] if guard else "",
            bool(guard and guard[1]),
        )
    )


def arguments(text: str) -> list[str]:
    """Operands, split at the commas outside braces and brackets.

    >>> arguments("{%r1, %r2}, [%rd1+4]")
    ['{%r1, %r2}', '[%rd1+4]']
    """
    parts, depth, current = [], 0, ""
    for letter in text.strip():
        depth += (letter in "{[(") - (letter in "}])")
        if letter == "," and not depth:
            parts.append(current.strip())
            current = ""
        else:
            current += letter
    return [*parts, current.strip()] if current.strip() else parts
