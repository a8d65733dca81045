"""The driver: fetch a tile into padded scratch, reduce it axis by axis, store it.

Compiled once for all reducers, dtypes and layouts: memory is addresses, and the loops that know
elements (`npool.cpu.lanes`) are called by address, each for a whole block of rows.
`npool.cpu.schedule` lays out the integers read here: `dims`, one row a dimension in memory order
(the last is 'the row', whose positions hold `inner` elements each, the one before it the
'column', of which rows are taken in blocks); `head`; and `runs`, the divisors along each pooled
dimension. `env` holds the addresses of one call and of its scratch.
"""

# The free names below come from the namespace that `npool.cpu.binding` compiles this in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


def drive(env, dims, head, runs, first, last):
    """Compute the tiles ``first <= task < last``; every output belongs to one tile."""
    depth = dims.shape[0]
    row = depth - 1
    cap, item = head[CAP], head[ITEM_BYTES]
    scratch = np.empty(
        (head[BUFFERS] * cap * item + head[LINE_BYTES]) // 8 + head[SIZE_COLS] + 8, np.int64
    )
    env = env.copy()
    env[A] = address(scratch)
    env[B] = env[A] + (cap * item if head[BUFFERS] > 1 else 0)
    env[C] = env[B] + (cap * item if head[BUFFERS] > 2 else 0)
    env[LINE] = env[A] + head[BUFFERS] * cap * item
    first_col = (head[BUFFERS] * cap * item + head[LINE_BYTES]) // 8
    env[COLS] = env[A] + first_col * 8
    for i in range(head[SIZE_COLS]):
        scratch[first_col + i] = i // head[INNER] * dims[row, PLACE]
    work = np.zeros((WORK_ROWS, depth), np.int64)
    lists = np.zeros((3, CHUNK), np.int64)
    for task in range(first, last):
        if stopped(env):
            break
        rest = task
        for back in range(depth):
            i = row - back
            rest, q = rest // dims[i, GRID], rest % dims[i, GRID]
            work[START, i] = q * dims[i, TILE]
            work[SIZE, i] = min(dims[i, TILE], dims[i, OUT] - work[START, i])
            work[EXTENT, i] = work[SIZE, i]
            if dims[i, MODE] == ROWS or dims[i, MODE] == FLAT:
                span = (dims[i, KERNEL] - 1) * dims[i, DILATION] + 1
                work[EXTENT, i] = (work[SIZE, i] - 1) * dims[i, STRIDE] + span
            elif dims[i, MODE] == SEGMENT:
                work[EXTENT, i] = work[SIZE, i] * head[SEGMENT_LENGTH]
        work[EXTENT, row] += head[SPLIT_ROW] & work[EXTENT, row]
        fetch_tile(env, dims, head, work, lists)
        reduce_tile(env, dims, head, work, lists)
        store_tile(env, dims, head, runs, work, lists)
    # Numba frees an array after its last use, and addresses are no use: this is.
    return scratch[0]


def stopped(env):
    """Whether the caller no longer wants the result (Ctrl-C while a worker computes)."""
    return env[STOP] != 0 and view(env[STOP], 1, np.int64)[0] != 0


def advance(index, bound, depth):
    """The next multi-index below `bound`, the last of `depth` running fastest."""
    i = depth - 1
    while i >= 0:
        index[i] += 1
        if index[i] < bound[i]:
            return
        index[i] = 0
        i -= 1


def reduce_tile(env, dims, head, work, lists):
    """Fold the tile along each axis not fused yet; STEP says where the outputs then lie.

    The last fold along the row is left to `store`: ``lists[2]`` holds its taps, and how many.
    """
    depth = dims.shape[0]
    row = depth - 1
    cap = head[CAP]
    lists[2, 0], lists[2, 1], lists[2, 2], lists[2, 3] = 0, 0, 0, 1
    for i in range(depth):
        mode = dims[i, MODE]
        work[STEP, i] = 1
        outer, inner = 1, head[INNER]
        for j in range(i):
            outer *= work[EXTENT, j]
        for j in range(i + 1, depth):
            inner *= work[EXTENT, j]
        extent, size = work[EXTENT, i], work[SIZE, i]
        if mode == ROWS:
            for o in range(outer):
                done, k = 0, dims[i, KERNEL]
                while done < k:
                    m = min(CHUNK, k - done)
                    for t in range(m):
                        lists[0, t] = (o * extent + (done + t) * dims[i, DILATION]) * inner
                        lists[1, t] = 0
                    fold_rows(
                        env,
                        env[SCRATCH_ROWS],
                        env[B],
                        cap,
                        o * size * inner,
                        inner,
                        env[A],
                        lists,
                        dims[i, STRIDE] * inner,
                        0,
                        m,
                        done == 0,
                        inner,
                        size,
                    )
                    done += m
            work[EXTENT, i] = size
            env[A], env[B] = env[B], env[A]
        elif mode == FLAT:
            work[STEP, i] = dims[i, STRIDE]
            total = outer * extent * inner
            shift = dims[i, DILATION] * inner
            leave = i == row and (dims[i, STRIDE] <= 2 or head[INNER] > 1)
            flat_fold(env, head, lists, dims[i, KERNEL], shift, total, leave)
            if i == row and head[SPLIT_ROW] == 1:
                call_split(env[SPLIT], env[B], cap, env[A], total)
                env[A], env[B] = env[B], env[A]
                for t in range(3):
                    lists[2, t] = lists[2, t] // 2 + lists[2, t] % 2 * (total // 2)
                work[EXTENT, row], work[STEP, row] = extent // 2, 1
        elif mode == SEGMENT:
            length = head[SEGMENT_LENGTH]
            work[STEP, i] = length
            # The elements of all segments into one each, as a tree.
            left = length
            while left > 1:
                half = left // 2
                other = (left - half) * inner
                call_rows(
                    env[SCRATCH_ROWS],
                    env[A],
                    cap,
                    0,
                    length * inner,
                    env[A],
                    other,
                    other,
                    other,
                    other,
                    length * inner,
                    env[COLS],
                    0,
                    0,
                    0,
                    0,
                    0,
                    env[PARAMS],
                    1,
                    False,
                    half * inner,
                    outer * size,
                )
                left -= half


def flat_fold(env, head, lists, kernel, shift, total, leave):
    """Windows of `kernel` taps, `shift` apart, at every position of the flat buffer A.

    Windows of 4, 16, 64... taps are built from one another, four a pass, so the cost grows
    with log4(kernel). An idempotent reducer covers the rest by overlapping; any other adds up
    the base-4 digits of the kernel size. `leave` leaves a last fold of up to four taps of A
    to `store`.
    """
    last = total - (kernel - 1) * shift
    width = 1
    if head[IDEMPOTENT] == 1 or kernel <= 4:
        while 4 * width < kernel:
            shifted(env, head, env[B], 0, width * shift, 4, True, total - (4 * width - 1) * shift)
            env[A], env[B] = env[B], env[A]
            width *= 4
        if kernel > width:
            taps = (kernel + width - 1) // width
            final = (kernel - width) * shift
            s1 = width * shift if taps > 2 else final
            s2 = 2 * width * shift if taps > 3 else final
            if leave:
                lists[2, 0], lists[2, 1], lists[2, 2], lists[2, 3] = s1, s2, final, taps
                return
            call_rows(
                env[SCRATCH_ROWS],
                env[B],
                head[CAP],
                0,
                0,
                env[A],
                0,
                s1,
                s2,
                final,
                0,
                env[COLS],
                0,
                0,
                0,
                0,
                0,
                env[PARAMS],
                taps,
                True,
                last,
                1,
            )
            env[A], env[B] = env[B], env[A]
        return
    rest, done = kernel, 0
    while True:
        digit = rest % 4
        rest //= 4
        if rest == 0 and done == 0:
            # A power of four, or up to three times one: the last fold is over A alone.
            if digit > 1 and leave:
                w = width * shift
                lists[2, 0], lists[2, 1], lists[2, 2], lists[2, 3] = w, 2 * w, 2 * w, digit
                return
            if digit == 1:
                return
        if digit > 0:
            shifted(env, head, env[C], done * shift, width * shift, digit, done == 0, last)
            done += digit * width
        if rest == 0:
            env[A], env[C] = env[C], env[A]
            return
        shifted(env, head, env[B], 0, width * shift, 4, True, total - (4 * width - 1) * shift)
        env[A], env[B] = env[B], env[A]
        width *= 4


def shifted(env, head, dst, first, shift, taps, fresh, n):
    """``dst[i] = fold(A[first + i + j * shift] for j < taps)``, flat over `n` elements."""
    s1 = first + shift if taps > 1 else first
    s2 = first + 2 * shift if taps > 2 else first
    s3 = first + 3 * shift if taps > 3 else first
    call_rows(
        env[SCRATCH_ROWS],
        dst,
        head[CAP],
        0,
        0,
        env[A],
        first,
        s1,
        s2,
        s3,
        0,
        env[COLS],
        0,
        0,
        0,
        0,
        0,
        env[PARAMS],
        taps,
        fresh,
        n,
        1,
    )


def store_tile(env, dims, head, runs, work, lists):
    """Fold what is left, finish the tile's accumulators and write them where they belong."""
    row = dims.shape[0] - 1
    column = row - 1
    inner = head[INNER]
    count, height, lift = 1, 1, 0
    for i in range(column):
        count *= work[SIZE, i]
        work[INDEX, i] = 0
    pitch = work[EXTENT, row] * inner
    if column >= 0:
        height, lift = work[SIZE, column], dims[column, OUT_STRIDE]
    across, step = dims[row, OUT_STRIDE], work[STEP, row]
    for _ in range(count):
        source, target, divisor = 0, 0, 1
        for i in range(column):
            at = work[START, i] + work[INDEX, i]
            source = source * work[EXTENT, i] + work[INDEX, i] * work[STEP, i]
            target += at * dims[i, OUT_STRIDE]
            divisor *= run_of(runs, dims, head, i, at)[1]
        begin = 0
        while begin < height:
            # A block of rows of one divisor, and along them stretches of one divisor.
            m, above = height - begin, divisor
            block, to = source, target
            if column >= 0:
                at = work[START, column] + begin
                stop, value = run_of(runs, dims, head, column, at)
                m, above = min(m, stop - at), divisor * value
                block = (source * work[EXTENT, column] + begin * work[STEP, column]) * pitch
                to += at * lift
            done = 0
            while done < work[SIZE, row]:
                at = work[START, row] + done
                stop, value = run_of(runs, dims, head, row, at)
                n = min(work[SIZE, row] - done, stop - at)
                total = head[DIVISOR] if head[COUNTED] == 2 else above * value
                call_store(
                    env[STORE],
                    env[VALUES],
                    env[POSITIONS],
                    to + at * across,
                    lift,
                    across,
                    head[OUT_WITHIN],
                    env[A],
                    head[CAP],
                    block + done * step * inner,
                    pitch * work[STEP, column] if column >= 0 else 0,
                    lists[2, 0],
                    lists[2, 1],
                    lists[2, 2],
                    lists[2, 3],
                    step,
                    inner,
                    n,
                    m,
                    total,
                    env[PARAMS],
                )
                done += n
            begin += m
        advance(work[INDEX], work[SIZE], column)


def run_of(runs, dims, head, i, at):
    """``(stop, divisor)`` of the run that output `at` of dimension `i` lies in."""
    low, high = dims[i, RUNS], dims[i, RUNS_END] - 1
    if head[COUNTED] != 1 or high < low:
        return dims[i, OUT], 1
    while low < high:
        middle = (low + high) // 2
        if runs[middle, 0] > at:
            high = middle
        else:
            low = middle + 1
    return runs[low, 0], runs[low, 1]
