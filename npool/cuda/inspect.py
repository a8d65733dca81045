"""What ptxas made of a kernel: registers, spills, loads, and the instructions of its loops.

Needs no GPU: PTX becomes a cubin by nvJitLink, and cuobjdump prints what is in it.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = ["Loop", "Sass", "cubin", "examine", "read_sass"]


def cubin(ptx: str, cc: tuple[int, int]) -> bytes:
    """Machine code for an architecture, by nvJitLink."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    module = ObjectCode.from_ptx(ptx.encode())
    options = LinkerOptions(arch=f"sm_{cc[0]}{cc[1]}", optimization_level=3)
    return bytes(Linker(module, options=options).link("cubin").code)


@lru_cache(maxsize=1)
def _cuobjdump() -> str | None:
    """Where cuobjdump is: in a wheel of NVIDIA's, or on the path."""
    spec = importlib.util.find_spec("nvidia")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        for found in sorted(Path(root).glob("**/bin/cuobjdump")):
            return str(found)
    return shutil.which("cuobjdump")


@dataclass(frozen=True)
class Loop:
    """An innermost loop of a kernel.

    Attributes
    ----------
    instructions : int
        From its head to the branch back.
    loads, stores : dict
        How many accesses of global memory there are, by their bytes.
    body : tuple of str
        The instructions' names.
    """

    instructions: int
    loads: dict[int, int]
    stores: dict[int, int]
    body: tuple[str, ...]

    @property
    def stored(self) -> int:
        """Bytes written each time round."""
        return sum(size * count for size, count in self.stores.items())


@dataclass(frozen=True)
class Sass:
    """A kernel as the hardware is given it.

    Attributes
    ----------
    registers : int
    stack, spilled : int
        Bytes of the stack; instructions that move registers to and from local memory.
    instructions : tuple of str
        Names, with their modifiers, in order.
    loops : tuple of Loop
        Innermost ones, in order.
    """

    registers: int
    stack: int
    spilled: int
    instructions: tuple[str, ...]
    loops: tuple[Loop, ...]

    def count(self, *prefixes: str) -> int:
        """How many instructions have one of these names (a prefix of the name)."""
        return sum(name.startswith(prefixes) for name in self.instructions)

    @property
    def double(self) -> int:
        """Instructions of float64 arithmetic, conversions among them."""
        return sum(
            bool(re.match(r"D(ADD|MUL|FMA|SETP|MNMX)\b|MUFU\.\w*64|F2F\.F64|F2F\.\w+\.F64|I2F\.F64|"
                          r"F2I\.\w*\.?F64", name))
            for name in self.instructions
        )  # fmt: skip

    @property
    def interior(self) -> Loop | None:
        """The loop that writes most cheaply: that of windows wholly inside the input."""
        writing = [loop for loop in self.loops if loop.stored]
        return min(writing, key=lambda loop: loop.instructions / loop.stored, default=None)


def examine(ptx: str, cc: tuple[int, int]) -> Sass:
    """Assemble PTX and look at what came out.

    Raises
    ------
    FileNotFoundError
        Where cuobjdump is not installed.
    """
    tool = _cuobjdump()
    if tool is None:
        raise FileNotFoundError(
            "cuobjdump is not installed: pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm"
        )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin(ptx, cc))
        file.flush()
        texts = []
        for option in ("-sass", "-res-usage"):
            done = subprocess.run([tool, option, file.name], capture_output=True, text=True,
                                  check=True, timeout=120)  # fmt: skip
            texts.append(done.stdout + done.stderr)
    return read_sass(*texts)


_LINE = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(.+?)\s*;")
_BYTES = {"U8": 1, "S8": 1, "U16": 2, "S16": 2, "64": 8, "128": 16}


def read_sass(listing: str, usage: str) -> Sass:
    """What cuobjdump's listing of instructions and of resources say."""
    code = []
    for line in listing.splitlines():
        found = _LINE.search(line)
        if found:
            text = re.sub(r"^@!?U?P\w+\s+", "", found[2])
            name, _, rest = text.partition(" ")
            code.append((int(found[1], 16), name, rest, text != found[2]))
    while code and code[-1][1] in ("NOP", "BRA"):  # padding, and the trap at the end
        code.pop()
    registers = max(map(int, re.findall(r"REG:(\d+)", usage)), default=0)
    stack = max(map(int, re.findall(r"STACK:(\d+)", usage)), default=0)
    names = tuple(name for _, name, _, _ in code)
    return Sass(
        registers,
        stack,
        sum(name.startswith(("LDL", "STL")) for name in names),
        names,
        _loops(code),
    )


def _loops(code: list[tuple[int, str, str, bool]]) -> tuple[Loop, ...]:
    spans = []
    for at, name, rest, _ in code:
        target = re.search(r"0x([0-9a-f]+)", rest)
        if name.startswith("BRA") and target and int(target[1], 16) < at:
            spans.append((int(target[1], 16), at))
    heads: dict[int, int] = {}
    for first, last in spans:
        heads[first] = max(last, heads.get(first, 0))
    innermost = [
        (first, last)
        for first, last in heads.items()
        if not any((a, b) != (first, last) and first <= a and b <= last for a, b in heads.items())
    ]
    loops = []
    for first, last in sorted(innermost):
        # ptxas leaves some loops by a call that never returns to just behind them: a branch.
        leave = f"0x{last + 16:x}"
        body = [
            ("BRA" if name == "CALL.REL.NOINC" and leave in rest else name, rest)
            for at, name, rest, _ in code
            if first <= at <= last
        ]
        loads: dict[int, int] = {}
        stores: dict[int, int] = {}
        for name, _ in body:
            for prefix, counts in (("LDG", loads), ("STG", stores)):
                if name.startswith(prefix):
                    size = next((_BYTES[p] for p in name.split(".") if p in _BYTES), 4)
                    counts[size] = counts.get(size, 0) + 1
        names = tuple(name for name, _ in body)
        loops.append(Loop(len(body), loads, stores, names))
    return tuple(loops)
