"""What LLVM's builder makes in several steps: one value in all lanes, one of two by a branch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

__all__ = ["either", "spread"]

_I32 = ir.IntType(32)


def spread(b: Any, value: Any, lanes: int) -> Any:
    """A vector of so many lanes, each of which is `value`."""
    nothing = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = b.insert_element(nothing, value, _I32(0))
    return b.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes))


def either(b: Any, test: Any, one: Callable[[], Any], other: Callable[[], Any]) -> Any:
    """What `one` makes if `test`, else what `other` does."""
    made: list[tuple[Any, Any]] = []
    with b.if_else(test) as branches:
        for branch, make in zip(branches, (one, other), strict=True):
            with branch:
                value = make()
                made.append((value, b.block))
    chosen = b.phi(made[0][0].type)
    for value, block in made:
        chosen.add_incoming(value, block)
    return chosen
