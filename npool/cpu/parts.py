"""Accumulators of 1 to 4 parts: how a tuple of arrays is cut, read and written.

Templates, as in `npool.cpu.lanes`: Numba compiles a tuple access only when the index is
written out, hence one line for each number of parts, and no loop.
"""

# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"

from typing import Any


def cut1(base, cap, o, n):
    return (view(base + o * ITEM0, n, DTYPE0),)


def cut2(base, cap, o, n):
    return (view(base + o * ITEM0, n, DTYPE0), view(base + cap * PART1 + o * ITEM1, n, DTYPE1))


def cut3(base, cap, o, n):
    return (
        view(base + o * ITEM0, n, DTYPE0),
        view(base + cap * PART1 + o * ITEM1, n, DTYPE1),
        view(base + cap * PART2 + o * ITEM2, n, DTYPE2),
    )


def cut4(base, cap, o, n):
    return (
        view(base + o * ITEM0, n, DTYPE0),
        view(base + cap * PART1 + o * ITEM1, n, DTYPE1),
        view(base + cap * PART2 + o * ITEM2, n, DTYPE2),
        view(base + cap * PART3 + o * ITEM3, n, DTYPE3),
    )


def cut_source(base, cap, o, n):
    return (view(base + o * SOURCE_ITEM, n, SOURCE),)


def cut_values(out, positions, o, n):
    return (view(out + o * RESULT_ITEM, n, RESULT),)


def cut_placed(out, positions, o, n):
    return (view(out + o * RESULT_ITEM, n, RESULT), view(positions + o * PLACE_ITEM, n, PLACED))


def cut_line(base, n):
    return view(base, n, SOURCE)


def cut_columns(base, n):
    return view(base, COLUMNS * n, np.int64)


def cut_params(base):
    return view(base, PARAMS, np.float64)


def take1(t, i):
    return (t[0][i],)


def take2(t, i):
    return (t[0][i], t[1][i])


def take3(t, i):
    return (t[0][i], t[1][i], t[2][i])


def take4(t, i):
    return (t[0][i], t[1][i], t[2][i], t[3][i])


def put1(t, i, v):
    t[0][i] = v[0]


def put2(t, i, v):
    t[0][i] = v[0]
    t[1][i] = v[1]


def put3(t, i, v):
    t[0][i] = v[0]
    t[1][i] = v[1]
    t[2][i] = v[2]


def put4(t, i, v):
    t[0][i] = v[0]
    t[1][i] = v[1]
    t[2][i] = v[2]
    t[3][i] = v[3]


def get_scratch(t, i, cols, place, params):
    return take(t, i)


def get_element(t, i, cols, place, params):
    return lift(decode(t[0][i]), params)


def get_placed(t, i, cols, place, params):
    return (decode(t[0][i]), place + cols[i])


#: By the number of parts.
CUT: dict[int, Any] = {1: cut1, 2: cut2, 3: cut3, 4: cut4}
TAKE: dict[int, Any] = {1: take1, 2: take2, 3: take3, 4: take4}
PUT: dict[int, Any] = {1: put1, 2: put2, 3: put3, 4: put4}


def nonzero(x):
    return x != 0


def cast2(v):
    p, q = v
    return (keep(p), keep(q))


def cast3(v):
    p, q, r = v
    return (keep(p), keep(q), keep(r))


def cast4(v):
    p, q, r, s = v
    return (keep(p), keep(q), keep(r), keep(s))


CAST: dict[int, Any] = {2: cast2, 3: cast3, 4: cast4}


# How a reducer's own functions, which know scalars, meet tuples of parts and parameters.
def same(x):
    return x


def combine_one(a, b):
    return (part_combine(a[0], b[0]),)


# Unpacking refuses a combine or lift that returns another number of parts.
def combine_two(a, b):
    p, q = part_combine(a, b)
    return (p, q)


def combine_three(a, b):
    p, q, r = part_combine(a, b)
    return (p, q, r)


def combine_four(a, b):
    p, q, r, s = part_combine(a, b)
    return (p, q, r, s)


def lift_plain(x, params):
    return (keep(cast(x)),)


def lift_one0(x, params):
    return (keep(part_lift(cast(x))),)


def lift_one1(x, params):
    return (keep(part_lift(cast(x), cast(params[0]))),)


def lift_one2(x, params):
    return (keep(part_lift(cast(x), cast(params[0]), cast(params[1]))),)


def lift_many0(x, params):
    return cast_parts(part_lift(cast(x)))


def lift_many1(x, params):
    return cast_parts(part_lift(cast(x), cast(params[0])))


def lift_many2(x, params):
    return cast_parts(part_lift(cast(x), cast(params[0]), cast(params[1])))


def finish_plain(a, count, params):
    return (encode(a[0]),)


def finish_one0(a, count, params):
    return (encode(part_finish(a[0], count)),)


def finish_one1(a, count, params):
    return (encode(part_finish(a[0], count, cast(params[0]))),)


def finish_one2(a, count, params):
    return (encode(part_finish(a[0], count, cast(params[0]), cast(params[1]))),)


def finish_many0(a, count, params):
    return (encode(part_finish(a, count)),)


def finish_many1(a, count, params):
    return (encode(part_finish(a, count, cast(params[0]))),)


def finish_many2(a, count, params):
    return (encode(part_finish(a, count, cast(params[0]), cast(params[1]))),)


def finish_placed(a, count, params):
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
