"""The driver of small windows: one loop takes rows from the input to the result.

It serves what most calls are: at most eight rows folded into one, and at most eight taps along it.
What `npool.cpu.strips` does with several loops and a few rows at a time, `npool.cpu.lanes.pooled`
does in one, for all rows of a task that see as many taps: a strip of a few rows takes a tenth of a
microsecond, and so did calling the loops (docs/performance.md).
"""

# The free names below come from the namespace that `npool.cpu.drivers` compiles this in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


def pooled(shared, x, values, positions, scratch, first, last):
    """Compute the tasks ``first <= task < last``; every output belongs to one task."""
    env = scratch
    work = begin(shared, x, values, positions, scratch)
    dims, head, spans = get(scratch, DIMS_AT), get(scratch, HEAD_AT), get(scratch, SPANS_AT)
    lists, kept = work + (get(head, DEPTH) + 1) * WORK_SIZE * 8, get(env, A)
    for task in range(first, last):
        if stopped(env):
            break
        pooled_task(env, dims, head, spans, work, lists, task)
        put(env, A, kept)
    if get(head, STREAM_BYTES) > 0 or get(head, PAST) > 0:
        fence()


def pooled_task(env, dims, head, spans, work, lists, task):
    """One tile of rows at one place of the axes before the column."""
    row = get(head, DEPTH) - 1
    column = row - 1
    source, place, target, above, count, pitch, before, body = strip_place(
        env, dims, head, spans, work, lists, task
    )
    r = work_of(work, column, START)
    end = r + work_of(work, column, SIZE)
    block = min(get(head, BLOCK), end - r)
    if get(head, DIRECT) == 0:  # the others know no scratch
        fill_ends(env, get(head, CAP), 0, pitch, before, body, block)
    inner, ways, step = get(head, INNER), max(1, get(head, SPLIT_ROW)), 1
    row_taps, shift, each = dim(dims, row, KERNEL), dim(dims, row, DILATION) * inner, block * pitch
    if dim(dims, row, MODE) == FLAT:
        step = dim(dims, row, STRIDE)
    if ways > 1:
        # Whole groups: reading and writing past the end costs less than a remainder.
        each = -(-each // (ways * get(head, ROUND))) * get(head, ROUND)
        step = 1
    if get(head, DIRECT) > 0:
        each = get(head, CAP) // ways
    for t in range(row_taps):
        o = t * shift
        set_list(lists, 2, t, o // ways + o % ways * each)
    # The stretches of the row, by their divisors.
    runs, done, across = 0, 0, dim(dims, row, OUT_STRIDE)
    while done < work_of(work, row, SIZE):
        at = work_of(work, row, START) + done
        s = span_of(spans, dims, row, at)
        n = min(work_of(work, row, SIZE) - done, span(spans, s, STOPS) - at)
        set_list(lists, 5, runs, done * step * inner)
        set_list(lists, 6, runs, done * across)
        set_list(lists, 7, runs, n)
        set_list(lists, 8, runs, 1 if get(head, COUNTED) == 2 else span(spans, s, DIVISORS))
        done += n
        runs += 1
    lift, stride = dim(dims, column, OUT_STRIDE), dim(dims, column, STRIDE)
    target += work_of(work, row, START) * across + r * lift
    along, climb = dim(dims, column, IN_STRIDE), dim(dims, column, PLACE)
    while r < end and not stopped(env):
        s = span_of(spans, dims, column, r)
        inside = span(spans, s, INSIDE)
        taps = inside * count if body > 0 else 0
        m = min(end, span(spans, s, STOPS)) - r
        if get(head, DIRECT) != 2:
            m = min(m, MANY * block)
        over = get(head, DIVISOR) if get(head, COUNTED) == 2 else above * span(spans, s, DIVISORS)
        at = span(spans, s, BASE) + r * stride
        for t in range(inside):
            further = at + t * dim(dims, column, DILATION)
            for j in range(count):
                # In the order of their positions, where the axes are in that order.
                k = j * inside + t
                set_list(lists, 0, k, source + further * along + listed(lists, 3, j))
                set_list(lists, 1, k, place + further * climb + listed(lists, 4, j))
        # Rows to prefetch: those that no window before saw, some strips on.
        far, asked = get(head, AHEAD) * stride * along, 0
        for k in range(taps if far != 0 and get(head, DIRECT) == 0 else 0):
            asked |= (1 if k % inside >= inside - stride else 0) << k
        if get(head, DIRECT) == 2:
            call_slid(
                get(env, POOLED), get(env, X), stride * along, stride * climb,
                dim(dims, row, PLACE), taps, m, before, body, get(env, VALUES),
                get(env, POSITIONS), target, lift, over, runs, lists, get(head, PAST),
                get(head, RESULT_BYTES), get(head, AHEAD),
            )  # fmt: skip
        elif get(head, DIRECT) == 1:
            call_direct(
                get(env, POOLED), get(head, CAP), get(env, X), stride * along, get(env, PARAMS),
                listed(lists, 7, 0), m, get(head, AHEAD), get(env, A), each,
                (row_taps - 1) * shift + 1, ways, get(env, VALUES), target, lift, row_taps,
                over * listed(lists, 8, 0), lists, get(env, LINE), get(head, STREAM_BYTES),
            )  # fmt: skip
        else:
            call_pooled(
                get(env, POOLED), get(env, A), get(head, CAP), before, pitch, get(env, X),
                stride * along, get(env, COLS), stride * climb, get(env, PARAMS), taps, body, m,
                block, far, asked, get(head, PAIRED), get(env, B), each, ways,
                get(env, VALUES), get(env, POSITIONS), target, lift, across,
                get(head, OUT_WITHIN), row_taps, step, inner, over, runs, lists, get(env, LINE),
                get(head, STREAM_BYTES), done * inner,
            )  # fmt: skip
        r += m
        target += m * lift
