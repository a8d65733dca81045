"""The driver that hands gradients back to all that a window saw: sums and averages, transposed.

Element `i` of an axis lies in the windows `o` with ``o * stride - before + j * dilation == i``.
Write ``i + before = m * stride + r``: the windows of a phase `r` are ``m - c - t * gap`` for a
few `t`, the same for all its elements. So what an axis needs is, for each phase, a sum of rows
that lie a fixed distance apart, and rows of phases put side by side: no sum is ever subtracted
from another, and the order of additions depends on nothing but the phase.

For a tile of the result the gradients that it needs are fetched into scratch (lifted, that is
divided by their counts, with zeros around them), then made longer axis by axis, the last first.
The first pooled axis is summed while its rows are written. `npool.cpu.spreading` lays out the
tables, `npool.cpu.folds` says what else the arguments are.
"""

# The free names below come from the namespace that `npool.cpu.spreading` compiles this in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


def interleave(dst, at, pitch, step, src, o0, o1, o2, o3, stride, ways, n, m):
    """Put `ways` (1 to 4) rows of `n` elements side by side, `step` apart, `m` times.

    The first time rows start at o0...o3 of `src` and at `at` of `dst`; each next time `stride`
    and `pitch` further.
    """
    for r in range(m):
        s = r * stride
        interleave_row(dst, at + r * pitch, step, src, o0 + s, o1 + s, o2 + s, o3 + s, ways, n)


def repeat(dst, at, pitch, step, src, o, stride, times, n, m):
    """Write each of `n` elements `times` times, `step` apart, and `m` such rows."""
    for r in range(m):
        repeat_row(dst, at + r * pitch, step, src, o + r * stride, times, n)


def product(work, first, last, column):
    """The product of a column of `work` over the dimensions from `first` up to `last`."""
    size = 1
    for i in range(first, last):
        size *= work_of(work, i, column)
    return size


def locate(work, dims, depth, task):
    """Note of each dimension which elements of the result and which windows the task needs."""
    for k in range(depth):
        i = depth - 1 - k
        start = task % dim(dims, i, GRID) * dim(dims, i, TILE)
        task = task // dim(dims, i, GRID)
        size = min(dim(dims, i, TILE), dim(dims, i, LENGTH) - start)
        first = start + dim(dims, i, BEFORE)
        step = dim(dims, i, STEP)
        low = first // step - dim(dims, i, BACK)
        count = (first + size - 1) // step + 1 - low
        set_work(work, i, START, start)
        set_work(work, i, SIZE, size)
        set_work(work, i, LOW, low)
        set_work(work, i, EXTENT, count)
        # Of the windows, those that there are; the rest are zeros.
        set_work(work, i, FROM, max(low, 0))
        set_work(work, i, UNTIL, min(low + count, dim(dims, i, OUT)))
        set_work(work, i, SKIP, 0)


def run_of(dims, runs, i, o):
    """The run of equal counts that window `o` of dimension `i` is in."""
    k = dim(dims, i, RUNS)
    while run(runs, k, STOP_AT) <= o:
        k += 1
    return k


def load(shared, work, dims, runs, depth, a, cap, line):
    """Fetch the windows of a tile, each divided by its count where there are counts."""
    total = product(work, 0, depth, EXTENT)
    whole = 1
    for i in range(depth):
        inside = work_of(work, i, UNTIL) - work_of(work, i, FROM)
        if inside < work_of(work, i, EXTENT):
            whole = 0
        if inside <= 0:
            call_fill(get(shared, FILL), a, cap, 0, 0, total, 1)
            return
        set_work(work, i, INDEX, work_of(work, i, FROM))
    if whole == 0:
        call_fill(get(shared, FILL), a, cap, 0, 0, total, 1)
    row, column = depth - 1, depth - 2
    pitch = work_of(work, row, EXTENT)
    while True:
        at, source, divisor = 0, 0, 0
        for i in range(column):
            o = work_of(work, i, INDEX)
            at = at * work_of(work, i, EXTENT) + o - work_of(work, i, LOW)
            source += o * dim(dims, i, OUT_STRIDE)
            divisor += run(runs, run_of(dims, runs, i, o), WEIGHED)
        y, k = work_of(work, column, FROM), run_of(dims, runs, column, work_of(work, column, FROM))
        while y < work_of(work, column, UNTIL):
            bottom = min(run(runs, k, STOP_AT), work_of(work, column, UNTIL))
            x, j = work_of(work, row, FROM), run_of(dims, runs, row, work_of(work, row, FROM))
            top = at * work_of(work, column, EXTENT) + y - work_of(work, column, LOW)
            while x < work_of(work, row, UNTIL):
                end = min(run(runs, j, STOP_AT), work_of(work, row, UNTIL))
                count = divisor + run(runs, k, WEIGHED) + run(runs, j, WEIGHED)
                fetch(
                    shared, dims, row, a, cap, top * pitch + x - work_of(work, row, LOW), pitch,
                    source + y * dim(dims, column, OUT_STRIDE) + x * dim(dims, row, OUT_STRIDE),
                    dim(dims, column, OUT_STRIDE), get(shared, PARAMS) + 8 * count, end - x,
                    bottom - y, line,
                )  # fmt: skip
                x, j = end, j + 1
            y, k = bottom, k + 1
        i = column - 1
        while i >= 0:
            following = work_of(work, i, INDEX) + 1
            set_work(work, i, INDEX, following)
            if following < work_of(work, i, UNTIL):
                break
            set_work(work, i, INDEX, work_of(work, i, FROM))
            i -= 1
        if i < 0:
            return


def fetch(shared, dims, row, a, cap, at, pitch, source, stride, params, n, m, line):
    """Lift `m` rows of `n` gradients, which may lie apart, into rows of scratch."""
    gradients, fold = get(shared, GRADIENTS), get(shared, SOURCE_ROWS)
    if dim(dims, row, OUT_STRIDE) == 1:
        call_rows(
            fold, a, cap, at, pitch, gradients, source, source, source, source, stride, 0, 0, 0,
            0, 0, 0, params, 1, True, n, m, 0, 4,
        )  # fmt: skip
        return
    for r in range(m):
        call_gather(
            get(shared, GATHER), line, gradients, source + r * stride, dim(dims, row, OUT_STRIDE),
            0, 1, n,
        )  # fmt: skip
        call_rows(
            fold, a, cap, at + r * pitch, 0, line, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, params, 1,
            True, n, 1, 0, 4,
        )  # fmt: skip


def summed(shared, dst, cap, at, pitch, src, low, gap, stride, taps, n, m):
    """Sum `taps` rows of scratch, the first at `low`, the others `gap` further each, `m` times."""
    if taps == 0:
        call_fill(get(shared, FILL), dst, cap, at, pitch, n, m)
        return
    if stride == n and pitch == n:
        n, m = n * m, 1
    t = 0
    while t < taps:
        k = min(4, taps - t)
        o = low + t * gap
        call_rows(
            get(shared, SCRATCH_ROWS), dst, cap, at, pitch, src, o, o + gap, o + 2 * gap,
            o + 3 * gap, stride, 0, 0, 0, 0, 0, 0, get(shared, PARAMS), k, t == 0, n, m, 0, 4,
        )  # fmt: skip
        t += k


def lowest(work, dims, phases, i, p, m):
    """Of the windows `m` of phase `p`, the first one's place in scratch."""
    k = dim(dims, i, PHASES) + p
    reach = phase(phases, k, SHIFT) + (phase(phases, k, TAPS) - 1) * dim(dims, i, GAP)
    return m - work_of(work, i, LOW) - reach


def spread_rows(shared, work, dims, phases, i, depth, dst, src, cap):
    """Make dimension `i` of a tile longer, whose elements are rows."""
    outer, inner = product(work, 0, i, EXTENT), product(work, i + 1, depth, EXTENT)
    step, size, extent = dim(dims, i, STEP), work_of(work, i, SIZE), work_of(work, i, EXTENT)
    start, gap = work_of(work, i, START), dim(dims, i, GAP) * inner
    for y in range(min(step, size)):
        p = (start + y) % step
        m = (start + y + dim(dims, i, BEFORE)) // step
        low = lowest(work, dims, phases, i, p, m) * inner
        taps = phase(phases, dim(dims, i, PHASES) + p, TAPS)
        rows = (size - y + step - 1) // step
        if step == 1:
            summed(
                shared, dst, cap, 0, size * inner, src, low, gap, extent * inner, taps,
                size * inner, outer,
            )  # fmt: skip
        else:
            for u in range(outer):
                summed(
                    shared, dst, cap, (u * size + y) * inner, step * inner, src,
                    u * extent * inner + low, gap, inner, taps, inner, rows,
                )  # fmt: skip
    set_work(work, i, EXTENT, size)


def spread_row(shared, work, dims, head, phases, i, depth, dst, src, cap, sums):
    """Make the last dimension of a tile longer: whole periods of it, of which some is skipped.

    `dst` is scratch, or the place in the result where the tile starts.
    """
    outer = product(work, 0, i, EXTENT)
    step, extent = dim(dims, i, STEP), work_of(work, i, EXTENT)
    first = work_of(work, i, START) + dim(dims, i, BEFORE)
    m = first // step
    n = extent - dim(dims, i, BACK)
    base, pitch = src, extent
    if get(head, SUMMED) == 1:
        base, pitch = sums, n
        for p in range(step):
            k = dim(dims, i, PHASES) + p
            # A class of phases is summed once, at its first.
            if phase(phases, k, OWNER) == 1:
                summed(
                    shared, sums, cap, phase(phases, k, PLACE) * outer * n, n, src,
                    lowest(work, dims, phases, i, p, m), dim(dims, i, GAP), extent,
                    phase(phases, k, TAPS), n, outer,
                )  # fmt: skip
    r = 0
    while r < step:
        # Many elements of one class: each sum, that many times.
        p = (r - dim(dims, i, BEFORE)) % step
        times = 1
        if p < dim(dims, i, LENGTH):  # there may be fewer phases than elements of a period
            times = min(phase(phases, dim(dims, i, PHASES) + p, TIMES), step - r)
        if times > 4:
            call_repeat(
                get(shared, REPEAT), dst, r, n * step, step, base,
                beginning(work, dims, head, phases, i, m, r, outer * n), pitch, times, n, outer,
            )  # fmt: skip
            r += times
            continue
        ways = min(4, step - r)
        o0 = beginning(work, dims, head, phases, i, m, r, outer * n)
        o1 = beginning(work, dims, head, phases, i, m, min(r + 1, step - 1), outer * n)
        o2 = beginning(work, dims, head, phases, i, m, min(r + 2, step - 1), outer * n)
        o3 = beginning(work, dims, head, phases, i, m, min(r + 3, step - 1), outer * n)
        call_interleave(
            get(shared, INTERLEAVE), dst, r, n * step, step, base, o0, o1, o2, o3, pitch, ways, n,
            outer,
        )  # fmt: skip
        r += ways
    set_work(work, i, EXTENT, n * step)
    set_work(work, i, SKIP, first - m * step)


def beginning(work, dims, head, phases, i, m, r, size):
    """Where the row of the `r`-th elements of periods starts: among gradients, or sums."""
    p = (r - dim(dims, i, BEFORE)) % dim(dims, i, STEP)
    if get(head, SUMMED) == 1:
        return phase(phases, dim(dims, i, PHASES) + p, PLACE) * size
    return lowest(work, dims, phases, i, p, m)


def target_of(work, dims, depth):
    """Where in the result a tile starts."""
    target = 0
    for i in range(depth):
        target += work_of(work, i, START) * dim(dims, i, IN_STRIDE)
    return target


def deliver(shared, work, dims, head, phases, depth, src, cap, zeros, aside):
    """Sum the rows of the first pooled dimension, and write them.

    Past the caches they go by way of `aside`.
    """
    pivot, flat, item = get(head, PIVOT), get(head, FLAT), get(head, STREAM_BYTES)
    row = depth - 1
    inner = product(work, pivot + 1, depth, EXTENT)
    step, size = dim(dims, pivot, STEP), work_of(work, pivot, SIZE)
    begun = work_of(work, pivot, START)
    n = 1
    for i in range(flat, depth):
        n *= work_of(work, i, SIZE)
    across, lift = dim(dims, row, IN_STRIDE), dim(dims, pivot, IN_STRIDE)
    target = target_of(work, dims, depth)
    for i in range(depth):
        set_work(work, i, INDEX, 0)
    while True:
        start, to = 0, target
        for i in range(flat):
            at = work_of(work, i, INDEX)
            if i == pivot:
                start = start * work_of(work, i, EXTENT)
            else:
                start = start * work_of(work, i, EXTENT) + at
                to += at * dim(dims, i, IN_STRIDE)
        for i in range(flat, depth):
            start = start * work_of(work, i, EXTENT) + work_of(work, i, SKIP)
        out, place = get(shared, RESULT), to
        if item > 0:
            out, place = aside, 0
        y = 0
        while y < min(step, size):
            p = (begun + y) % step
            m = (begun + y + dim(dims, pivot, BEFORE)) // step
            low = lowest(work, dims, phases, pivot, p, m) * inner
            k = dim(dims, pivot, PHASES) + p
            write(
                shared, out, place + y * lift, step * lift, across, src, zeros, cap, start + low,
                inner, dim(dims, pivot, GAP) * inner, phase(phases, k, TAPS), n,
                (size - y + step - 1) // step,
            )  # fmt: skip
            times = 1
            if across == 1:
                # Rows that are the same windows' are copies, while the first is in the cache.
                times = min(
                    phase(phases, k, TIMES), step - (begun + y + dim(dims, pivot, BEFORE)) % step
                )
                times = min(times, min(step, size) - y)
                again(
                    out + (place + y * lift) * get(head, RESULT_BYTES),
                    lift * get(head, RESULT_BYTES), n * get(head, RESULT_BYTES), step, times,
                    size - y,
                )  # fmt: skip
            y += times
        if item > 0:
            stream(get(shared, RESULT) + to * item, aside, size * n * item)
        i = flat - 1
        while i >= 0:
            following = work_of(work, i, INDEX) + 1
            set_work(work, i, INDEX, following)
            if i != pivot and following < work_of(work, i, SIZE):
                break
            set_work(work, i, INDEX, 0)
            i -= 1
        if i < 0:
            return


def again(at, lift, width, step, times, size):
    """Copy each `step`-th of `size` rows to the `times` - 1 behind it; bytes, `lift` apart."""
    for y in range(0, size, step):
        row, stop, done = at + y * lift, min(times, size - y), 1
        while done < stop:
            # Rows that lie together by as many as there are, others one by one.
            m = min(done, stop - done) if lift == width else 1
            copy(row + done * lift, row, m * width)
            done += m


def write(shared, out, to, lift, across, src, zeros, cap, start, pitch, gap, taps, n, m):
    """Write `m` rows of `n` results, sums of `taps` rows of scratch each."""
    if taps == 0:
        src, start, pitch, taps = zeros, 0, 0, 1
    if pitch == n and lift == n and across == 1:
        n, m = n * m, 1
    call_store(
        get(shared, STORE), out, 0, to, lift, across, 1, src, cap, start, pitch,
        gap, 2 * gap, 3 * gap, taps, 1, 1, n, m, 1, get(shared, PARAMS),
    )  # fmt: skip


def stopped(shared):
    """Whether the caller no longer wants the result (Ctrl-C while a worker computes)."""
    return get(shared, STOP) != 0 and get(get(shared, STOP), 0) != 0


def spread(shared, dims, head, tables, scratch, first, last):
    """Compute the tasks ``first <= task < last``, a tile of the result each."""
    depth, cap, pivot = get(head, DEPTH), get(head, CAP), get(head, PIVOT)
    phases, runs = tables, get(head, RUNS_AT)
    work = scratch
    size = cap * get(head, ITEM_BYTES)
    a = (scratch + depth * WORK_WIDTH * 8 + 63) // 64 * 64
    b, sums, zeros = a + size, a + 2 * size, a + 3 * size
    line = zeros + get(head, ZEROS) * get(head, ITEM_BYTES)
    call_fill(get(shared, FILL), zeros, cap, 0, 0, get(head, ZEROS), 1)
    for task in range(first, last):
        if stopped(shared):
            break
        locate(work, dims, depth, task)
        load(shared, work, dims, runs, depth, a, cap, line)
        src, dst = a, b
        if get(head, DIRECT) == 1:
            into = get(shared, RESULT) + target_of(work, dims, depth) * get(head, ITEM_BYTES)
            if get(head, STREAM_BYTES) == 0:
                dst = into
            spread_row(shared, work, dims, head, phases, depth - 1, depth, dst, src, cap, sums)
            if get(head, STREAM_BYTES) > 0:
                stream(into, dst, product(work, 0, depth, SIZE) * get(head, ITEM_BYTES))
            continue
        for k in range(depth - 1 - pivot):
            i = depth - 1 - k
            if dim(dims, i, POOLED) == 1:
                if i == depth - 1 and dim(dims, i, STEP) > 1:
                    spread_row(shared, work, dims, head, phases, i, depth, dst, src, cap, sums)
                else:
                    spread_rows(shared, work, dims, phases, i, depth, dst, src, cap)
                src, dst = dst, src
        deliver(shared, work, dims, head, phases, depth, src, cap, zeros, dst)
    if get(head, STREAM_BYTES) > 0:
        fence()
