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


def locate(dims, work, i, at):
    """Where position `at` of the tile lies along dimension `i` of the input.

    Returns the input's coordinate (of the first tap inside, where taps are fused) and the
    number of taps inside; 0 means that there is padding only.
    """
    mode = dims[i, MODE]
    if mode == PLAIN:
        return work[START, i] + at, 1
    if mode == FUSED:
        d = dims[i, DILATION]
        place = (work[START, i] + at) * dims[i, STRIDE] - dims[i, BEFORE]
        low = max(0, -(place // d))
        high = min(dims[i, KERNEL], -((place - dims[i, LENGTH]) // d))
        return place + low * d, max(0, high - low)
    place = work[START, i] * dims[i, STRIDE] - dims[i, BEFORE] + at
    return place, 1 if 0 <= place < dims[i, LENGTH] else 0


def fetch_tile(env, dims, head, work, lists):
    """Fill A with the tile's rows, lifted and padded; fused axes are folded on the way."""
    row = dims.shape[0] - 1
    column = row - 1
    pitch = work[EXTENT, row] * head[INNER]
    count, height = 1, 1
    for i in range(column):
        count *= work[EXTENT, i]
        work[INDEX, i] = 0
    if column >= 0:
        height = work[EXTENT, column]
    for r in range(count):
        offset, place, fused = 0, 0, 1
        for i in range(column):
            at, work[TAPS, i] = locate(dims, work, i, work[INDEX, i])
            fused *= work[TAPS, i]
            offset += at * dims[i, IN_STRIDE]
            place += at * dims[i, PLACE]
        begin = 0
        while begin < height:
            # A block of rows along the column that see as many taps, at equal distances.
            end, at, step = begin + 1, 0, 0
            taps = fused
            if column >= 0:
                at, inside = locate(dims, work, column, begin)
                work[TAPS, column] = inside
                taps *= inside
                step = dims[column, STRIDE] if dims[column, MODE] == FUSED else 1
                while end < height:
                    further, also = locate(dims, work, column, end)
                    if also != inside or (inside > 0 and further != at + (end - begin) * step):
                        break
                    end += 1
            fetch_block(
                env,
                dims,
                head,
                work,
                lists,
                (r * height + begin) * pitch,
                pitch,
                end - begin,
                offset + (at * dims[column, IN_STRIDE] if column >= 0 else 0),
                step * dims[column, IN_STRIDE] if column >= 0 else 0,
                place + (at * dims[column, PLACE] if column >= 0 else 0),
                step * dims[column, PLACE] if column >= 0 else 0,
                taps,
            )
            begin = end
        advance(work[INDEX], work[EXTENT], column)


def fetch_block(env, dims, head, work, lists, at, pitch, m, offset, stride, place, climb, fused):
    """Fetch `m` rows: the stretch of the input that they see, and padding at both ends."""
    row = dims.shape[0] - 1
    cap, inner, length = head[CAP], head[INNER], head[SEGMENT_LENGTH]
    along, each = dims[row, IN_STRIDE], dims[row, PLACE]
    segmented = dims[row, MODE] == SEGMENT
    for s in range(work[SIZE, row] if segmented else 1):
        left = (work[START, row] + s) * dims[row, STRIDE] - dims[row, BEFORE]
        room = length if segmented else work[EXTENT, row]
        span = dims[row, KERNEL] if segmented else room
        to = at + s * length * inner
        low, high = max(0, left), min(dims[row, LENGTH], left + span)
        if fused == 0 or high <= low:
            call_fill(env[FILL], env[A], cap, to, pitch, room * inner, m)
            continue
        before, n, pieces, rest = (low - left) * inner, (high - low) * inner, 1, 0
        if segmented:
            # The window's elements, `length` at a time, and what is left of them.
            pieces, rest = (high - low) // length, (high - low) % length
            before, n = 0, length * inner if pieces > 0 else 0
        if before > 0:
            call_fill(env[FILL], env[A], cap, to, pitch, before, m)
        if before + n < room * inner:
            call_fill(env[FILL], env[A], cap, to + before + n, pitch, room * inner - before - n, m)
        if pieces > 0:
            fold_source(
                env,
                dims,
                head,
                work,
                lists,
                to + before,
                pitch,
                m,
                offset + low * along,
                stride,
                place + low * each,
                climb,
                fused,
                pieces,
                True,
                n,
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
                pitch,
                m,
                offset + low * along,
                stride,
                place + low * each,
                climb,
                fused,
                1,
                False,
                rest * inner,
            )


def fold_source(
    env,
    dims,
    head,
    work,
    lists,
    at,
    pitch,
    m,
    offset,
    stride,
    place,
    climb,
    fused,
    pieces,
    fresh,
    n,
):
    """Fold the input's rows of all fused taps (times `pieces` along the row) into A at `at`.

    CHUNK rows at a time, each chunk apart, and within one in fours, as a tree: that keeps a
    float sum of 1,024 taps within the promised 8 ulp.
    """
    row = dims.shape[0] - 1
    cap = head[CAP]
    for i in range(row):
        work[TAP, i] = 0
    total = fused * pieces
    done, piece = 0, 0
    while done < total and not stopped(env):
        k = min(CHUNK, total - done)
        for j in range(k):
            jump = piece * head[SEGMENT_LENGTH]
            o = offset + jump * dims[row, IN_STRIDE]
            p = place + jump * dims[row, PLACE]
            for i in range(row):
                step = work[TAP, i] * dims[i, DILATION]
                o += step * dims[i, IN_STRIDE]
                p += step * dims[i, PLACE]
            lists[0, j], lists[1, j] = o, p
            piece += 1
            if piece == pieces:
                piece = 0
                advance(work[TAP], work[TAPS], row)
        apart = done > 0
        target = env[B] if apart else env[A]
        new = apart or fresh
        if head[STRIDED] == 1:
            for r in range(m):
                for j in range(k):
                    call_gather(
                        env[GATHER],
                        env[LINE],
                        env[X],
                        lists[0, j] + r * stride,
                        dims[row, IN_STRIDE],
                        head[IN_WITHIN],
                        head[INNER],
                        n,
                    )
                    p = lists[1, j] + r * climb
                    call_rows(
                        env[SOURCE_ROWS],
                        target,
                        cap,
                        at + r * pitch,
                        0,
                        env[LINE],
                        0,
                        0,
                        0,
                        0,
                        0,
                        env[COLS],
                        p,
                        p,
                        p,
                        p,
                        0,
                        env[PARAMS],
                        1,
                        new and j == 0,
                        n,
                        1,
                    )
        else:
            fold_rows(
                env,
                env[SOURCE_ROWS],
                target,
                cap,
                at,
                pitch,
                env[X],
                lists,
                stride,
                climb,
                k,
                new,
                n,
                m,
            )
        if apart:
            call_rows(
                env[SCRATCH_ROWS],
                env[A],
                cap,
                at,
                pitch,
                env[B],
                at,
                at,
                at,
                at,
                pitch,
                env[COLS],
                0,
                0,
                0,
                0,
                0,
                env[PARAMS],
                1,
                False,
                n,
                m,
            )
        done += k


def fold_rows(env, fold, dst, cap, at, pitch, src, lists, stride, climb, count, fresh, n, m):
    """Fold `count` rows of `src`, at ``lists[0]``, into the row of `dst` at `at`, in fours."""
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
            lists[0, j],
            lists[0, j1],
            lists[0, j2],
            lists[0, j3],
            stride,
            env[COLS],
            lists[1, j],
            lists[1, j1],
            lists[1, j2],
            lists[1, j3],
            climb,
            env[PARAMS],
            k,
            fresh and j == 0,
            n,
            m,
        )
        j += k


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
