"""The fast driver: a few rows of the result at a time, from input to result, through L1.

It serves what most calls are: windows whose outer axes are fused while fetching or left alone,
rows that lie together, and at most one outer axis, the column, of large overlapping windows. A
strip of rows is fetched with its padding, folded along the row and stored before the next is
begun, so that the CPU loads one strip while it computes another. `npool.cpu.schedule` says
which calls come here and lays out `dims`, `head` and `spans`; all else goes to
`npool.cpu.tiles`. `npool.cpu.folds` says what the arguments are.
"""

# The free names below come from the namespace that `npool.cpu.drivers` compiles this in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


def strips(shared, x, values, positions, scratch, first, last):
    """Compute the tasks ``first <= task < last``; every output belongs to one task."""
    env = scratch
    work = begin(shared, x, values, positions, scratch)
    dims, head, spans = get(scratch, DIMS_AT), get(scratch, HEAD_AT), get(scratch, SPANS_AT)
    lists = work + (get(head, DEPTH) + 1) * WORK_SIZE * 8
    for task in range(first, last):
        if stopped(env):
            break
        strip_task(env, dims, head, spans, work, lists, task)
    if get(head, STREAM_BYTES) > 0 or get(head, PAST) > 0:
        fence()


def span_of(spans, dims, i, at):
    """The span that output `at` of dimension `i` lies in."""
    s = dim(dims, i, RUNS)
    while span(spans, s, STOPS) <= at:
        s += 1
    return s


def strip_place(env, dims, head, spans, work, lists, task):
    """Where a task lies: one tile of rows at one place of the axes before the column.

    ``(source, place)`` of its first element, ``target`` of its first result but for the column's
    and the row's own steps, the divisor of the axes before, how many of their taps are inside,
    and of a row in scratch: elements, those before the input begins, those inside. The taps' places
    go to ``lists[3]`` and ``lists[4]``.
    """
    row = get(head, DEPTH) - 1
    column = row - 1
    inner, rest = get(head, INNER), task
    for back in range(2):
        i = row - back
        rest, q = rest // dim(dims, i, GRID), rest % dim(dims, i, GRID)
        set_work(work, i, START, q * dim(dims, i, TILE))
        set_work(work, i, SIZE, min(dim(dims, i, TILE), dim(dims, i, OUT) - q * dim(dims, i, TILE)))
    # The axes before: where the first taps lie, and how far the others are from them.
    source, place, target, above, count = 0, 0, 0, 1, 1
    set_list(lists, 3, 0, 0)
    set_list(lists, 4, 0, 0)
    for back in range(column):
        i = column - 1 - back
        rest, o = rest // dim(dims, i, OUT), rest % dim(dims, i, OUT)
        s = span_of(spans, dims, i, o)
        at = span(spans, s, BASE) + o * dim(dims, i, STRIDE)
        source += at * dim(dims, i, IN_STRIDE)
        place += at * dim(dims, i, PLACE)
        target += o * dim(dims, i, OUT_STRIDE)
        above *= span(spans, s, DIVISORS)
        for t in range(1, span(spans, s, INSIDE)):
            step = t * dim(dims, i, DILATION)
            for j in range(count):
                set_list(
                    lists, 3, t * count + j, listed(lists, 3, j) + step * dim(dims, i, IN_STRIDE)
                )
                set_list(lists, 4, t * count + j, listed(lists, 4, j) + step * dim(dims, i, PLACE))
        count *= span(spans, s, INSIDE)
    # The row: what of it lies inside, and the padding at its ends.
    n = work_of(work, row, SIZE)
    left, pitch = work_of(work, row, START), n
    if dim(dims, row, MODE) == FLAT:
        left = left * dim(dims, row, STRIDE) - dim(dims, row, BEFORE)
        pitch = (
            (n - 1) * dim(dims, row, STRIDE)
            + (dim(dims, row, KERNEL) - 1) * dim(dims, row, DILATION)
            + 1
        )
    if get(head, SPLIT_ROW) > 1:
        pitch += -pitch % get(head, SPLIT_ROW)
    low, high = max(0, left), min(dim(dims, row, LENGTH), left + pitch)
    body = max(0, high - low) * inner
    before = min(low - left, pitch) * inner
    pitch *= inner
    source += low * dim(dims, row, IN_STRIDE)
    place += low * dim(dims, row, PLACE)
    # What is fetched starts on a line of the cache (of the first part, at least).
    put(env, A, get(env, A) + (64 - before * get(head, FIRST_BYTES) % 64) % 64)
    return source, place, target, above, count, pitch, before, body


def strip_task(env, dims, head, spans, work, lists, task):
    """One tile of rows at one place of the axes before the column."""
    row = get(head, DEPTH) - 1
    column, cap = row - 1, get(head, CAP)
    kept, b, c = get(env, A), get(env, B), get(env, C)
    source, place, target, above, count, pitch, before, body = strip_place(
        env, dims, head, spans, work, lists, task
    )
    a = get(env, A)
    r, end = (
        work_of(work, column, START),
        work_of(work, column, START) + work_of(work, column, SIZE),
    )
    target += r * dim(dims, column, OUT_STRIDE)
    step = dim(dims, column, STRIDE)
    along, climb = dim(dims, column, IN_STRIDE), dim(dims, column, PLACE)
    if dim(dims, column, MODE) == FLAT:
        top = r * step - dim(dims, column, BEFORE)
        height = (
            (end - r - 1) * step + (dim(dims, column, KERNEL) - 1) * dim(dims, column, DILATION) + 1
        )
        low, high = max(0, top), min(dim(dims, column, LENGTH), top + height)
        if count == 0 or body == 0 or high <= low:
            call_fill(get(env, FILL), a, cap, 0, pitch, pitch, height)
        else:
            over, inside = low - top, high - low
            call_fill(get(env, FILL), a, cap, 0, pitch, pitch, over)
            under = over + inside
            call_fill(get(env, FILL), a, cap, under * pitch, pitch, pitch, height - under)
            fill_ends(env, cap, over * pitch, pitch, before, body, inside)
            for j in range(count):
                set_list(lists, 0, j, source + low * along + listed(lists, 3, j))
                set_list(lists, 1, j, place + low * climb + listed(lists, 4, j))
            fold_rows(
                env, get(env, SOURCE_ROWS), a, cap, over * pitch + before, pitch, get(env, X),
                lists, along, climb, count, True, body, inside, 0, CHUNK,
            )  # fmt: skip
        # Folded along the column but for the last taps, which make rows in scratch of their own:
        # those are folded along themselves while they are in the first cache.
        total = height * pitch
        shift = dim(dims, column, DILATION) * pitch
        for k in range(4):
            set_list(lists, 2, k, k // 3)  # nothing left to fold: one tap
        flat_fold(env, head, lists, dim(dims, column, KERNEL), shift, total, True)
        s1, s2, s3 = listed(lists, 2, 0), listed(lists, 2, 1), listed(lists, 2, 2)
        taps, whole, at = listed(lists, 2, 3), get(env, A), 0
        while r < end and not stopped(env):
            m = min(get(head, BLOCK), end - r)
            for k in range(3):
                put(env, A + k, get(env, ROW_A + k))
            n, lines = (m * pitch, 1) if step == 1 else (pitch, m)
            call_rows(
                get(env, SCRATCH_ROWS), get(env, A), cap, 0, pitch, whole, at, at + s1, at + s2,
                at + s3, step * pitch, get(env, COLS), 0, 0, 0, 0, 0, get(env, PARAMS), taps,
                True, n, lines, 0, 4,
            )  # fmt: skip
            strip_store(
                env, dims, head, spans, work, lists, r, r + m, target, above, pitch, m * pitch
            )
            at += m * step * pitch
            r += m
            target += m * dim(dims, column, OUT_STRIDE)
        put(env, A, kept)
        put(env, B, b)
        put(env, C, c)
        return
    if get(head, REFILL) == 0:
        fill_ends(env, cap, 0, pitch, before, body, get(head, BLOCK))
    while r < end and not stopped(env):
        s = span_of(spans, dims, column, r)
        inside = span(spans, s, INSIDE)
        taps = inside * count
        stop = min(end, span(spans, s, STOPS))
        at = span(spans, s, BASE) + r * step
        for t in range(inside):
            further = at + t * dim(dims, column, DILATION)
            for j in range(count):
                set_list(lists, 0, t * count + j, source + further * along + listed(lists, 3, j))
                set_list(lists, 1, t * count + j, place + further * climb + listed(lists, 4, j))
        begun = r
        # Rows to prefetch: those that the last taps see, some strips on.
        far, lead = get(head, AHEAD) * step * along, CHUNK
        if far != 0:
            lead = max(0, inside - step) * count
        # Folds of long rows prefetch as they go, where one row a row is new.
        along_rows = far != 0 and get(env, LONG) != 0 and count == 1 and min(step, inside) == 1
        if along_rows:
            lead = CHUNK
        # A task of a slow reducer takes a second, a strip milliseconds.
        while r < stop and not stopped(env):
            m = min(get(head, BLOCK), stop - r)
            if taps == 0 or body == 0:
                call_fill(get(env, FILL), a, cap, 0, pitch, pitch, m)
            else:
                if get(head, REFILL) == 1:
                    fill_ends(env, cap, 0, pitch, before, body, m)
                src, stride = get(env, X), step * along
                if get(head, STRIDED) == 1:
                    src, stride = get(env, LINE), step * body
                    first = source + (at + (r - begun) * step) * along
                    strip_gather(env, dims, head, lists, first, count, inside, m, body)
                fold_rows(
                    env, get(env, SOURCE_ROWS), a, cap, before, pitch, src, lists,
                    stride, step * climb, taps, True, body, m, far, lead,
                )  # fmt: skip
            if along_rows:
                # The rows that the next strip sees and this one does not.
                next_row = at + (r + m - begun) * step + (inside - 1) * dim(dims, column, DILATION)
                item = get(head, SOURCE_BYTES)
                put(env, SOON, get(env, X) + (source + next_row * along) * item)
                put(env, LEAP, step * along * item)
            strip_store(
                env, dims, head, spans, work, lists, r, r + m, target, above, pitch, m * pitch
            )
            put(env, A, a)
            put(env, B, b)
            put(env, C, c)
            r += m
            target += m * dim(dims, column, OUT_STRIDE)
            for k in range(taps):
                set_list(lists, 0, k, listed(lists, 0, k) + m * step * along)
                set_list(lists, 1, k, listed(lists, 1, k) + m * step * climb)
    put(env, A, kept)


def strip_gather(env, dims, head, lists, first, count, inside, m, body):
    """Copy the strided rows that `m` rows of a strip see to LINE; say in `lists` where they are."""
    row = get(head, DEPTH) - 1
    column = row - 1
    dilation = dim(dims, column, DILATION)
    height = (m - 1) * dim(dims, column, STRIDE) + (inside - 1) * dilation + 1
    item = get(head, SOURCE_BYTES)
    for j in range(count):
        for q in range(height):
            call_gather(
                get(env, GATHER), get(env, LINE) + (j * height + q) * body * item, get(env, X),
                first + listed(lists, 3, j) + q * dim(dims, column, IN_STRIDE),
                dim(dims, row, IN_STRIDE), get(head, IN_WITHIN), get(head, INNER), body,
            )  # fmt: skip
        for t in range(inside):
            set_list(lists, 0, t * count + j, (j * height + t * dilation) * body)


def fill_ends(env, cap, at, pitch, before, body, m):
    """Padding at both ends of `m` rows of `pitch` positions."""
    if before > 0:
        call_fill(get(env, FILL), get(env, A), cap, at, pitch, before, m)
    if before + body < pitch:
        call_fill(
            get(env, FILL), get(env, A), cap, at + before + body, pitch, pitch - before - body, m
        )


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
            count, get(env, SOON), get(env, LEAP),
        )  # fmt: skip
        put(env, SOON, get(env, SOON) + m * get(env, LEAP))
        r += m
        target += m * lift
        at += m * pitch


def strip_store(env, dims, head, spans, work, lists, r, end, target, above, pitch, total):
    """Fold rows along themselves and write rows `r` to `end`."""
    if get(env, LONG) != 0:
        long_store(env, dims, head, spans, work, r, end, target, above, pitch)
        return
    row = get(head, DEPTH) - 1
    column = row - 1
    cap, inner, step = get(head, CAP), get(head, INNER), 1
    set_list(lists, 2, 0, 0)
    set_list(lists, 2, 1, 0)
    set_list(lists, 2, 2, 0)
    set_list(lists, 2, 3, 1)
    if dim(dims, row, MODE) == FLAT:
        step = dim(dims, row, STRIDE)
        shift = dim(dims, row, DILATION) * inner
        ways = get(head, SPLIT_ROW)
        leave = step == 1 or ways > 1 or inner > 1
        flat_fold(env, head, lists, dim(dims, row, KERNEL), shift, total, leave)
        if ways > 1:
            # Whole groups: reading and writing past the end costs less than a remainder.
            each = -(-total // (ways * get(head, ROUND))) * get(head, ROUND)
            call_split(get(env, SPLIT), get(env, B), cap, each, get(env, A), each, ways)
            swap(env, A, B)
            for t in range(3):
                o = listed(lists, 2, t)
                set_list(lists, 2, t, o // ways + o % ways * each)
            pitch, step = pitch // ways, 1
    first, lift_out = 0, dim(dims, column, OUT_STRIDE)
    while r < end:
        s = span_of(spans, dims, column, r)
        m = min(end, span(spans, s, STOPS)) - r
        over, done = above * span(spans, s, DIVISORS), 0
        while done < work_of(work, row, SIZE):
            at = work_of(work, row, START) + done
            s = span_of(spans, dims, row, at)
            n = min(work_of(work, row, SIZE) - done, span(spans, s, STOPS) - at)
            count = (
                get(head, DIVISOR) if get(head, COUNTED) == 2 else over * span(spans, s, DIVISORS)
            )
            out, where, lift = get(env, VALUES), target + at * dim(dims, row, OUT_STRIDE), lift_out
            if get(head, STREAM_BYTES) > 0:
                out, where, lift = get(env, LINE), 0, n * inner
            call_store(
                get(env, STORE), out, get(env, POSITIONS), where, lift,
                dim(dims, row, OUT_STRIDE), get(head, OUT_WITHIN), get(env, A), cap,
                first + done * step * inner, pitch, listed(lists, 2, 0),
                listed(lists, 2, 1), listed(lists, 2, 2), listed(lists, 2, 3), step, inner, n, m,
                count, get(env, PARAMS),
            )  # fmt: skip
            if get(head, STREAM_BYTES) > 0:
                strip_stream(env, head, target + at * inner, lift_out, n * inner, m)
            done += n
        r += m
        target += m * dim(dims, column, OUT_STRIDE)
        first += m * pitch


def strip_stream(env, head, target, lift, n, m):
    """Copy `m` rows of `n` results from LINE to where they belong, past the caches."""
    item = get(head, STREAM_BYTES)
    if lift == n:
        n, m = m * n, 1
    for q in range(m):
        at = get(env, VALUES) + (target + q * lift) * item
        stream(at, get(env, LINE) + q * n * item, n * item)
