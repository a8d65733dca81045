"""The driver for many small planes of windows at stride 1: all of a few planes at once, flat.

A row of 7 elements is half a vector, and there are seven to a plane: row by row, what a row
costs is what its calls cost. Where the result has the shape of the input, element ``i`` of the
result sees elements ``i + o`` of the input for a few fixed offsets `o`, but for windows over an
edge. So the planes are folded as one long row, axis by axis, and a table of bits, the same for
all planes, says which taps lie inside. `npool.cpu.folds` says what the arguments are.
"""

# The free names below come from the namespace that `npool.cpu.drivers` compiles this in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


def planes(shared, x, values, positions, scratch, first, last):
    """Compute the tasks ``first <= task < last``, `TILE` planes of the first dimension each."""
    env = scratch
    begin(shared, x, values, positions, scratch)
    dims, head, spans = get(scratch, DIMS_AT), get(scratch, HEAD_AT), get(scratch, SPANS_AT)
    depth, cap = get(head, DEPTH), get(head, CAP)
    size, room = get(head, PLANE), get(head, ROUND)
    a, b, c = get(env, A), get(env, B), get(env, C)
    for task in range(first, last):
        if stopped(env):
            break
        start = task * dim(dims, 0, TILE)
        n = min(dim(dims, 0, TILE), dim(dims, 0, OUT) - start) * size
        at = start * size
        call_rows(
            get(env, SOURCE_ROWS), a, cap, room, 0, get(env, X), at, at, at, at, 0,
            get(env, COLS), 0, 0, 0, 0, 0, get(env, PARAMS), 1, True, n, 1, get(head, AHEAD),
            0 if get(head, AHEAD) > 0 else 4,
        )  # fmt: skip
        pitch = size
        for i in range(1, depth):
            pitch = pitch // dim(dims, i, LENGTH)
            kernel = dim(dims, i, KERNEL)
            masks = get(head, MASKS) + (i - 1) * get(head, MASKS_EACH)
            step = dim(dims, i, DILATION) * pitch
            o = room - dim(dims, i, BEFORE) * pitch
            t = 0
            while t < kernel:
                taps = min(4, kernel - t)
                call_masked(
                    get(env, MASKED), get(env, B), cap, room, get(env, A), o + t * step,
                    o + (t + 1) * step, o + (t + 2) * step, o + (t + 3) * step, masks, t, taps,
                    t == 0, n,
                )  # fmt: skip
                t += taps
            swap(env, A, B)
        count = get(head, DIVISOR) if get(head, COUNTED) == 2 else span(spans, 0, DIVISORS)
        call_store(
            get(env, STORE), get(env, VALUES), get(env, POSITIONS), at, 0, 1, 1, get(env, A), cap,
            room, 0, 0, 0, 0, 1, 1, 1, n, 1, count, get(env, PARAMS),
        )  # fmt: skip
        put(env, A, a)
        put(env, B, b)
        put(env, C, c)
