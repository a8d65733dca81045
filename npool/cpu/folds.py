"""What both drivers share: a thread's scratch, and folds of rows that lie in it.

Templates: a driver is compiled once for all reducers, dtypes and layouts, memory is addresses,
and the loops that know elements (`npool.cpu.lanes`) are called by address, each for a whole
block of rows. Every argument is an int64: arrays would drag reference counts and bounds along,
which took most of a driver's time, running and compiling (docs/performance.md).
`npool.cpu.schedule` lays out the tables read here: `head` and `env`, read by `get`; `dims`, one
row a dimension in memory order (the last is 'the row', whose positions hold `inner` elements
each, the one before it the 'column', of which rows are taken in blocks), by `dim`; and `spans`,
the divisors and taps along each dimension, by `span`. `work` and `lists` are a thread's own.
"""

# The free names below come from the namespace that `npool.cpu.drivers` compiles this in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


def begin(shared, x, values, positions, scratch):
    """Lay out a thread's scratch: its copy of `env` first; return the address of `work`."""
    env, dims, head = scratch, get(shared, DIMS_AT), get(shared, HEAD_AT)
    depth = get(head, DEPTH)
    for k in range(ENV_SIZE):
        put(env, k, get(shared, k))
    put(env, X, x)
    put(env, VALUES, values)
    put(env, POSITIONS, positions)
    size = get(head, CAP) * get(head, ITEM_BYTES)
    # Vectors of 64 bytes that lie across two lines of the cache take twice as long.
    a = (scratch + (ENV_SIZE + (depth + THREAD_ROWS) * WORK_SIZE) * 8 + 63) // 64 * 64
    b = a + size if get(head, BUFFERS) > 1 else a
    c = b + size if get(head, BUFFERS) > 2 else b
    put(env, A, a)
    put(env, B, b)
    put(env, C, c)
    rows = a + get(head, BUFFERS) * size
    if get(head, ROW_BUFFERS) > 0:
        for k in range(3):
            put(env, ROW_A + k, rows + k * size)
        rows += 3 * size
    put(env, LINE, rows)
    columns = rows + get(head, LINE_BYTES)
    put(env, COLS, columns)
    for i in range(get(head, SIZE_COLS)):
        put(columns, i, i // get(head, INNER) * dim(dims, depth - 1, PLACE))
    return scratch + ENV_SIZE * 8


def stopped(env):
    """Whether the caller no longer wants the result (Ctrl-C while a worker computes)."""
    return get(env, STOP) != 0 and get(get(env, STOP), 0) != 0


def swap(env, i, j):
    """Exchange two buffers."""
    kept = get(env, i)
    put(env, i, get(env, j))
    put(env, j, kept)


def fold_rows(
    env, fold, dst, cap, at, pitch, src, lists, stride, climb, count, fresh, n, m, far, lead
):
    """Fold `count` rows of `src`, at ``lists[0]``, into the row of `dst` at `at`, in fours.

    `far` and `lead` are as for `npool.cpu.lanes.rows`; a `lead` past `count` prefetches nothing.
    """
    j = 0
    while j < count:
        k = min(4, count - j)
        j1, j2, j3 = min(j + 1, count - 1), min(j + 2, count - 1), min(j + 3, count - 1)
        call_rows(
            fold,
            dst,
            cap,
            at,
            pitch,
            src,
            listed(lists, 0, j),
            listed(lists, 0, j1),
            listed(lists, 0, j2),
            listed(lists, 0, j3),
            stride,
            get(env, COLS),
            listed(lists, 1, j),
            listed(lists, 1, j1),
            listed(lists, 1, j2),
            listed(lists, 1, j3),
            climb,
            get(env, PARAMS),
            k,
            fresh and j == 0,
            n,
            m,
            far,
            max(0, min(4, lead - j)),
        )
        j += k


def flat_fold(env, head, lists, kernel, shift, total, leave):
    """Windows of `kernel` taps, `shift` apart, at every position of the flat buffer A.

    Windows of 4, 16, 64... taps are built from one another, four a pass, so the cost grows
    with log4(kernel). An idempotent reducer covers the rest by overlapping; any other adds up
    the base-4 digits of the kernel size. `leave` leaves a last fold of up to four taps of A
    to `store`.
    """
    last = total - (kernel - 1) * shift
    width = 1
    if get(head, IDEMPOTENT) == 1 or kernel <= 4:
        while 4 * width < kernel:
            shifted(
                env, head, get(env, B), 0, width * shift, 4, True, total - (4 * width - 1) * shift
            )
            swap(env, A, B)
            width *= 4
        if kernel > width:
            taps = (kernel + width - 1) // width
            final = (kernel - width) * shift
            s1 = width * shift if taps > 2 else final
            s2 = 2 * width * shift if taps > 3 else final
            if leave:
                set_list(lists, 2, 0, s1)
                set_list(lists, 2, 1, s2)
                set_list(lists, 2, 2, final)
                set_list(lists, 2, 3, taps)
                return
            call_rows(
                get(env, SCRATCH_ROWS),
                get(env, B),
                get(head, CAP),
                0,
                0,
                get(env, A),
                0,
                s1,
                s2,
                final,
                0,
                get(env, COLS),
                0,
                0,
                0,
                0,
                0,
                get(env, PARAMS),
                taps,
                True,
                last,
                1,
                0,
                4,
            )
            swap(env, A, B)
        return
    rest, done = kernel, 0
    while True:
        digit = rest % 4
        rest //= 4
        if rest == 0 and done == 0:
            # A power of four, or up to three times one: the last fold is over A alone.
            if digit > 1 and leave:
                w = width * shift
                set_list(lists, 2, 0, w)
                set_list(lists, 2, 1, 2 * w)
                set_list(lists, 2, 2, 2 * w)
                set_list(lists, 2, 3, digit)
                return
            if digit == 1:
                return
        if digit > 0:
            shifted(env, head, get(env, C), done * shift, width * shift, digit, done == 0, last)
            done += digit * width
        if rest == 0:
            swap(env, A, C)
            return
        shifted(env, head, get(env, B), 0, width * shift, 4, True, total - (4 * width - 1) * shift)
        swap(env, A, B)
        width *= 4


def shifted(env, head, dst, first, shift, taps, fresh, n):
    """``dst[i] = fold(A[first + i + j * shift] for j < taps)``, flat over `n` elements."""
    s1 = first + shift if taps > 1 else first
    s2 = first + 2 * shift if taps > 2 else first
    s3 = first + 3 * shift if taps > 3 else first
    call_rows(
        get(env, SCRATCH_ROWS),
        dst,
        get(head, CAP),
        0,
        0,
        get(env, A),
        first,
        s1,
        s2,
        s3,
        0,
        get(env, COLS),
        0,
        0,
        0,
        0,
        0,
        get(env, PARAMS),
        taps,
        fresh,
        n,
        1,
        0,
        4,
    )


def fold_segments(env, head, length, inner, count):
    """`count` segments of `length` groups of A into one group each: quarters onto one another."""
    left = length
    while left > 1:
        taps = min(4, left)
        half = left // taps
        o1 = half * inner
        o2 = o1 * 2 if taps > 2 else o1
        o3 = o1 * 3 if taps > 3 else o2
        call_rows(
            get(env, SCRATCH_ROWS), get(env, A), get(head, CAP), 0, length * inner, get(env, A),
            0, o1, o2, o3, length * inner, get(env, COLS), 0, 0, 0, 0, 0, get(env, PARAMS), taps,
            True, half * inner, count, 0, 4,
        )  # fmt: skip
        # What is left over joins the first elements.
        over = left - half * taps
        while over > 0:
            s = (left - over) * inner
            joined = min(over, half)
            call_rows(
                get(env, SCRATCH_ROWS), get(env, A), get(head, CAP), 0, length * inner,
                get(env, A), s, s, s, s, length * inner, get(env, COLS), 0, 0, 0, 0, 0,
                get(env, PARAMS), 1, False, joined * inner, count, 0, 4,
            )  # fmt: skip
            over -= joined
        left = half
