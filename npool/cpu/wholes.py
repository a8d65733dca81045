"""The driver for windows that are long stretches of memory and hardly overlap: global pools.

Each window is reduced in vectors, across all of its elements, without scratch; the results of
many windows are then finished together. `npool.cpu.folds` says what the arguments are.
"""

# The free names below come from the namespace that `npool.cpu.drivers` compiles this in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


def wholes(shared, x, values, positions, scratch, first, last):
    """Compute the tasks ``first <= task < last``: of each line of windows, a stretch."""
    env = scratch
    begin(shared, x, values, positions, scratch)
    dims, head, spans = get(scratch, DIMS_AT), get(scratch, HEAD_AT), get(scratch, SPANS_AT)
    cap = get(head, CAP)
    for task in range(first, last):
        if stopped(env):
            break
        line = task // dim(dims, 1, GRID)
        start = task % dim(dims, 1, GRID) * dim(dims, 1, TILE)
        m = min(dim(dims, 1, TILE), dim(dims, 1, OUT) - start)
        source = line * dim(dims, 0, IN_STRIDE) + start * dim(dims, 1, STRIDE)
        target = line * dim(dims, 0, OUT_STRIDE) + start * dim(dims, 1, OUT_STRIDE)
        call_whole(
            get(env, WHOLE), get(env, A), cap, get(env, X), source, dim(dims, 1, STRIDE),
            dim(dims, 1, KERNEL), m,
        )  # fmt: skip
        count = get(head, DIVISOR) if get(head, COUNTED) == 2 else span(spans, 0, DIVISORS)
        call_store(
            get(env, STORE), get(env, VALUES), get(env, POSITIONS), target, 0,
            dim(dims, 1, OUT_STRIDE), 1, get(env, A), cap, 0, 0, 0, 0, 0, 1, 1, 1, m, 1, count,
            get(env, PARAMS),
        )  # fmt: skip
