"""The driver of very wide windows along a row, of hundreds of elements and more, at a stride of 1.

All windows of a part of the elements (`PITCH`) are made first, in registers (`long_rows.py`). A
window is as many of them as go into it, one behind the other, and what is left: one more that
overlaps, where elements may count twice, else the last few elements. Parts that lie a part's
length from one another are rows, and those of several one behind the other are tall windows of
such rows: `npool.cpu.van_herk`'s blocks. So an element costs some ten folds however wide windows
are. `npool.cpu.folds` says what the arguments are.
"""

# The free names below come from the namespace that `npool.cpu.drivers` compiles this in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


def wide(shared, x, values, positions, scratch, first, last):
    """Compute the tasks ``first <= task < last``: of each line of windows, a stretch."""
    env = scratch
    work = begin(shared, x, values, positions, scratch)
    dims, head, spans = get(scratch, DIMS_AT), get(scratch, HEAD_AT), get(scratch, SPANS_AT)
    lists = work + (get(head, DEPTH) + 1) * WORK_SIZE * 8
    for task in range(first, last):
        if stopped(env):
            break
        line = task // dim(dims, 1, GRID)
        start = task % dim(dims, 1, GRID) * dim(dims, 1, TILE)
        n = min(dim(dims, 1, TILE), dim(dims, 1, OUT) - start)
        fetch_wide(env, dims, head, line * dim(dims, 0, IN_STRIDE), start, n)
        fold_wide(env, dims, head, lists, n)
        count = get(head, DIVISOR) if get(head, COUNTED) == 2 else span(spans, 0, DIVISORS)
        call_long(
            get(env, LONG), windows_at(env, head), get(head, CAP), 0, 0, 1, get(env, VALUES),
            line * dim(dims, 0, OUT_STRIDE) + start, 0, n, get(head, PAST), count, 0, 0,
        )  # fmt: skip
    if get(head, PAST) > 0:
        fence()


def fetch_wide(env, dims, head, source, start, n):
    """What `n` windows from `start` on see to A, with its padding; parts of windows to B."""
    cap, a, part = get(head, CAP), get(env, A), get(head, PITCH)
    extent, left = n + dim(dims, 1, KERNEL) - 1, start - dim(dims, 1, BEFORE)
    low, high = max(0, left), min(dim(dims, 1, LENGTH), left + extent)
    before, body = min(low - left, extent), max(0, high - low)
    after = extent - before - body
    call_fill(get(env, FILL), a, cap, 0, extent, before, 1)
    call_fill(get(env, FILL), a, cap, before + body, extent, after, 1)
    o = source + low
    call_rows(
        get(env, SOURCE_ROWS), a, cap, before, 0, get(env, X), o, o, o, o, 0, get(env, COLS), 0, 0,
        0, 0, 0, get(env, PARAMS), 1, True, body, 1, get(head, AHEAD),
        0 if get(head, AHEAD) > 0 else 4,
    )  # fmt: skip
    # The next task begins where this one ends.
    soon = get(env, X) + (o + body) * get(head, SOURCE_BYTES)
    leap = 1 if get(head, AHEAD) > 0 and start + n < dim(dims, 1, OUT) else 0
    call_long(
        get(env, WIDE_FOLD), a, cap, 0, 0, 1, get(env, B), 0, 0, extent - part + 1, 0, 1, soon, leap
    )


def fold_wide(env, dims, head, lists, n):
    """`n` windows, of their parts in B and the elements in A."""
    cap, kernel, part = get(head, CAP), dim(dims, 1, KERNEL), get(head, PITCH)
    a, b, c = get(env, A), get(env, B), windows_at(env, head)
    rows = kernel // part
    over = kernel - rows * part
    if rows <= TALL:
        for k in range(0, rows, 4):
            fold_ends(env, cap, c, b, k * part, part, min(4, rows - k), k == 0, n)
    else:
        fold_parts(env, head, lists, rows, part, n)
    if over > 0 and get(head, IDEMPOTENT) == 1:
        fold_ends(env, cap, c, b, kernel - part, 0, 1, False, n)
        return
    for j in range(0, over, 4):
        fold_ends(env, cap, c, a, rows * part + j, 1, min(4, over - j), False, n)


def windows_at(env, head):
    """Where windows are put together: a buffer of their own, or the first, which is free again."""
    return get(env, C) if get(head, BUFFERS) > 2 else get(env, A)


def fold_parts(env, head, lists, rows, part, n):
    """`n` windows of `rows` parts, one behind the other."""
    cap, group, b, c = get(head, CAP), TALL * part, get(env, B), windows_at(env, head)
    rest, middle = (rows - 1) % TALL, (rows - 1) // TALL - 1
    groups = (n + group - 1) // group
    folds = (groups * TALL + rows) * part
    run = folds + middle * part
    more = run + part
    for k in range(middle):
        fold_block(env, cap, b, folds + k * part, (k + 1) * group, part, TALL, part)
    fold_block(env, cap, b, more, (middle + 1) * group, part, rest, part)
    for k in range(TALL):
        set_list(lists, 0, k, k * part)
        set_list(lists, 0, TALL + k, (rows - 1 + k) * part)
    at = middle
    for g in range(groups):
        if at == middle:
            begin_blocks(env, cap, b, folds, part, middle, part)
            at = 0
        call_tall(
            get(env, TALL_FOLD), c, cap, g * group, part, b, folds + at * part, run, more, lists,
            g * group, part,
        )  # fmt: skip
        at += 1


def fold_ends(env, cap, c, src, o, apart, taps, fresh, n):
    """Fold up to four rows of `src`, `apart` from `o` on, into the windows."""
    call_rows(
        get(env, SCRATCH_ROWS), c, cap, 0, 0, src, o, o + apart, o + 2 * apart, o + 3 * apart, 0,
        get(env, COLS), 0, 0, 0, 0, 0, get(env, PARAMS), taps, fresh, n, 1, 0, 4,
    )  # fmt: skip
