"""The same words as `npool.cpu.instructions`, for NUMBA_DISABLE_JIT=1: nothing is compiled.

The loops and the driver then run as plain Python, which is slow but shows a debugger, and a
coverage tool, every line. Addresses stay addresses; a 'compiled loop' is a number in a table.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool import scalars
from npool.cpu.parts import Words

__all__ = [
    "DECODERS",
    "ENCODERS",
    "VOCABULARY",
    "WIDE",
    "caller",
    "caster",
    "fence",
    "fill_row",
    "finish_each",
    "finish_row",
    "fold_row",
    "gather_row",
    "get",
    "interleave_row",
    "jit",
    "masked_row",
    "pick_row",
    "prefetch",
    "put",
    "register",
    "repeat_row",
    "select",
    "split_row",
    "stream",
    "table",
    "view",
    "whole_row",
    "wide_sum",
]

select = scalars.select
WIDE: dict[Any, Any] = {scalars.maximum: None, scalars.minimum: None}
wide_sum = None
#: The meaning of each word is the word itself.
VOCABULARY: dict[Any, Any] = {}
_loops: list[Callable[..., Any]] = []


def jit(function: Callable[..., Any], entry: bool = False) -> Callable[..., Any]:
    """The function itself."""
    return function


class _Memory:
    """Elements at an address; integers are Python's when read, and wrap when written."""

    def __init__(self, at: int, n: int, dtype: np.dtype[Any]) -> None:
        dtype = np.dtype(dtype)
        self.dtype, self.n = dtype, n
        raw = (ctypes.c_uint8 * (n * dtype.itemsize)).from_address(int(at))
        self.array: NDArray[Any] = np.ctypeslib.as_array(raw).view(dtype)

    def __getitem__(self, i: int) -> Any:
        if not 0 <= i < self.n:
            raise IndexError(f"element {i} of {self.n}")
        value = self.array[i]
        return value if self.dtype.kind == "f" else value.item()

    def __setitem__(self, i: int, value: Any) -> None:
        if not 0 <= i < self.n:
            raise IndexError(f"element {i} of {self.n}")
        if self.dtype.kind in "iu":
            bits = int(value) & ((1 << 8 * self.dtype.itemsize) - 1)
            value = np.array(bits, f"u{self.dtype.itemsize}").view(self.dtype)
        self.array[i] = value


def caster(dtype: np.dtype[Any]) -> Callable[[Any], Any]:
    """What makes a scalar one of `dtype`; integers stay Python's, but wrap."""
    if dtype.kind not in "iu":
        return dtype.type
    bits, low = 8 * dtype.itemsize, int(np.iinfo(dtype).min)
    return lambda value: (int(value) - low) % (1 << bits) + low


def view(at: int, n: int, dtype: np.dtype[Any]) -> _Memory:
    """The `n` elements of `dtype` at the address `at`."""
    return _Memory(at, n, dtype)


_WORD = np.dtype(np.int64)


def get(at: int, k: int) -> int:
    """The int64 at place `k` behind an address."""
    return int(_Memory(at + 8 * k, 1, _WORD)[0])


def put(at: int, k: int, value: int) -> None:
    """Write an int64 to place `k` behind an address."""
    _Memory(at + 8 * k, 1, _WORD)[0] = value


def prefetch(at: int, n: int) -> None:
    """Nothing: it is only for speed."""


def stream(dst: int, src: int, n: int) -> None:
    """Copy `n` bytes."""
    ctypes.memmove(dst, src, n)


def fence() -> None:
    """Nothing: one thread runs at a time."""


def table(width: int) -> tuple[Callable[..., int], Callable[..., None]]:
    """``read(at, i, k)`` and ``write(at, i, k, value)`` of int64 tables of `width` columns."""
    return (
        lambda at, i, k: get(at, i * width + k),
        lambda at, i, k, value: put(at, i * width + k, value),
    )


def register(function: Callable[..., Any]) -> int:
    """A number by which a caller finds `function`."""
    _loops.append(function)
    return len(_loops) - 1


def caller(arguments: tuple[str, ...]) -> Callable[..., None]:
    """A function that calls a registered loop with `arguments`."""

    def call(loop: int, *given: Any) -> None:
        # Numba's arithmetic is silent; so is this.
        with np.errstate(all="ignore"):
            _loops[loop](*(bool(g) if a == "fresh" else int(g) for a, g in zip(
                arguments, given, strict=True)))  # fmt: skip

    return call


class _Scratch:
    """Accumulators from element `o` of a buffer on, as tuples."""

    def __init__(self, words: Words, base: int, cap: int, o: int) -> None:
        self.parts, offset = [], 0
        for part in words.held:
            at = base + cap * offset + o * part.itemsize
            self.parts.append(lambda i, at=at, part=part: _Memory(at + i * part.itemsize, 1, part))
            offset += part.itemsize

    def __getitem__(self, i: int) -> tuple[Any, ...]:
        return tuple(part(i)[0] for part in self.parts)

    def __setitem__(self, i: int, values: tuple[Any, ...]) -> None:
        for part, value in zip(self.parts, values, strict=True):
            part(i)[0] = value


def _params(words: Words, at: int) -> tuple[Any, ...]:
    memory = _Memory(at, words.params, np.dtype(np.float64))
    return tuple(memory[k] for k in range(words.params))


def _tree(words: Words, values: list[Any]) -> Any:
    while len(values) > 1:
        pairs = [words.combine(*values[i : i + 2]) for i in range(0, len(values) - 1, 2)]
        values = pairs + values[len(values) - len(values) % 2 :]
    return values[0]


def fold_row(words: Words, from_source: bool) -> Callable[..., None]:
    """As `npool.cpu.emit.fold_row`."""

    def fold(
        dst: int, cap: int, at: int, src: int, o0: int, o1: int, o2: int, o3: int, cols: int,
        p0: int, p1: int, p2: int, p3: int, params: int, taps: int, fresh: bool, n: int,
    ) -> None:  # fmt: skip
        into, numbers = _Scratch(words, dst, cap, at), _params(words, params)
        offsets, places = (o0, o1, o2, o3)[:taps], (p0, p1, p2, p3)
        size = words.source.itemsize
        column = _Memory(cols, n if words.placed else 0, np.dtype(np.int64))

        def element(k: int, i: int) -> Any:
            if not from_source:
                return _Scratch(words, src, cap, offsets[k])[i]
            value = _Memory(src + (offsets[k] + i) * size, 1, words.source)[0]
            lifted = words.lift(value, numbers)
            return (*lifted, places[k] + column[i]) if words.placed else lifted

        for i in range(n):
            value = _tree(words, [element(k, i) for k in range(taps)])
            into[i] = value if fresh else words.combine(into[i], value)

    return fold


def fill_row(words: Words) -> Callable[..., None]:
    """As `npool.cpu.emit.fill_row`."""

    def fill(dst: int, cap: int, at: int, n: int) -> None:
        into = _Scratch(words, dst, cap, at)
        for i in range(n):
            into[i] = words.identity

    return fill


def finish_row(words: Words) -> Callable[..., None]:
    """As `npool.cpu.emit.finish_row`."""

    def finish(
        out: int, positions: int, to: int, across: int, src: int, cap: int, start: int, step: int,
        o1: int, o2: int, o3: int, taps: int, n: int, count: int, params: int,
    ) -> None:  # fmt: skip
        total = count if words.counted.kind in "iu" else words.counted.type(count)
        numbers = _params(words, params)
        for i in range(n):
            offsets = (0, o1, o2, o3)[:taps]
            value = _tree(words, [_Scratch(words, src, cap, start + o)[i * step] for o in offsets])
            results = words.finish(value, total, numbers)
            for base, dtype, result in zip((out, positions), words.results, results, strict=False):
                _Memory(base + (to + i * across) * dtype.itemsize, 1, dtype)[0] = result

    return finish


def split_row(words: Words) -> Callable[..., None]:
    """As `npool.cpu.emit.split_row`."""

    def split(dst: int, cap: int, each: int, src: int, n: int, ways: int) -> None:
        base = _Scratch(words, src, cap, 0)
        phases = [_Scratch(words, dst, cap, t * each) for t in range(ways)]
        for i in range(n):
            for t, phase in enumerate(phases):
                phase[i] = base[ways * i + t]

    return split


def pick_row(words: Words) -> Callable[..., None]:
    """As `npool.cpu.picks.pick_row`."""

    def pick(
        dst: int, cap: int, at: int, across: int, src: int, o0: int, o1: int, o2: int, o3: int,
        pitch: int, taps: int, fresh: bool, n: int,
    ) -> None:  # fmt: skip
        into = _Scratch(words, dst, cap, at)
        bases = [_Scratch(words, src, cap, o) for o in (o0, o1, o2, o3)[:taps]]
        for i in range(n):
            value = _tree(words, [base[i * pitch] for base in bases])
            into[i * across] = value if fresh else words.combine(into[i * across], value)

    return pick


def finish_each(words: Words) -> Callable[..., None]:
    """As `npool.cpu.picks.finish_each`."""
    finish_one = finish_row(words)

    def finish(
        out: int, positions: int, to: int, across: int, src: int, cap: int, start: int, step: int,
        n: int, counts: int, each: int, above: int, params: int,
    ) -> None:  # fmt: skip
        for i in range(n):
            finish_one(
                out, positions, to + i * across, 1, src, cap, start + i * step, 1, 0, 0, 0, 1, 1,
                get(counts, i * each) * above, params,
            )  # fmt: skip

    return finish


def gather_row(dtype: np.dtype[Any]) -> Callable[..., None]:
    """As `npool.cpu.emit.gather_row`."""

    def gather(line: int, src: int, stride: int, n: int) -> None:
        size = dtype.itemsize
        for i in range(n):
            _Memory(line + i * size, 1, dtype)[0] = _Memory(src + i * stride * size, 1, dtype)[0]

    return gather


def interleave_row(dtype: np.dtype[Any]) -> Callable[..., None]:
    """As `npool.cpu.copies.interleave_row`."""

    def interleave(
        dst: int, at: int, step: int, src: int, o0: int, o1: int, o2: int, o3: int, ways: int,
        n: int,
    ) -> None:  # fmt: skip
        size = dtype.itemsize
        for i in range(n):
            for t, o in enumerate((o0, o1, o2, o3)[:ways]):
                value = _Memory(src + (o + i) * size, 1, dtype)[0]
                _Memory(dst + (at + step * i + t) * size, 1, dtype)[0] = value

    return interleave


def repeat_row(dtype: np.dtype[Any]) -> Callable[..., None]:
    """As `npool.cpu.copies.repeat_row`."""

    def repeat(dst: int, at: int, step: int, src: int, o: int, times: int, n: int) -> None:
        size = dtype.itemsize
        for i in range(n):
            value = _Memory(src + (o + i) * size, 1, dtype)[0]
            for t in range(times):
                _Memory(dst + (at + step * i + t) * size, 1, dtype)[0] = value

    return repeat


def masked_row(words: Words) -> Callable[..., None]:
    """As `npool.cpu.emit.masked_row`."""

    def fold(
        dst: int, cap: int, at: int, src: int, o0: int, o1: int, o2: int, o3: int, masks: int,
        bit: int, taps: int, fresh: bool, n: int,
    ) -> None:  # fmt: skip
        into, inside = _Scratch(words, dst, cap, at), _Memory(masks, n, np.dtype(np.uint8))
        offsets = (o0, o1, o2, o3)[:taps]
        for i in range(n):
            values = [
                _Scratch(words, src, cap, o)[i] if inside[i] >> (bit + k) & 1 else words.identity
                for k, o in enumerate(offsets)
            ]
            value = _tree(words, values)
            into[i] = value if fresh else words.combine(into[i], value)

    return fold


def whole_row(words: Words, vector: Callable[..., Any]) -> Callable[..., None]:
    """As `npool.cpu.emit.whole_row`, element by element."""

    def fold(dst: int, cap: int, at: int, src: int, o: int, n: int) -> None:
        memory = _Memory(src + o * words.source.itemsize, n, words.source)
        value = words.identity
        for i in range(n):
            value = words.combine(value, (memory[i],))
        _Scratch(words, dst, cap, at)[0] = value

    return fold


def _half(name: str) -> np.dtype[Any]:
    if name == "float16":
        return np.dtype(np.float16)
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


def _decoder(name: str) -> Callable[[int], Any]:
    return lambda bits: np.array(bits, np.uint16).view(_half(name)).astype(np.float32)[()]


def _encoder(name: str) -> Callable[[Any], int]:
    return lambda value: np.array(value, np.float32).astype(_half(name)).view(np.uint16).item()


def _key(infinity: int, nan: int) -> Callable[[int], int]:
    def decode(bits: int) -> int:
        if bits & 0x7FFF > infinity:
            return nan
        return bits if bits < 0x8000 else -(bits & 0x7FFF) - 1

    return decode


def _encode_key(key: int) -> int:
    return key if key >= 0 else 0x8000 | (-key - 1)


DECODERS: dict[tuple[str, str], Any] = {
    ("float16", "highest"): _key(0x7C00, 0x7FFF),
    ("float16", "lowest"): _key(0x7C00, -0x8000),
    ("bfloat16", "highest"): _key(0x7F80, 0x7FFF),
    ("bfloat16", "lowest"): _key(0x7F80, -0x8000),
}
ENCODERS: dict[tuple[str, str], Any] = dict.fromkeys(DECODERS, _encode_key)
for _name in ("float16", "bfloat16"):
    DECODERS[_name, "value"] = _decoder(_name)
    ENCODERS[_name, "value"] = _encoder(_name)
