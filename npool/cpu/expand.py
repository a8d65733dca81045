"""The driver that hands gradients back to bins: each element gets those of the bins it lies in.

Bins differ in length, but most elements of one lie in no other, and get the same: all that is
computed is the elements at which bins begin or end, and the others are copies. For a task (some
planes, or a stretch of one) gradients are divided by what their bins hold (`share`), in rows
that end with a zero. Then the result is written row by row: a row whose elements lie in the same
bins as the one before it is a copy (`again`); of any other the rows of gradients are added
(`total`), and the sum is laid out along the row: by a table (`spell`), bin by bin (`runs`), or
channel by channel (`channels`). Small planes are one row each. `npool.cpu.expanding` lays out the
tables.
"""

# The free names below come from the namespace that `npool.cpu.expanding` compiles this in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


def share(dst, pitch, src, lift, apart, across, counts, whole, n, c, m):
    """Write `m` rows of gradients of `n` bins, `c` of each, over the elements that a bin has.

    Bins are `apart`, their gradients `across`, rows `lift` in `src`; a bin has its count times
    `whole` elements. Behind each row follows a zero, which changes no sum: -0.0.
    """
    for r in range(m):
        to = dst + r * pitch * HELD
        for j in range(n):
            count = held(held(value_at(counts + j * HELD, 1)[0]) * held(whole))
            at, into = src + (r * lift + j * apart) * ITEM, to + j * c * HELD
            for q in range(c):
                value = decode(source_at(at + q * across * ITEM, 1)[0])
                value_at(into + q * HELD, 1)[0] = held(value / count)
        value_at(to + n * c * HELD, 1)[0] = held(NOTHING)


def total(dst, a, b, n):
    """Add two rows of `n`."""
    for i in range(n):
        value = held(value_at(a + i * HELD, 1)[0] + value_at(b + i * HELD, 1)[0])
        value_at(dst + i * HELD, 1)[0] = value


def again(dst, src, n):
    """Copy `n` results."""
    interleave_row(dst, 0, 1, src, 0, 0, 0, 0, 1, n)


def spell(out, lift, src, pitch, table, taps, n, m):
    """Write `m` rows of `n` results, each the sum of the `taps` gradients that a table names."""
    for r in range(m):
        row, to = src + r * pitch * HELD, out + r * lift * ITEM
        if taps == 1:
            for i in range(n):
                value = value_at(row + get(table, i) * HELD, 1)[0]
                result_at(to + i * ITEM, 1)[0] = encode(value)
        elif taps == 2:
            for i in range(n):
                one = value_at(row + get(table, 2 * i) * HELD, 1)[0]
                two = value_at(row + get(table, 2 * i + 1) * HELD, 1)[0]
                result_at(to + i * ITEM, 1)[0] = encode(held(one + two))
        elif taps == 4:
            for i in range(n):
                one = value_at(row + get(table, 4 * i) * HELD, 1)[0]
                two = value_at(row + get(table, 4 * i + 1) * HELD, 1)[0]
                three = value_at(row + get(table, 4 * i + 2) * HELD, 1)[0]
                four = value_at(row + get(table, 4 * i + 3) * HELD, 1)[0]
                value = held(held(held(one + two) + three) + four)
                result_at(to + i * ITEM, 1)[0] = encode(value)
        else:
            for i in range(n):
                value = held(value_at(row + get(table, taps * i) * HELD, 1)[0])
                for t in range(1, taps):
                    more = value_at(row + get(table, taps * i + t) * HELD, 1)[0]
                    value = held(value + more)
                result_at(to + i * ITEM, 1)[0] = encode(value)


def runs(out, src, table, n):
    """Write a row of `n` runs of equal results, of the bins and the length that a table says."""
    to = out
    for k in range(n):
        at, length = src + get(table, 3 * k) * HELD, get(table, 3 * k + 2)
        value = held(value_at(at, 1)[0])
        for t in range(1, get(table, 3 * k + 1)):
            value = held(value + value_at(at + t * HELD, 1)[0])
        bits = encode(value)
        for i in range(length):
            result_at(to + i * ITEM, 1)[0] = bits
        to += length * ITEM


def channels(out, src, table, n, c):
    """The same of `c` results an element, which lie together."""
    to = out
    for k in range(n):
        at, count = src + get(table, 3 * k) * c * HELD, get(table, 3 * k + 1)
        if count == 1:
            for q in range(c):
                result_at(to + q * ITEM, 1)[0] = encode(value_at(at + q * HELD, 1)[0])
        elif count == 2:
            for q in range(c):
                one = value_at(at + q * HELD, 1)[0]
                two = value_at(at + (c + q) * HELD, 1)[0]
                result_at(to + q * ITEM, 1)[0] = encode(held(one + two))
        else:
            for q in range(c):
                value = held(value_at(at + q * HELD, 1)[0])
                for t in range(1, count):
                    value = held(value + value_at(at + (t * c + q) * HELD, 1)[0])
                result_at(to + q * ITEM, 1)[0] = encode(value)
        for i in range(1, get(table, 3 * k + 2)):
            interleave_row(to, i * c, 1, to, 0, 0, 0, 0, 1, c)
        to += get(table, 3 * k + 2) * c * ITEM


def stopped(shared):
    """Whether the caller no longer wants the result (Ctrl-C while a worker computes)."""
    return get(shared, STOP) != 0 and get(get(shared, STOP), 0) != 0


def load(shared, work, dims, head, tables, depth, source, shares):
    """Divide the gradients that a task needs by what their bins hold."""
    first, row = get(head, FIRST), depth - 1
    for i in range(first, row):
        set_work(work, i, INDEX, 0)
    at = shares
    while True:
        place, whole = source, 1
        for i in range(first, row):
            o = work_of(work, i, LOW) + work_of(work, i, INDEX)
            place += o * dim(dims, i, GRADIENT) * get(head, ITEM_BYTES)
            whole *= entry(tables, dim(dims, i, COUNTS) + o, TAPS)
        call_share(
            get(shared, SHARE), at, 0, place, 0, dim(dims, row, GRADIENT), get(head, ACROSS),
            get(shared, HELD_COUNTS), whole, dim(dims, row, OUT), get(head, CHANNELS), 1,
        )  # fmt: skip
        at += get(head, PITCH) * get(head, HELD_BYTES)
        i = row - 1
        while i >= first:
            following = work_of(work, i, INDEX) + 1
            set_work(work, i, INDEX, following)
            if following < work_of(work, i, BINS):
                break
            set_work(work, i, INDEX, 0)
            i -= 1
        if i < first:
            return


def added(shared, work, dims, head, tables, depth, shares, sums):
    """Where the gradients lie that a row needs: added up, if there are several of them."""
    first, row = get(head, FIRST), depth - 1
    base, times, bytes_each = shares, 1, get(head, PITCH) * get(head, HELD_BYTES)
    apart = 1
    for k in range(row - first):
        i = row - 1 - k
        e = dim(dims, i, COVER) + work_of(work, i, START) + work_of(work, i, INDEX)
        base += (entry(tables, e, BEGIN) - work_of(work, i, LOW)) * apart * bytes_each
        set_work(work, i, APART, apart)
        set_work(work, i, TIMES, entry(tables, e, TAPS))
        apart *= work_of(work, i, BINS)
        times *= entry(tables, e, TAPS)
    found = base
    for t in range(1, times):
        rest, at = t, base
        for k in range(row - first):
            i = row - 1 - k
            at += rest % work_of(work, i, TIMES) * work_of(work, i, APART) * bytes_each
            rest = rest // work_of(work, i, TIMES)
        call_total(get(shared, TOTAL), sums, found, at, get(head, PITCH))
        found = sums
    return found


def lay_rows(shared, work, dims, head, tables, depth, result, source, shares, sums):
    """Write a task's rows, for its part of the first axis that has bins."""
    first, row = get(head, FIRST), depth - 1
    for i in range(first, row):
        e = dim(dims, i, COVER) + work_of(work, i, START)
        last = entry(tables, e + work_of(work, i, SIZE) - 1, BEGIN)
        last += entry(tables, e + work_of(work, i, SIZE) - 1, TAPS)
        set_work(work, i, LOW, entry(tables, e, BEGIN))
        set_work(work, i, BINS, last - entry(tables, e, BEGIN))
    load(shared, work, dims, head, tables, depth, source, shares)
    for i in range(first, row):
        set_work(work, i, INDEX, 0)
    item, c = get(head, ITEM_BYTES), get(head, CHANNELS)
    while True:
        to, like = result, 0
        for i in range(first, row):
            o = work_of(work, i, START) + work_of(work, i, INDEX)
            to += o * dim(dims, i, RESULT) * item
            repeats = work_of(work, i, INDEX) > 0
            repeats &= entry(tables, dim(dims, i, COVER) + o, SAME) == 1
            if like == 0 and repeats:
                like = dim(dims, i, RESULT) * item
        if like != 0:
            call_again(get(shared, AGAIN), to, to - like, dim(dims, row, LENGTH) * c)
        else:
            src = added(shared, work, dims, head, tables, depth, shares, sums)
            if get(head, FORM) == BY_TABLE:
                call_spell(
                    get(shared, SPELL), to, 0, src, 0, get(shared, TABLE), get(head, MOST),
                    dim(dims, row, LENGTH) * c, 1,
                )  # fmt: skip
            elif get(head, FORM) == BY_RUNS:
                call_runs(get(shared, RUNS), to, src, get(shared, TABLE), get(head, ROWS_OF))
            else:
                call_channels(
                    get(shared, CHANNELS_OF), to, src, get(shared, TABLE), get(head, ROWS_OF), c
                )
        i = row - 1
        while i >= first:
            following = work_of(work, i, INDEX) + 1
            set_work(work, i, INDEX, following)
            if following < work_of(work, i, SIZE):
                break
            set_work(work, i, INDEX, 0)
            i -= 1
        if i < first:
            return


def expand(shared, dims, head, tables, scratch, first, last):
    """Compute the tasks ``first <= task < last``."""
    depth, begun = get(head, DEPTH), get(head, FIRST)
    work = scratch
    sums = scratch + get(head, WORK_BYTES)
    shares = sums + get(head, PITCH) * get(head, HELD_BYTES)
    row = depth - 1
    for task in range(first, last):
        if stopped(shared):
            break
        result, source, rest = get(shared, RESULTS), get(shared, GRADIENTS), task
        for k in range(depth):
            i = row - k
            start = rest % dim(dims, i, GRID) * dim(dims, i, TILE)
            rest = rest // dim(dims, i, GRID)
            set_work(work, i, START, start)
            set_work(work, i, SIZE, min(dim(dims, i, TILE), dim(dims, i, LENGTH) - start))
            if i < begun:
                result += start * dim(dims, i, RESULT) * get(head, ITEM_BYTES)
                source += start * dim(dims, i, GRADIENT) * get(head, ITEM_BYTES)
        if get(head, FLAT) == 0:
            lay_rows(shared, work, dims, head, tables, depth, result, source, shares, sums)
            continue
        planes, group = work_of(work, begun - 1, SIZE), begun - 1
        call_share(
            get(shared, SHARE), shares, get(head, PITCH), source, dim(dims, group, GRADIENT),
            dim(dims, row, GRADIENT), get(head, ACROSS), get(shared, HELD_COUNTS), 1,
            dim(dims, row, OUT), get(head, CHANNELS), planes,
        )  # fmt: skip
        call_spell(
            get(shared, SPELL), result, dim(dims, group, RESULT), shares, get(head, PITCH),
            get(shared, TABLE), get(head, MOST), dim(dims, row, LENGTH) * get(head, CHANNELS),
            planes,
        )  # fmt: skip
