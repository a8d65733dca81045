"""The driver: fetch a tile into padded scratch, reduce it axis by axis, store it.

Compiled once for all reducers, dtypes and layouts: memory is addresses, and the loops that know
elements (`npool.cpu.lanes`) are called by address. `npool.cpu.schedule` lays out the integers
read here: `dims`, one row a dimension in memory order (the last is 'the row', whose positions
hold `inner` elements each); `head`; and `runs`, the divisors along each pooled dimension.
`env` holds the addresses of one call and of its scratch.
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
    lists = np.empty((2, CHUNK), np.int64)
    for task in range(first, last):
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
        fetch_tile(env, dims, head, work, lists)
        reduce_tile(env, dims, head, work, lists)
        store_tile(env, dims, head, runs, work)
    # Numba frees an array after its last use, and addresses are no use: this is.
    return scratch[0]


def advance(index, bound, depth):
    """The next multi-index below `bound`, the last of `depth` running fastest."""
    i = depth - 1
    while i >= 0:
        index[i] += 1
        if index[i] < bound[i]:
            return
        index[i] = 0
        i -= 1


def fetch_tile(env, dims, head, work, lists):
    """Fill A with the tile's rows, lifted and padded; fused axes are folded on the way."""
    row = dims.shape[0] - 1
    pitch = work[EXTENT, row] * head[INNER]
    cap = head[CAP]
    count = 1
    for i in range(row):
        count *= work[EXTENT, i]
        work[INDEX, i] = 0
    length = head[SEGMENT_LENGTH]
    inner = head[INNER]
    n, stride, each = dims[row, LENGTH], dims[row, IN_STRIDE], dims[row, PLACE]
    segmented = dims[row, MODE] == SEGMENT
    pieces_of_row = work[SIZE, row] if segmented else 1
    for r in range(count):
        offset, place, fused = 0, 0, 1
        for i in range(row):
            mode = dims[i, MODE]
            at = work[START, i] + work[INDEX, i]
            work[TAPS, i] = 1
            if mode == FUSED:
                d = dims[i, DILATION]
                at = at * dims[i, STRIDE] - dims[i, BEFORE]
                low = max(0, -(at // d))
                high = min(dims[i, KERNEL], -((at - dims[i, LENGTH]) // d))
                work[TAPS, i] = max(0, high - low)
                at += low * d
                fused *= work[TAPS, i]
            elif mode != PLAIN:
                at = work[START, i] * dims[i, STRIDE] - dims[i, BEFORE] + work[INDEX, i]
                if at < 0 or at >= dims[i, LENGTH]:
                    fused = 0
            offset += at * dims[i, IN_STRIDE]
            place += at * dims[i, PLACE]
        for s in range(pieces_of_row):
            # The stretch of the input's row that this stretch of scratch holds.
            if segmented:
                to = r * pitch + s * length * inner
                left = (work[START, row] + s) * dims[row, STRIDE] - dims[row, BEFORE]
                span, room = dims[row, KERNEL], length
            else:
                to = r * pitch
                left = work[START, row] * dims[row, STRIDE] - dims[row, BEFORE]
                span = work[EXTENT, row]
                room = span
            low = max(0, left)
            high = min(n, left + span)
            if fused == 0 or high <= low:
                call_fill(env[FILL], env[A], cap, to, room * inner)
                continue
            pieces, rest = 1, 0
            before, m = (low - left) * inner, (high - low) * inner
            if segmented:
                pieces, rest = (high - low) // length, (high - low) % length
                before, m = 0, length * inner
                if pieces == 0:
                    before, m = 0, 0
            if before > 0:
                call_fill(env[FILL], env[A], cap, to, before)
            if before + m < room * inner:
                call_fill(env[FILL], env[A], cap, to + before + m, room * inner - before - m)
            if pieces > 0:
                fold_source(
                    env,
                    dims,
                    head,
                    work,
                    lists,
                    to + before,
                    offset + low * stride,
                    place + low * each,
                    fused,
                    pieces,
                    True,
                    m,
                )
            if rest > 0:
                low += pieces * length
                fold_source(
                    env,
                    dims,
                    head,
                    work,
                    lists,
                    to,
                    offset + low * stride,
                    place + low * each,
                    fused,
                    1,
                    False,
                    rest * inner,
                )
        advance(work[INDEX], work[EXTENT], row)


def fold_source(env, dims, head, work, lists, at, offset, place, fused, pieces, fresh, n):
    """Fold the input's rows of all fused taps (times `pieces` along the row) into A at `at`.

    CHUNK rows at a time, each chunk apart, and within one in fours, as a tree: that keeps a
    float sum of 1,024 taps within the promised 8 ulp.
    """
    row = dims.shape[0] - 1
    cap = head[CAP]
    starts, places = lists[0], lists[1]
    for i in range(row):
        work[TAP, i] = 0
    total = fused * pieces
    done, piece = 0, 0
    while done < total:
        m = min(CHUNK, total - done)
        for j in range(m):
            jump = piece * head[SEGMENT_LENGTH]
            o = offset + jump * dims[row, IN_STRIDE]
            p = place + jump * dims[row, PLACE]
            for i in range(row):
                step = work[TAP, i] * dims[i, DILATION]
                o += step * dims[i, IN_STRIDE]
                p += step * dims[i, PLACE]
            starts[j], places[j] = o, p
            piece += 1
            if piece == pieces:
                piece = 0
                advance(work[TAP], work[TAPS], row)
        apart = done > 0 and head[STRIDED] == 0
        target = env[B] if apart else env[A]
        to = 0 if apart else at
        new = apart or (fresh and done == 0)
        if head[STRIDED] == 1:
            for j in range(m):
                call_gather(
                    env[GATHER],
                    env[LINE],
                    env[X],
                    starts[j],
                    dims[row, IN_STRIDE],
                    head[IN_WITHIN],
                    head[INNER],
                    n,
                )
                p = places[j]
                call_rows(
                    env[SOURCE_ROWS],
                    target,
                    cap,
                    to,
                    env[LINE],
                    0,
                    0,
                    0,
                    0,
                    env[COLS],
                    p,
                    p,
                    p,
                    p,
                    env[PARAMS],
                    1,
                    new and j == 0,
                    n,
                )
        else:
            fold_rows(env, env[SOURCE_ROWS], target, cap, to, env[X], lists, m, new, n)
        if apart:
            call_rows(
                env[SCRATCH_ROWS],
                env[A],
                cap,
                at,
                env[B],
                0,
                0,
                0,
                0,
                env[COLS],
                0,
                0,
                0,
                0,
                env[PARAMS],
                1,
                False,
                n,
            )
        done += m


def fold_rows(env, fold, dst, cap, at, src, lists, count, fresh, n):
    """Fold `count` rows of `src`, at ``lists[0]``, into the row of `dst` at `at`, in fours."""
    starts, places = lists[0], lists[1]
    j = 0
    while j < count:
        k = min(4, count - j)
        j1, j2, j3 = min(j + 1, count - 1), min(j + 2, count - 1), min(j + 3, count - 1)
        call_rows(
            fold,
            dst,
            cap,
            at,
            src,
            starts[j],
            starts[j1],
            starts[j2],
            starts[j3],
            env[COLS],
            places[j],
            places[j1],
            places[j2],
            places[j3],
            env[PARAMS],
            k,
            fresh and j == 0,
            n,
        )
        j += k


def reduce_tile(env, dims, head, work, lists):
    """Fold the tile along each axis not fused yet; STEP says where the outputs then lie."""
    depth = dims.shape[0]
    cap = head[CAP]
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
                for q in range(size):
                    base = o * extent + q * dims[i, STRIDE]
                    to = (o * size + q) * inner
                    done, k = 0, dims[i, KERNEL]
                    while done < k:
                        m = min(CHUNK, k - done)
                        for t in range(m):
                            lists[0, t] = (base + (done + t) * dims[i, DILATION]) * inner
                            lists[1, t] = 0
                        fold_rows(
                            env,
                            env[SCRATCH_ROWS],
                            env[B],
                            cap,
                            to,
                            env[A],
                            lists,
                            m,
                            done == 0,
                            inner,
                        )
                        done += m
            work[EXTENT, i] = size
            env[A], env[B] = env[B], env[A]
        elif mode == FLAT:
            work[STEP, i] = dims[i, STRIDE]
            total = outer * extent * inner
            flat_fold(env, head, dims[i, KERNEL], dims[i, DILATION] * inner, total)
        elif mode == SEGMENT:
            length = head[SEGMENT_LENGTH]
            work[STEP, i] = length
            for o in range(outer * size):
                # The segment's elements into one, as a tree.
                at, left = o * length * inner, length
                while left > 1:
                    half = left // 2
                    other = at + (left - half) * inner
                    call_rows(
                        env[SCRATCH_ROWS],
                        env[A],
                        cap,
                        at,
                        env[A],
                        other,
                        other,
                        other,
                        other,
                        env[COLS],
                        0,
                        0,
                        0,
                        0,
                        env[PARAMS],
                        1,
                        False,
                        half * inner,
                    )
                    left -= half


def flat_fold(env, head, kernel, shift, total):
    """Windows of `kernel` taps, `shift` apart, at every position of the flat buffer A.

    Windows of 4, 16, 64... taps are built from one another, four a pass, so the cost grows
    with log4(kernel). An idempotent reducer covers the rest by overlapping; any other adds up
    the base-4 digits of the kernel size.
    """
    last = total - (kernel - 1) * shift
    width = 1
    if head[IDEMPOTENT] == 1:
        while 4 * width < kernel:
            shifted(env, head, env[B], 0, width * shift, 4, True, total - (4 * width - 1) * shift)
            env[A], env[B] = env[B], env[A]
            width *= 4
        if kernel > width:
            taps = (kernel + width - 1) // width
            final = (kernel - width) * shift
            s1 = width * shift if taps > 2 else final
            s2 = 2 * width * shift if taps > 3 else final
            call_rows(
                env[SCRATCH_ROWS],
                env[B],
                head[CAP],
                0,
                env[A],
                0,
                s1,
                s2,
                final,
                env[COLS],
                0,
                0,
                0,
                0,
                env[PARAMS],
                taps,
                True,
                last,
            )
            env[A], env[B] = env[B], env[A]
        return
    rest, done = kernel, 0
    while True:
        digit = rest % 4
        rest //= 4
        if rest == 0 and done == 0 and digit == 1:
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
        env[A],
        first,
        s1,
        s2,
        s3,
        env[COLS],
        0,
        0,
        0,
        0,
        env[PARAMS],
        taps,
        fresh,
        n,
    )


def store_tile(env, dims, head, runs, work):
    """Finish the tile's accumulators and write them where they belong."""
    depth = dims.shape[0]
    row = depth - 1
    inner = head[INNER]
    count = 1
    for i in range(row):
        count *= work[SIZE, i]
        work[INDEX, i] = 0
    counted = head[COUNTED] == 1
    across, step = dims[row, OUT_STRIDE], work[STEP, row]
    for _ in range(count):
        source, target, divisor = 0, 0, 1
        for i in range(row):
            at = work[START, i] + work[INDEX, i]
            source = source * work[EXTENT, i] + work[INDEX, i] * work[STEP, i]
            target += at * dims[i, OUT_STRIDE]
            if counted and dims[i, RUNS] < dims[i, RUNS_END]:
                divisor *= runs[run_at(runs, dims, i, at), 1]
        source *= work[EXTENT, row] * inner
        done = 0
        while done < work[SIZE, row]:
            n = work[SIZE, row] - done
            at = work[START, row] + done
            total = divisor
            if counted and dims[row, RUNS] < dims[row, RUNS_END]:
                r = run_at(runs, dims, row, at)
                n = min(n, runs[r, 0] - at)
                total *= runs[r, 1]
            elif head[COUNTED] == 2:
                total = head[DIVISOR]
            call_store(
                env[STORE],
                env[VALUES],
                env[POSITIONS],
                target + at * across,
                across,
                head[OUT_WITHIN],
                env[A],
                head[CAP],
                source + done * step * inner,
                step,
                inner,
                n,
                total,
                env[PARAMS],
            )
            done += n
        advance(work[INDEX], work[SIZE], row)


def run_at(runs, dims, i, at):
    """The run of equal divisors that output `at` of dimension `i` lies in."""
    low, high = dims[i, RUNS], dims[i, RUNS_END] - 1
    while low < high:
        middle = (low + high) // 2
        if runs[middle, 0] > at:
            high = middle
        else:
            low = middle + 1
    return low
