"""The words of `npool.cuda.words` in Python, for Numba's CUDA simulator: nothing is compiled.

The same text then runs thread by thread, which shows a debugger every line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npool import scalars
from npool.cpu import interpreted

__all__ = [
    "DECODERS", "ENCODERS", "EXTREMES", "VOCABULARY", "caster", "divide", "least", "loader", "most",
    "quotient", "remainder", "select", "storer",
]  # fmt: skip

select = scalars.select
#: The meaning of each word is the word itself.
VOCABULARY: dict[Any, Any] = {}
caster = interpreted.caster
DECODERS: dict[str, Any] = {
    name: function for (name, form), function in interpreted.DECODERS.items() if form == "value"
}
ENCODERS: dict[str, Any] = {
    name: function for (name, form), function in interpreted.ENCODERS.items() if form == "value"
}


def _native(best: Callable[[Any, Any], Any], name: str, lanes: int) -> Callable[[int, int], int]:
    decode, encode = DECODERS[name], ENCODERS[name]

    def one(a: int, b: int) -> int:
        return int(encode(best(decode(a), decode(b))))

    def pair(a: int, b: int) -> int:
        a, b = int(a), int(b)
        return one(a & 0xFFFF, b & 0xFFFF) | one(a >> 16, b >> 16) << 16

    return pair if lanes == 2 else one


EXTREMES: dict[tuple[str, str, int], Any] = {
    (end, name, lanes): _native(best, name, lanes)
    for end, best in (("lowest", scalars.maximum), ("highest", scalars.minimum))
    for name in ("float16", "bfloat16")
    for lanes in (1, 2)
}


def loader(lanes: int) -> Callable[[Any, int], tuple[Any, ...]]:
    """``load(p, i)``: `lanes` elements from the i-th on."""
    return lambda p, i: tuple(p[i + k] for k in range(lanes))


def storer(lanes: int) -> Callable[[Any, int, Any], None]:
    """``store(p, i, values)``: the counterpart."""

    def store(p: Any, i: int, values: Any) -> None:
        for k in range(lanes):
            p[i + k] = values[k]

    return store


def divide(a: Any, n: Any) -> Any:
    """``a / n`` in the type of `a`."""
    return type(a)(scalars.divide(a, n))


def quotient(a: int, b: int) -> int:
    """``a / b`` of whole numbers that are not negative."""
    assert min(a, b - 1) >= 0, "a quotient of negative numbers"
    return a // b


def remainder(a: int, b: int) -> int:
    """What `quotient` leaves over."""
    assert min(a, b - 1) >= 0, "a remainder of negative numbers"
    return a % b


least, most = min, max
