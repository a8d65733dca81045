"""The driver of tall windows: van Herk's and Gil and Werman's blocks, for folds without an inverse.

Rows are taken in blocks as tall as a window. A window that starts in one block ends in the next:
its fold is that of the first block's rows from its start on, a suffix, and of the next one's rows
up to its end, a prefix. So a row costs three folds however tall the windows are (M. van Herk,
Pattern Recognition Letters 13, 1992; J. Gil and M. Werman, IEEE PAMI 15, 1993). Suffixes of one
block are kept in scratch; prefixes are made along with the results, a few rows at a time, which are
folded along themselves while they are in the first cache. `npool.cpu.folds` says what the
arguments are, `npool.cpu.schedule` which calls come here.
"""

# The free names below come from the namespace that `npool.cpu.drivers` compiles this in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


def van_herk(shared, x, values, positions, scratch, first, last):
    """Compute the tasks ``first <= task < last``; every output belongs to one task."""
    env = scratch
    work = begin(shared, x, values, positions, scratch)
    dims, head, spans = get(scratch, DIMS_AT), get(scratch, HEAD_AT), get(scratch, SPANS_AT)
    lists = work + (get(head, DEPTH) + 1) * WORK_SIZE * 8
    kept = get(env, A)
    for task in range(first, last):
        if stopped(env):
            break
        van_herk_task(env, dims, head, spans, work, lists, task)
        put(env, A, kept)
    if get(head, STREAM_BYTES) > 0 or get(head, PAST) > 0:
        fence()


def long_store(env, dims, head, spans, work, r, end, target, above, pitch):
    """Fold rows along themselves in registers, and write rows `r` to `end`."""
    row = get(head, DEPTH) - 1
    column, at = row - 1, 0
    lift = dim(dims, column, OUT_STRIDE)
    over = above * span(spans, span_of(spans, dims, row, 0), DIVISORS)
    while r < end:
        s = span_of(spans, dims, column, r)
        m = min(end, span(spans, s, STOPS)) - r
        count = over * span(spans, s, DIVISORS)
        if get(head, COUNTED) == 2:
            count = get(head, DIVISOR)
        call_long(
            get(env, LONG), get(env, A), get(head, CAP), at, pitch, m, get(env, VALUES),
            target + work_of(work, row, START), lift, work_of(work, row, SIZE), get(head, PAST),
            count,
        )  # fmt: skip
        r += m
        target += m * lift
        at += m * pitch


def van_herk_task(env, dims, head, spans, work, lists, task):
    """One tile of rows at one place of the axes before the column."""
    column, cap = get(head, DEPTH) - 2, get(head, CAP)
    source, place, target, above, count, pitch, before, body = strip_place(
        env, dims, head, spans, work, lists, task
    )
    body = body if count > 0 else 0
    whole, kernel, length = get(env, A), dim(dims, column, KERNEL), dim(dims, column, LENGTH)
    along, climb = dim(dims, column, IN_STRIDE), dim(dims, column, PLACE)
    r = work_of(work, column, START)
    end = r + work_of(work, column, SIZE)
    lift = dim(dims, column, OUT_STRIDE)
    target += r * lift
    top, run = r - dim(dims, column, BEFORE), (kernel + 1) * pitch
    # Padding at the ends of rows, and the suffix of no rows: none of these is written again.
    call_fill(get(env, FILL), whole, cap, 0, pitch, pitch, kernel + 1)
    while r < end and not stopped(env):
        # The rows of this block that lie inside the input.
        low = max(0, min(kernel, -top))
        high = max(low, min(kernel, length - top))
        if body == 0:
            low = high = kernel
        call_fill(get(env, FILL), whole, cap, high * pitch, pitch, pitch, kernel - high)
        j = high
        while j > low:
            m = min(4, j - low)
            j -= m
            for k in range(m):
                set_list(lists, 0, k, source + (top + j + k) * along)
                set_list(lists, 1, k, place + (top + j + k) * climb)
            call_suffixes(
                get(env, SUFFIXES), whole, cap, j * pitch + before, pitch, get(env, X), lists,
                get(env, COLS), get(env, PARAMS), m, body,
            )  # fmt: skip
        if low > 0:
            call_rows(
                get(env, SCRATCH_ROWS), whole, cap, 0, pitch, whole, low * pitch, 0, 0, 0, 0,
                get(env, COLS), 0, 0, 0, 0, 0, get(env, PARAMS), 1, True, pitch, low, 0, 4,
            )  # fmt: skip
        call_fill(get(env, FILL), whole, cap, run, pitch, pitch, 1)
        j, size = 0, min(kernel, end - r)
        while j < size and not stopped(env):
            for k in range(3):
                put(env, A + k, get(env, ROW_A + k))
            y, m = top + kernel + j, min(get(head, BLOCK), size - j)
            if body > 0 and y >= 0 and y < length:
                m = min(m, length - y)
                for k in range(m):
                    set_list(lists, 0, k, source + (y + k) * along)
                    set_list(lists, 1, k, place + (y + k) * climb)
                fill_ends(env, cap, 0, pitch, before, body, m)
                call_prefixes(
                    get(env, PREFIXES), get(env, A), cap, before, pitch, whole, run + before,
                    j * pitch + before, get(env, X), lists, get(head, AHEAD) * along,
                    get(env, COLS), get(env, PARAMS), m, body,
                )  # fmt: skip
            else:
                m = 1
                call_rows(
                    get(env, SCRATCH_ROWS), get(env, A), cap, 0, pitch, whole, j * pitch, run, run,
                    run, 0, get(env, COLS), 0, 0, 0, 0, 0, get(env, PARAMS), 2, True, pitch, 1, 0,
                    4,
                )  # fmt: skip
            if get(env, LONG) != 0:
                long_store(env, dims, head, spans, work, r + j, r + j + m, target, above, pitch)
            else:
                strip_store(
                    env, dims, head, spans, work, lists, r + j, r + j + m, target, above, pitch, 1,
                    m * pitch,
                )  # fmt: skip
            target += m * lift
            j += m
        top += kernel
        r += size
