"""How a reducer's own functions, which know scalars, meet tuples of parts and parameters.

Templates, as in `npool.cpu.lanes`: Numba compiles a tuple access only when the index is
written out, hence one line for each number of parts, and no loop.
"""

# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"

from typing import Any, NamedTuple

import numpy as np


class Words(NamedTuple):
    """What a loop knows of a reducer: memory types, and compiled functions of accumulators.

    An accumulator is a tuple of the types `held`; a scratch buffer holds its parts one after
    another, `cap` elements each.
    """

    held: tuple[np.dtype[Any], ...]
    source: np.dtype[Any]
    results: tuple[np.dtype[Any], ...]
    params: int
    #: ``lift(x, params)``; ``combine(a, b)``; ``finish(a, count, params)``, a tuple.
    lift: Any
    combine: Any
    finish: Any
    identity: tuple[Any, ...]
    counted: np.dtype[Any]
    placed: bool


def cut_line(base, n):
    """The `n` elements of the source's type from an address on."""
    return view(base, n, SOURCE)


def nonzero(x):
    """Whether an element counts as true."""
    return x != 0


def cast2(v):
    """Two parts in the accumulator's type."""
    p, q = v
    return (keep(p), keep(q))


def cast3(v):
    """Three parts in the accumulator's type."""
    p, q, r = v
    return (keep(p), keep(q), keep(r))


def cast4(v):
    """Four parts in the accumulator's type."""
    p, q, r, s = v
    return (keep(p), keep(q), keep(r), keep(s))


CAST: dict[int, Any] = {2: cast2, 3: cast3, 4: cast4}


def same(x):
    """What needs no change."""
    return x


def combine_one(a, b):
    """Accumulators of one part, which the reducer knows as a scalar."""
    return (part_combine(a[0], b[0]),)


# Unpacking refuses a combine or lift that returns another number of parts.
def combine_two(a, b):
    """Accumulators of two parts."""
    p, q = part_combine(a, b)
    return (p, q)


def combine_three(a, b):
    """Accumulators of three parts."""
    p, q, r = part_combine(a, b)
    return (p, q, r)


def combine_four(a, b):
    """Accumulators of four parts."""
    p, q, r, s = part_combine(a, b)
    return (p, q, r, s)


def lifted(x, params):
    """The accumulator of an element as it is stored."""
    return lift(decode(x), params)


def lift_placed(x, params):
    """An element beside its position, which the loop adds."""
    return (x,)


def lift_plain(x, params):
    """An element that is its own accumulator."""
    return (keep(cast(x)),)


def lift_one0(x, params):
    """One part, of a reducer without parameters."""
    return (keep(part_lift(cast(x))),)


def lift_one1(x, params):
    """One part, of a reducer with one parameter."""
    return (keep(part_lift(cast(x), cast(params[0]))),)


def lift_one2(x, params):
    """One part, of a reducer with two parameters."""
    return (keep(part_lift(cast(x), cast(params[0]), cast(params[1]))),)


def lift_many0(x, params):
    """Several parts, of a reducer without parameters."""
    return cast_parts(part_lift(cast(x)))


def lift_many1(x, params):
    """Several parts, of a reducer with one parameter."""
    return cast_parts(part_lift(cast(x), cast(params[0])))


def lift_many2(x, params):
    """Several parts, of a reducer with two parameters."""
    return cast_parts(part_lift(cast(x), cast(params[0]), cast(params[1])))


def finish_plain(a, count, params):
    """The result where the accumulator is it."""
    return (encode(a[0]),)


def finish_one0(a, count, params):
    """The result of one part, without parameters."""
    return (encode(part_finish(a[0], count)),)


def finish_one1(a, count, params):
    """The result of one part and one parameter."""
    return (encode(part_finish(a[0], count, cast(params[0]))),)


def finish_one2(a, count, params):
    """The result of one part and two parameters."""
    return (encode(part_finish(a[0], count, cast(params[0]), cast(params[1]))),)


def finish_many0(a, count, params):
    """The result of several parts, without parameters."""
    return (encode(part_finish(a, count)),)


def finish_many1(a, count, params):
    """The result of several parts and one parameter."""
    return (encode(part_finish(a, count, cast(params[0]))),)


def finish_many2(a, count, params):
    """The result of several parts and two parameters."""
    return (encode(part_finish(a, count, cast(params[0]), cast(params[1]))),)


def finish_placed(a, count, params):
    """A value and its position."""
    # A window wholly in the padding has no position: the identity's, the largest, becomes -1.
    return (encode(a[0]), select(a[1] == NO_PLACE, -1, a[1]))


COMBINE: dict[int, Any] = {1: combine_one, 2: combine_two, 3: combine_three, 4: combine_four}
LIFT: dict[tuple[bool, int], Any] = {
    (True, 0): lift_one0,
    (True, 1): lift_one1,
    (True, 2): lift_one2,
    (False, 0): lift_many0,
    (False, 1): lift_many1,
    (False, 2): lift_many2,
}
FINISH: dict[tuple[bool, int], Any] = {
    (True, 0): finish_one0,
    (True, 1): finish_one1,
    (True, 2): finish_one2,
    (False, 0): finish_many0,
    (False, 1): finish_many1,
    (False, 2): finish_many2,
}
