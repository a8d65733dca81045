"""The driver of tall windows: van Herk's and Gil and Werman's blocks, for folds without an inverse.

Rows of results are made `TALL` at a time. Their windows begin in one block of so many rows of the
input and end in another: a window is what it sees of the first, a suffix; the blocks between,
which all of them see whole; and what it sees of the last, a prefix. Suffixes and prefixes stay in
registers, so a row costs three folds and is read twice. The blocks between are folds of
`TALL` rows each, of which again a window slides on by one a time: as many blocks as that has make
suffixes, kept, and prefixes, in one row, as is done with rows where blocks are as tall as windows
(M. van Herk, Pattern Recognition Letters 13, 1992; J. Gil and M. Werman, IEEE PAMI 15, 1993).

What windows see is kept in a ring of rows, each of which begins on a line of the cache, and no two
that are read together at the same place of a page. Results are folded along themselves while they
are in the first cache. `npool.cpu.folds` says what the arguments are, `npool.cpu.schedule` which
calls come here.
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


def van_herk_task(env, dims, head, spans, work, lists, task):
    """One tile of rows at one place of the axes before the column."""
    column, cap, wide = get(head, DEPTH) - 2, get(head, CAP), get(head, PITCH)
    whole = get(env, A)
    source, place, target, above, count, pitch, before, body = strip_place(
        env, dims, head, spans, work, lists, task
    )
    # What is fetched starts on a line of the cache; folds do with what lies before it.
    kept, whole = whole, get(env, A)
    lead = (whole - kept) // get(head, FIRST_BYTES)
    body = body if count > 0 else 0
    kernel, lift = dim(dims, column, KERNEL), dim(dims, column, OUT_STRIDE)
    rest, middle = (kernel - 1) % TALL, (kernel - 1) // TALL - 1
    size = (middle + 3) * TALL
    folds = size * wide
    run = folds + middle * wide
    more = run + wide
    r = work_of(work, column, START)
    end = r + work_of(work, column, SIZE)
    target += r * lift
    top, apart = r - dim(dims, column, BEFORE), wide
    if get(head, SPLIT_ROW) > 1:
        apart = pitch
    if apart == pitch or get(head, ITEM_BYTES) > get(head, FIRST_BYTES):
        lead = 0
    if body > 0:
        fill_ends(env, cap, 0, wide, before, body, size)
    else:
        call_fill(get(env, FILL), whole, cap, 0, wide, wide, size)
    fetch_ring(env, dims, head, source, place, top, 0, kernel - 1, size, before, body)
    for k in range(middle):
        fold_block(env, cap, whole, folds + k * wide, (k + 1) * TALL * wide, wide, TALL, pitch)
    fold_block(env, cap, whole, more, (middle + 1) * TALL * wide, wide, rest, pitch)
    at, first = middle, 0
    while r < end and not stopped(env):
        begin = first + kernel - 1
        fetch_ring(env, dims, head, source, place, top, begin, begin + TALL, size, before, body)
        if at == middle:
            begin_blocks(env, cap, whole, folds, wide, middle, pitch)
            at = 0
        for k in range(TALL):
            set_list(lists, 0, k, (first + k) % size * wide - lead)
            set_list(lists, 0, TALL + k, (begin + k) % size * wide - lead)
        for k in range(3):
            put(env, A + k, get(env, ROW_A + k))
        call_tall(
            get(env, TALL_FOLD), get(env, A), cap, 0, apart, whole, folds + at * wide - lead,
            run - lead, more - lead, lists, 0, lead + pitch,
        )  # fmt: skip
        put(env, A, get(env, A) + lead * get(head, FIRST_BYTES))
        m, coming, leap = min(TALL, end - r), top + begin + TALL, 0
        inside = coming >= 0 and coming + TALL <= dim(dims, column, LENGTH)
        if get(head, AHEAD) > 0 and inside and asks_along(env, head, dims):
            leap = dim(dims, column, IN_STRIDE) * get(head, SOURCE_BYTES)
            first_byte = (source + coming * dim(dims, column, IN_STRIDE)) * get(head, SOURCE_BYTES)
            put(env, SOON, get(env, X) + first_byte)
        put(env, LEAP, leap)
        strip_store(env, dims, head, spans, work, lists, r, r + m, target, above, apart, m * apart)
        put(env, A, whole)
        target += m * lift
        r += m
        first += TALL
        at += 1


def fetch_ring(env, dims, head, source, place, top, first, end, size, before, body):
    """Rows `first` to `end` of a tile whose first is the input's `top`, to where they belong."""
    column, cap, wide = get(head, DEPTH) - 2, get(head, CAP), get(head, PITCH)
    along, climb = dim(dims, column, IN_STRIDE), dim(dims, column, PLACE)
    length, j = dim(dims, column, LENGTH), first
    # Rows are asked for long before, where folds along rows do so as they go.
    far, lead = 0, 4
    if get(head, AHEAD) > 0 and not asks_along(env, head, dims):
        far, lead = get(head, AHEAD) * along, 0
    while j < end and body > 0:
        at, y = j % size, top + j
        m = min(end - j, size - at)
        if y >= 0 and y < length:
            m = min(m, length - y)
            o, p = source + y * along, place + y * climb
            call_rows(
                get(env, SOURCE_ROWS), get(env, A), cap, at * wide + before, wide, get(env, X),
                o, o, o, o, along, get(env, COLS), p, p, p, p, climb, get(env, PARAMS), 1, True,
                body, m, far, lead,
            )  # fmt: skip
        else:
            if y < 0:
                m = min(m, -y)
            call_fill(get(env, FILL), get(env, A), cap, at * wide + before, wide, body, m)
        j += m


def asks_along(env, head, dims):
    """Whether rows to come are asked for while rows are folded along themselves, if they are."""
    return get(env, LONG) != 0 and dim(dims, get(head, DEPTH) - 1, KERNEL) > 1


def begin_blocks(env, cap, whole, folds, wide, middle, pitch):
    """Suffixes of `middle` folds, `wide` apart from `folds` on; behind them the empty prefix."""
    for back in range(2, middle + 1):
        at = folds + (middle - back) * wide
        fold_block(env, cap, whole, at, at, wide, 2, pitch)
    call_fill(get(env, FILL), whole, cap, folds + middle * wide, wide, wide, 1)


def fold_block(env, cap, whole, to, at, wide, taps, pitch):
    """Fold `taps` rows of scratch, from the one at `at` on, into the one at `to`."""
    for j in range(0, taps, 4):
        o, m = at + j * wide, min(4, taps - j)
        call_rows(
            get(env, SCRATCH_ROWS), whole, cap, to, 0, whole, o, o + wide, o + 2 * wide,
            o + 3 * wide, 0, get(env, COLS), 0, 0, 0, 0, 0, get(env, PARAMS), m, j == 0, pitch, 1,
            0, 4,
        )  # fmt: skip
