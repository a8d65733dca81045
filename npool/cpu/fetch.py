"""The driver's first step: a tile's rows into scratch, lifted, padded and partly folded.

Templates, compiled with those of `npool.cpu.tiles`, which says what the arguments hold.
"""

# The free names below come from the namespace that `npool.cpu.binding` compiles this in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


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
