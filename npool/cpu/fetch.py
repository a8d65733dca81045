"""The driver's first step: a tile's rows into scratch, lifted, padded and partly folded.

Templates, compiled with those of `npool.cpu.tiles`, which says what the arguments hold.
"""

# The free names below come from the namespace that `npool.cpu.drivers` compiles this in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


def locate(dims, work, i, at):
    """Where position `at` of the tile lies along dimension `i` of the input.

    Returns the input's coordinate (of the first tap inside, where taps are fused) and the
    number of taps inside; 0 means that there is padding only.
    """
    mode = dim(dims, i, MODE)
    if mode == PLAIN:
        return work_of(work, i, START) + at, 1
    if mode == FUSED:
        d = dim(dims, i, DILATION)
        place = (work_of(work, i, START) + at) * dim(dims, i, STRIDE) - dim(dims, i, BEFORE)
        low = max(0, -(place // d))
        high = min(dim(dims, i, KERNEL), -((place - dim(dims, i, LENGTH)) // d))
        return place + low * d, max(0, high - low)
    place = work_of(work, i, START) * dim(dims, i, STRIDE) - dim(dims, i, BEFORE) + at
    return place, 1 if 0 <= place < dim(dims, i, LENGTH) else 0


def fetch_tile(env, dims, head, work, lists):
    """Fill A with the tile's rows, lifted and padded; fused axes are folded on the way."""
    row = get(head, DEPTH) - 1
    column = row - 1
    pitch = work_of(work, row, EXTENT) * get(head, INNER)
    count, height = 1, 1
    for i in range(column):
        count *= work_of(work, i, EXTENT)
        set_work(work, i, INDEX, 0)
    if column >= 0:
        height = work_of(work, column, EXTENT)
    for r in range(count):
        offset, place, fused = 0, 0, 1
        for i in range(column):
            at, found = locate(dims, work, i, work_of(work, i, INDEX))
            set_work(work, i, TAPS, found)
            fused *= work_of(work, i, TAPS)
            offset += at * dim(dims, i, IN_STRIDE)
            place += at * dim(dims, i, PLACE)
        begin = 0
        while begin < height and not stopped(env):
            # A block of rows along the column that see as many taps, at equal distances.
            end, at, step = begin + 1, 0, 0
            taps = fused
            if column >= 0:
                at, inside = locate(dims, work, column, begin)
                set_work(work, column, TAPS, inside)
                taps *= inside
                step = dim(dims, column, STRIDE) if dim(dims, column, MODE) == FUSED else 1
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
                offset + (at * dim(dims, column, IN_STRIDE) if column >= 0 else 0),
                step * dim(dims, column, IN_STRIDE) if column >= 0 else 0,
                place + (at * dim(dims, column, PLACE) if column >= 0 else 0),
                step * dim(dims, column, PLACE) if column >= 0 else 0,
                taps,
            )
            begin = end
        advance(work, INDEX, EXTENT, column)


def fetch_block(env, dims, head, work, lists, at, pitch, m, offset, stride, place, climb, fused):
    """Fetch `m` rows: the stretch of the input that they see, and padding at both ends."""
    row = get(head, DEPTH) - 1
    cap, inner, length = get(head, CAP), get(head, INNER), get(head, SEGMENT_LENGTH)
    along, each = dim(dims, row, IN_STRIDE), dim(dims, row, PLACE)
    segmented = dim(dims, row, MODE) == SEGMENT
    for s in range(work_of(work, row, SIZE) if segmented else 1):
        left = (work_of(work, row, START) + s) * dim(dims, row, STRIDE) - dim(dims, row, BEFORE)
        room = length if segmented else work_of(work, row, EXTENT)
        span = dim(dims, row, KERNEL) if segmented else room
        to = at + s * length * inner
        low, high = max(0, left), min(dim(dims, row, LENGTH), left + span)
        if fused == 0 or high <= low:
            call_fill(get(env, FILL), get(env, A), cap, to, pitch, room * inner, m)
            continue
        before, n, pieces, rest = (low - left) * inner, (high - low) * inner, 1, 0
        if segmented:
            # The window's elements, `length` at a time, and what is left of them.
            pieces, rest = (high - low) // length, (high - low) % length
            before, n = 0, length * inner if pieces > 0 else 0
        if before > 0:
            call_fill(get(env, FILL), get(env, A), cap, to, pitch, before, m)
        if before + n < room * inner:
            call_fill(
                get(env, FILL),
                get(env, A),
                cap,
                to + before + n,
                pitch,
                room * inner - before - n,
                m,
            )
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
    row = get(head, DEPTH) - 1
    cap = get(head, CAP)
    for i in range(row):
        set_work(work, i, TAP, 0)
    total = fused * pieces
    done, piece = 0, 0
    while done < total and not stopped(env):
        k = min(CHUNK, total - done)
        for j in range(k):
            jump = piece * get(head, SEGMENT_LENGTH)
            o = offset + jump * dim(dims, row, IN_STRIDE)
            p = place + jump * dim(dims, row, PLACE)
            for i in range(row):
                step = work_of(work, i, TAP) * dim(dims, i, DILATION)
                o += step * dim(dims, i, IN_STRIDE)
                p += step * dim(dims, i, PLACE)
            set_list(lists, 0, j, o)
            set_list(lists, 1, j, p)
            piece += 1
            if piece == pieces:
                piece = 0
                advance(work, TAP, TAPS, row)
        apart = done > 0
        target = get(env, B) if apart else get(env, A)
        new = apart or fresh
        if get(head, STRIDED) == 1:
            for r in range(m):
                for j in range(k):
                    call_gather(
                        get(env, GATHER),
                        get(env, LINE),
                        get(env, X),
                        listed(lists, 0, j) + r * stride,
                        dim(dims, row, IN_STRIDE),
                        get(head, IN_WITHIN),
                        get(head, INNER),
                        n,
                    )
                    p = listed(lists, 1, j) + r * climb
                    call_rows(
                        get(env, SOURCE_ROWS),
                        target,
                        cap,
                        at + r * pitch,
                        0,
                        get(env, LINE),
                        0,
                        0,
                        0,
                        0,
                        0,
                        get(env, COLS),
                        p,
                        p,
                        p,
                        p,
                        0,
                        get(env, PARAMS),
                        1,
                        new and j == 0,
                        n,
                        1,
                        0,
                        4,
                    )
        else:
            fold_rows(
                env,
                get(env, SOURCE_ROWS),
                target,
                cap,
                at,
                pitch,
                get(env, X),
                lists,
                stride,
                climb,
                k,
                new,
                n,
                m,
                0,
                CHUNK,
            )
        if apart:
            call_rows(
                get(env, SCRATCH_ROWS),
                get(env, A),
                cap,
                at,
                pitch,
                get(env, B),
                at,
                at,
                at,
                at,
                pitch,
                get(env, COLS),
                0,
                0,
                0,
                0,
                0,
                get(env, PARAMS),
                1,
                False,
                n,
                m,
                0,
                4,
            )
        done += k
