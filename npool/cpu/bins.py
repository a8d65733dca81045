"""The driver for windows that differ from one another: adaptive bins, and windows drawn.

A table says of each output of a pooled axis where its taps begin and how many there are. The
axes before the row are folded while rows are fetched, for many planes at once: they share their
bins. Then each bin of the row is folded, for all the rows that there are. `npool.cpu.binning`
lays the call out; `npool.cpu.folds` says what the arguments are.

The dimension before the row, the *group*, is not pooled: its elements are planes. Of the one
before that, a few outputs are taken at a time; of those before, one. `PLAIN` says that a
dimension is not pooled. Bins of the row that are long are folded in segments: `SEGMENT` says
while they are fetched, `ROWS` afterwards. `FUSED` is all else.
"""

# The free names below come from the namespace that `npool.cpu.drivers` compiles this in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


def bins(shared, x, values, positions, scratch, first, last):
    """Compute the tasks ``first <= task < last``; every output belongs to one task."""
    env = scratch
    work = begin(shared, x, values, positions, scratch)
    dims, head, spans = get(scratch, DIMS_AT), get(scratch, HEAD_AT), get(scratch, SPANS_AT)
    lists = work + (get(head, DEPTH) + 1) * WORK_SIZE * 8
    a, b, c = get(env, A), get(env, B), get(env, C)
    for task in range(first, last):
        if stopped(env):
            break
        bins_task(env, dims, head, spans, work, lists, task)
        put(env, A, a)
        put(env, B, b)
        put(env, C, c)


def bin_of(head, dims, i, o, plane):
    """The entry of the table of bins for output `o` of dimension `i`."""
    return dim(dims, i, RUNS) + get(head, DRAWN) * plane * dim(dims, i, OUT) + o


def bins_task(env, dims, head, spans, work, lists, task):
    """The results of some planes, in one tile of the row and of the dimension before the group."""
    row = get(head, DEPTH) - 1
    some, inner = row - 2, get(head, INNER)
    rest = task
    for back in range(row + 1):
        i = row - back
        rest, q = rest // dim(dims, i, GRID), rest % dim(dims, i, GRID)
        set_work(work, i, START, q * dim(dims, i, TILE))
        set_work(work, i, SIZE, min(dim(dims, i, TILE), dim(dims, i, OUT) - q * dim(dims, i, TILE)))
        set_work(work, i, TAPS, 1)
    # The axes before: where the first taps lie.
    source, place, target, above, plane = 0, 0, 0, 1, 0
    for i in range(some):
        if dim(dims, i, MODE) == PLAIN:
            o = work_of(work, i, START)
            plane = plane * dim(dims, i, OUT) + o
            source += o * dim(dims, i, IN_STRIDE)
            target += o * dim(dims, i, OUT_STRIDE)
    for i in range(some):
        if dim(dims, i, MODE) != PLAIN:
            o = work_of(work, i, START)
            s = bin_of(head, dims, i, o, plane)
            source += span(spans, s, BASE) * dim(dims, i, IN_STRIDE)
            place += span(spans, s, BASE) * dim(dims, i, PLACE)
            target += o * dim(dims, i, OUT_STRIDE)
            above *= span(spans, s, DIVISORS)
            set_work(work, i, TAPS, span(spans, s, INSIDE))
    planes, start = work_of(work, row - 1, SIZE), work_of(work, row - 1, START)
    source += start * dim(dims, row - 1, IN_STRIDE)
    target += start * dim(dims, row - 1, OUT_STRIDE)
    # The row: which part of it is seen.
    o, n, mode = work_of(work, row, START), work_of(work, row, SIZE), dim(dims, row, MODE)
    first, low, extent, step = 0, o, n, 1
    if mode != PLAIN:
        first = bin_of(head, dims, row, o, plane)
        low = span(spans, first, BASE)
        extent = span(spans, first + n - 1, BASE) + span(spans, first + n - 1, INSIDE) - low
    if mode == SEGMENT:
        step = get(head, SEGMENT_LENGTH)
        extent = n * step
    pitch = extent * inner
    for k in range(work_of(work, some, SIZE)):
        if stopped(env):
            return
        at, p = source, place
        begun = work_of(work, some, START) + k
        if dim(dims, some, MODE) != PLAIN:
            s = bin_of(head, dims, some, begun, plane)
            at += span(spans, s, BASE) * dim(dims, some, IN_STRIDE)
            p += span(spans, s, BASE) * dim(dims, some, PLACE)
            set_work(work, some, TAPS, span(spans, s, INSIDE))
        else:
            at += begun * dim(dims, some, IN_STRIDE)
        bins_fetch(
            env, dims, head, spans, work, lists, k * planes * pitch, pitch, planes, at, p, first,
            low, extent,
        )  # fmt: skip
    rows = planes * work_of(work, some, SIZE)
    if mode == ROWS:
        bins_cut(env, head, spans, lists, first, n, pitch, rows)
        step = get(head, SEGMENT_LENGTH)
        pitch = n * step * inner
    if mode in (ROWS, SEGMENT):
        fold_segments(env, head, step, inner, rows * n)
    elif mode != PLAIN:
        call_picks(
            get(env, PICKS), get(env, B), get(head, CAP), get(env, A), pitch,
            spans + first * 8 * SPANS_WIDTH, inner, n, rows,
        )  # fmt: skip
        swap(env, A, B)
        pitch = n * inner
    counts = get(env, COLS) + 8 * get(head, SIZE_COLS)
    if mode != PLAIN and get(head, COUNTED) == 1:
        for i in range(n):
            for j in range(inner):
                put(counts, i * inner + j, span(spans, first + i, DIVISORS))
    bins_store(env, dims, head, spans, work, target, above, plane, planes, pitch, step, counts)


def bins_fetch(
    env, dims, head, spans, work, lists, at, pitch, planes, source, place, first, low, extent
):
    """Fetch a row of every plane of the group to A at `at`, the axes before it folded."""
    row = get(head, DEPTH) - 1
    inner, length = get(head, INNER), get(head, SEGMENT_LENGTH)
    along, each = dim(dims, row, IN_STRIDE), dim(dims, row, PLACE)
    stride = dim(dims, row - 1, IN_STRIDE)
    fused = 1
    for i in range(row):
        fused *= work_of(work, i, TAPS)
    if dim(dims, row, MODE) != SEGMENT:
        some, o, p = row - 2, source + low * along, place + low * each
        if fused <= 4 and fused == work_of(work, some, TAPS) and get(head, STRIDED) == 0:
            # Few rows, at equal distances, which no list need hold.
            apart, climb = dim(dims, some, IN_STRIDE), dim(dims, some, PLACE)
            call_rows(
                get(env, SOURCE_ROWS), get(env, A), get(head, CAP), at, pitch, get(env, X), o,
                o + apart, o + 2 * apart, o + 3 * apart, stride, get(env, COLS), p, p + climb,
                p + 2 * climb, p + 3 * climb, 0, get(env, PARAMS), fused, True, extent * inner,
                planes, 0, 4,
            )  # fmt: skip
            return
        fold_source(
            env, dims, head, work, lists, at, pitch, planes, o, stride, p, 0, fused, 1, True,
            extent * inner,
        )  # fmt: skip
        return
    for s in range(work_of(work, row, SIZE)):
        begun, taps = span(spans, first + s, BASE), span(spans, first + s, INSIDE)
        pieces, rest = taps // length, taps % length
        to = at + s * length * inner
        fold_source(
            env, dims, head, work, lists, to, pitch, planes, source + begun * along, stride,
            place + begun * each, 0, fused, pieces, True, length * inner,
        )  # fmt: skip
        if rest > 0:
            begun += pieces * length
            fold_source(
                env, dims, head, work, lists, to, pitch, planes, source + begun * along, stride,
                place + begun * each, 0, fused, 1, False, rest * inner,
            )  # fmt: skip


def bins_cut(env, head, spans, lists, first, n, pitch, rows):
    """Fold the bins of rows in A into segments: row by row, a segment a bin."""
    inner, length = get(head, INNER), get(head, SEGMENT_LENGTH)
    low = span(spans, first, BASE)
    for s in range(n):
        start, taps = (span(spans, first + s, BASE) - low) * inner, span(spans, first + s, INSIDE)
        pieces, rest = taps // length, taps % length
        for piece in range(pieces):
            set_list(lists, 0, piece, start + piece * length * inner)
            set_list(lists, 1, piece, 0)
        to = s * length * inner
        fold_rows(
            env, get(env, SCRATCH_ROWS), get(env, B), get(head, CAP), to, n * length * inner,
            get(env, A), lists, pitch, 0, pieces, True, length * inner, rows, 0, CHUNK,
        )  # fmt: skip
        if rest > 0:
            set_list(lists, 0, 0, start + pieces * length * inner)
            fold_rows(
                env, get(env, SCRATCH_ROWS), get(env, B), get(head, CAP), to, n * length * inner,
                get(env, A), lists, pitch, 0, 1, False, rest * inner, rows, 0, CHUNK,
            )  # fmt: skip
    swap(env, A, B)


def bins_store(env, dims, head, spans, work, target, above, plane, planes, pitch, step, counts):
    """Finish what lies in A and write it."""
    row = get(head, DEPTH) - 1
    some, cap = row - 2, get(head, CAP)
    n, across = work_of(work, row, SIZE), dim(dims, row, OUT_STRIDE)
    lift, within = dim(dims, row - 1, OUT_STRIDE), get(head, OUT_WITHIN)
    to = target + work_of(work, row, START) * across
    several = work_of(work, some, SIZE)
    if get(head, COUNTED) != 1 and planes < several:
        # No divisors: rows of one plane are as good as those of one output of the axis before.
        along = dim(dims, some, OUT_STRIDE)
        where = to + work_of(work, some, START) * along
        for k in range(planes):
            call_store(
                get(env, STORE), get(env, VALUES), get(env, POSITIONS), where + k * lift, along,
                across, within, get(env, A), cap, k * pitch, planes * pitch, 0, 0, 0, 1, step,
                get(head, INNER), n, several, 1, get(env, PARAMS),
            )  # fmt: skip
        return
    for k in range(several):
        o, divisor = work_of(work, some, START) + k, above
        if dim(dims, some, MODE) != PLAIN:
            divisor *= span(spans, bin_of(head, dims, some, o, plane), DIVISORS)
        where, start = to + o * dim(dims, some, OUT_STRIDE), k * planes * pitch
        if dim(dims, row, MODE) != PLAIN and get(head, COUNTED) == 1:
            call_divided(
                get(env, DIVIDED), get(env, VALUES), get(env, POSITIONS), where, lift, across,
                within, get(env, A), cap, start, pitch, step, get(head, INNER), n, planes, counts,
                divisor, get(env, PARAMS),
            )  # fmt: skip
        else:
            call_store(
                get(env, STORE), get(env, VALUES), get(env, POSITIONS), where, lift, across,
                within, get(env, A), cap, start, pitch, 0, 0, 0, 1, step, get(head, INNER), n,
                planes, divisor, get(env, PARAMS),
            )  # fmt: skip
