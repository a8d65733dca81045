"""The general driver: fetch a tile into padded scratch, reduce it axis by axis, store it.

It serves every call. `npool.cpu.folds` says what its arguments are; `npool.cpu.strips` is the
faster one, for most calls.
"""

# The free names below come from the namespace that `npool.cpu.drivers` compiles this in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


def tiles(shared, x, values, positions, scratch, first, last):
    """Compute the tiles ``first <= task < last``; every output belongs to one tile."""
    env = scratch
    work = begin(shared, x, values, positions, scratch)
    dims, head, spans = get(scratch, DIMS_AT), get(scratch, HEAD_AT), get(scratch, SPANS_AT)
    lists = work + (get(head, DEPTH) + 1) * WORK_SIZE * 8
    row = get(head, DEPTH) - 1
    for task in range(first, last):
        if stopped(env):
            break
        rest = task
        for back in range(row + 1):
            i = row - back
            q = rest % dim(dims, i, GRID)
            rest = rest // dim(dims, i, GRID)
            start = q * dim(dims, i, TILE)
            size = min(dim(dims, i, TILE), dim(dims, i, OUT) - start)
            extent, mode = size, dim(dims, i, MODE)
            if mode in (ROWS, FLAT):
                span = (dim(dims, i, KERNEL) - 1) * dim(dims, i, DILATION) + 1
                extent = (size - 1) * dim(dims, i, STRIDE) + span
            elif mode == SEGMENT:
                extent = size * get(head, SEGMENT_LENGTH)
            if i == row:
                ways = get(head, SPLIT_ROW)
                extent += -extent % ways if ways > 1 else 0
            set_work(work, i, START, start)
            set_work(work, i, SIZE, size)
            set_work(work, i, EXTENT, extent)
        fetch_tile(env, dims, head, work, lists)
        reduce_tile(env, dims, head, work, lists)
        store_tile(env, dims, head, spans, work, lists)


def advance(work, index, bound, depth):
    """The next multi-index below that in `bound`, the last of `depth` running fastest."""
    i = depth - 1
    while i >= 0:
        at = work_of(work, i, index) + 1
        set_work(work, i, index, at)
        if at < work_of(work, i, bound):
            return
        set_work(work, i, index, 0)
        i -= 1


def reduce_tile(env, dims, head, work, lists):
    """Fold the tile along each axis not fused yet; STEP says where the outputs then lie.

    The last fold along the row is left to `store`: ``lists[2]`` holds its taps, and how many.
    """
    depth = get(head, DEPTH)
    row = depth - 1
    cap = get(head, CAP)
    set_list(lists, 2, 0, 0)
    set_list(lists, 2, 1, 0)
    set_list(lists, 2, 2, 0)
    set_list(lists, 2, 3, 1)
    for i in range(depth):
        mode = dim(dims, i, MODE)
        set_work(work, i, STEP, 1)
        outer, inner = 1, get(head, INNER)
        for j in range(i):
            outer *= work_of(work, j, EXTENT)
        for j in range(i + 1, depth):
            inner *= work_of(work, j, EXTENT)
        extent, size = work_of(work, i, EXTENT), work_of(work, i, SIZE)
        if mode == ROWS:
            for o in range(outer):
                done, k = 0, dim(dims, i, KERNEL)
                while done < k:
                    m = min(CHUNK, k - done)
                    for t in range(m):
                        set_list(
                            lists, 0, t, (o * extent + (done + t) * dim(dims, i, DILATION)) * inner
                        )
                        set_list(lists, 1, t, 0)
                    fold_rows(
                        env,
                        get(env, SCRATCH_ROWS),
                        get(env, B),
                        cap,
                        o * size * inner,
                        inner,
                        get(env, A),
                        lists,
                        dim(dims, i, STRIDE) * inner,
                        0,
                        m,
                        done == 0,
                        inner,
                        size,
                        0,
                        CHUNK,
                    )
                    done += m
            set_work(work, i, EXTENT, size)
            swap(env, A, B)
        elif mode == FLAT:
            set_work(work, i, STEP, dim(dims, i, STRIDE))
            total = outer * extent * inner
            shift = dim(dims, i, DILATION) * inner
            ways = get(head, SPLIT_ROW)
            step = dim(dims, i, STRIDE)
            leave = i == row and (step == 1 or ways > 1 or get(head, INNER) > 1)
            flat_fold(env, head, lists, dim(dims, i, KERNEL), shift, total, leave)
            if i == row and ways > 1:
                each = total // ways
                call_split(get(env, SPLIT), get(env, B), cap, each, get(env, A), each, ways)
                swap(env, A, B)
                for t in range(3):
                    o = listed(lists, 2, t)
                    set_list(lists, 2, t, o // ways + o % ways * each)
                set_work(work, row, EXTENT, extent // ways)
                set_work(work, row, STEP, 1)
        elif mode == SEGMENT:
            length = get(head, SEGMENT_LENGTH)
            set_work(work, i, STEP, length)
            fold_segments(env, head, length, inner, outer * size)


def store_tile(env, dims, head, runs, work, lists):
    """Fold what is left, finish the tile's accumulators and write them where they belong."""
    row = get(head, DEPTH) - 1
    column = row - 1
    inner = get(head, INNER)
    count, height, lift = 1, 1, 0
    for i in range(column):
        count *= work_of(work, i, SIZE)
        set_work(work, i, INDEX, 0)
    pitch = work_of(work, row, EXTENT) * inner
    if column >= 0:
        height, lift = work_of(work, column, SIZE), dim(dims, column, OUT_STRIDE)
    across, step = dim(dims, row, OUT_STRIDE), work_of(work, row, STEP)
    for _ in range(count):
        source, target, divisor = 0, 0, 1
        for i in range(column):
            at = work_of(work, i, START) + work_of(work, i, INDEX)
            source = source * work_of(work, i, EXTENT) + work_of(work, i, INDEX) * work_of(
                work, i, STEP
            )
            target += at * dim(dims, i, OUT_STRIDE)
            divisor *= run_of(runs, dims, head, i, at)[1]
        begin = 0
        while begin < height:
            # A block of rows of one divisor, and along them stretches of one divisor.
            m, above = height - begin, divisor
            block, to = source, target
            if column >= 0:
                at = work_of(work, column, START) + begin
                stop, value = run_of(runs, dims, head, column, at)
                m, above = min(m, stop - at), divisor * value
                block = (
                    source * work_of(work, column, EXTENT) + begin * work_of(work, column, STEP)
                ) * pitch
                to += at * lift
            done = 0
            while done < work_of(work, row, SIZE):
                at = work_of(work, row, START) + done
                stop, value = run_of(runs, dims, head, row, at)
                n = min(work_of(work, row, SIZE) - done, stop - at)
                total = get(head, DIVISOR) if get(head, COUNTED) == 2 else above * value
                call_store(
                    get(env, STORE),
                    get(env, VALUES),
                    get(env, POSITIONS),
                    to + at * across,
                    lift,
                    across,
                    get(head, OUT_WITHIN),
                    get(env, A),
                    get(head, CAP),
                    block + done * step * inner,
                    pitch * work_of(work, column, STEP) if column >= 0 else 0,
                    listed(lists, 2, 0),
                    listed(lists, 2, 1),
                    listed(lists, 2, 2),
                    listed(lists, 2, 3),
                    step,
                    inner,
                    n,
                    m,
                    total,
                    get(env, PARAMS),
                )
                done += n
            begin += m
        advance(work, INDEX, SIZE, column)


def run_of(runs, dims, head, i, at):
    """``(stop, divisor)`` of the run that output `at` of dimension `i` lies in."""
    low, high = dim(dims, i, RUNS), dim(dims, i, RUNS_END) - 1
    if get(head, COUNTED) != 1 or high < low:
        return dim(dims, i, OUT), 1
    while low < high:
        middle = (low + high) // 2
        if span(runs, middle, STOPS) > at:
            high = middle
        else:
            low = middle + 1
    return span(runs, low, STOPS), span(runs, low, DIVISORS)
