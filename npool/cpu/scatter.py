"""The drivers for positions: gradients added where maxima were found, and elements taken there.

A plane is what a position counts in: the pooled axes of the array at the other end. For a
stretch of it (whole, where it fits a cache) a task clears as many sums, adds the gradients of the
windows that may reach it, in their order, and writes the sums where they are not the result
itself: an element belongs to one task, and so to one thread. A position outside the stretch
belongs to another task if its window reaches further, or to none, which is -1; any other is
told, and nothing is added for it. `npool.cpu.scattering` lays out the tables.
"""

# The free names below come from the namespace that `npool.cpu.scattering` compiles this in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


def summed(total, value, told):
    """A sum and what is added to it."""
    return held(total + value)


def stored(total, value, told):
    """The same of values as they lie in memory, of which no two should meet: if they do, it is
    told.
    """
    if total != 0:
        put(told, 0, 1)
    return value


def fours(base, values, places, unit, rise, low, size, i, n, told):
    """Add gradients from the `i`-th on, four at a time while all are inside; where that ends.

    One by one they take half as long again.
    """
    span = unsigned(size)
    while i + 4 <= n:
        at, on = places + i * INDEX, values + i * GRADIENT
        p = word(index_at(at, 1)[0])
        q = word(index_at(at + INDEX, 1)[0])
        s = word(index_at(at + 2 * INDEX, 1)[0])
        t = word(index_at(at + 3 * INDEX, 1)[0])
        inside = (unsigned(p - low) < span) & (unsigned(q - low) < span)
        if not (inside & (unsigned(s - low) < span) & (unsigned(t - low) < span)):
            break
        a = decode(gradient_at(on, 1)[0])
        b = decode(gradient_at(on + GRADIENT, 1)[0])
        c = decode(gradient_at(on + 2 * GRADIENT, 1)[0])
        d = decode(gradient_at(on + 3 * GRADIENT, 1)[0])
        first = base + i * rise * HELD
        total = sum_at(first + p * unit * HELD, 1)
        total[0] = plus(total[0], a, told)
        total = sum_at(first + (q * unit + rise) * HELD, 1)
        total[0] = plus(total[0], b, told)
        total = sum_at(first + (s * unit + 2 * rise) * HELD, 1)
        total[0] = plus(total[0], c, told)
        total = sum_at(first + (t * unit + 3 * rise) * HELD, 1)
        total[0] = plus(total[0], d, told)
        i += 4
    return i


def add(
    sums, gradients, indices, step, index_step, rise, pitch, index_pitch, lift, unit, low, size,
    plane, first, climb, ascent, reach, n, m, by_fours, told,
):  # fmt: skip
    """Add `m` rows of `n` gradients to the sums of positions `low` up to ``low + size``.

    Gradients and positions are `step` (`index_step`) apart in a row, rows `pitch` and
    `index_pitch`; sums of one position are `unit` apart, of neighbours in a row `rise`, of rows
    `lift`. A position outside must be -1, or one of the `plane` that lies within `reach` of
    where its window starts: `first`, `climb` further on with each gradient and `ascent` with
    each row. `by_fours`, which is 0 or 1, changes nothing but the time it takes.
    """
    all_of_it, within = unsigned(plane), unsigned(reach)
    together = step == 1 and index_step == 1 and by_fours == 1
    for r in range(m):
        values = gradients + r * pitch * GRADIENT
        places = indices + r * index_pitch * INDEX
        base = sums + (r * lift - low * unit) * HELD
        i = 0
        while i < n:
            if together:
                i = fours(base, values, places, unit, rise, low, size, i, n, told)
            following = n
            if together:
                following = min(n, i + 4)
            for k in range(i, following):
                place = word(index_at(places + k * index_step * INDEX, 1)[0])
                if unsigned(place - low) < unsigned(size):
                    value = decode(gradient_at(values + k * step * GRADIENT, 1)[0])
                    total = sum_at(base + (place * unit + k * rise) * HELD, 1)
                    total[0] = plus(total[0], value, told)
                elif place != -1 and (
                    unsigned(place) >= all_of_it
                    or unsigned(place - first - k * climb - r * ascent) >= within
                ):
                    put(told, 0, 1)
            i = following


def take(
    out, source, indices, step, index_step, rise, pitch, index_pitch, lift, unit, plane, n, m, told
):
    """Write `m` rows of `n` elements of `source`, each that at its position; 0 where it is -1."""
    for r in range(m):
        places = indices + r * index_pitch * INDEX
        base = source + r * lift * ITEM
        for i in range(n):
            place = word(index_at(places + i * index_step * INDEX, 1)[0])
            into = element_at(out + (r * pitch + i * step) * ITEM, 1)
            if unsigned(place) < unsigned(plane):
                into[0] = element_at(base + (place * unit + i * rise) * ITEM, 1)[0]
            else:
                into[0] = NOTHING
                if place != -1:
                    put(told, 0, 1)


def stopped(shared):
    """Whether the caller no longer wants the result (Ctrl-C while a worker computes)."""
    return get(shared, STOP) != 0 and get(get(shared, STOP), 0) != 0


def place_task(work, dims, depth, task):
    """Note which part of each dimension a task is for."""
    for k in range(depth):
        i = depth - 1 - k
        start = task % dim(dims, i, GRID) * dim(dims, i, TILE)
        task = task // dim(dims, i, GRID)
        set_work(work, i, START, start)
        set_work(work, i, SIZE, min(dim(dims, i, TILE), dim(dims, i, LENGTH) - start))
        set_work(work, i, LOW, start)
        set_work(work, i, COUNT, work_of(work, i, SIZE))
        set_work(work, i, INDEX, 0)


def advance(work, last):
    """The next place of the dimensions before `last`; False after the last one."""
    i = last - 1
    while i >= 0:
        following = work_of(work, i, INDEX) + 1
        set_work(work, i, INDEX, following)
        if following < work_of(work, i, COUNT):
            return True
        set_work(work, i, INDEX, 0)
        i -= 1
    return False


def add_task(shared, work, dims, head, depth, sums):
    """Add all gradients that a task needs."""
    cut = get(head, CUT)
    low, size = 0, get(head, PLANE)
    if cut >= 0:
        # Windows `o` with a tap in the task's part of the first pooled axis.
        step, before = get(head, STEP), get(head, BEFORE)
        start, count = work_of(work, cut, START), work_of(work, cut, SIZE)
        first = max(0, -((get(head, REACH) - 1 - before - start) // step))
        until = min(get(head, WINDOWS), (start + count - 1 + before) // step + 1)
        set_work(work, cut, LOW, first)
        set_work(work, cut, COUNT, max(0, until - first))
        low, size = start * get(head, WEIGHT), count * get(head, WEIGHT)
        if until <= first:
            return
    row, column = depth - 1, depth - 2
    while True:
        at, index_at, to, window = 0, 0, 0, 0
        for i in range(depth):
            o = work_of(work, i, LOW) + work_of(work, i, INDEX)
            at += o * dim(dims, i, STRIDE)
            index_at += o * dim(dims, i, INDEX_STRIDE)
            to += work_of(work, i, INDEX) * dim(dims, i, RISE)
            window += o * dim(dims, i, CLIMB)
        call_add(
            get(shared, ADD), sums + to * get(head, HELD_BYTES),
            get(shared, GRADIENTS) + at * get(head, GRADIENT_BYTES),
            get(shared, INDICES) + index_at * get(head, INDEX_BYTES),
            dim(dims, row, STRIDE), dim(dims, row, INDEX_STRIDE), dim(dims, row, RISE),
            dim(dims, column, STRIDE), dim(dims, column, INDEX_STRIDE), dim(dims, column, RISE),
            get(head, UNIT), low, size, get(head, PLANE),
            window - get(head, BEFORE) * get(head, WEIGHT),
            dim(dims, row, CLIMB), dim(dims, column, CLIMB), get(head, REACH) * get(head, WEIGHT),
            work_of(work, row, COUNT), work_of(work, column, COUNT), get(head, FOURS),
            get(shared, TOLD),
        )  # fmt: skip
        if not advance(work, column):
            return


def target_of(work, dims, depth):
    """Where in the result a task's part starts."""
    target = 0
    for i in range(depth):
        target += work_of(work, i, START) * dim(dims, i, FAR)
    return target


def deliver_task(shared, work, dims, head, lines, sums):
    """Write all sums of a task."""
    count = get(head, LINES)
    target = target_of(work, dims, get(head, DEPTH))
    for i in range(count):
        size = line(lines, i, SPAN)
        if line(lines, i, OF) >= 0:
            size *= work_of(work, line(lines, i, OF), SIZE)
        set_work(work, i, INDEX, 0)
        set_work(work, i, COUNT, size)
    row, column = count - 1, count - 2
    while True:
        at, to = 0, target
        for i in range(column):
            at += work_of(work, i, INDEX) * line(lines, i, NEAR)
            to += work_of(work, i, INDEX) * line(lines, i, AWAY)
        call_store(
            get(shared, STORE), get(shared, RESULT), 0, to, line(lines, column, AWAY),
            line(lines, row, AWAY), 1, sums, get(head, ROOM), at, line(lines, column, NEAR), 0, 0,
            0, 1, line(lines, row, NEAR), 1, work_of(work, row, COUNT),
            work_of(work, column, COUNT), 1, get(shared, PARAMS),
        )  # fmt: skip
        if not advance(work, column):
            return


def scatter(shared, dims, head, lines, scratch, first, last):
    """Compute the tasks ``first <= task < last``: stretches of planes, of some channels."""
    depth = get(head, DEPTH)
    work = scratch
    sums = (scratch + get(head, WORK_BYTES) + 63) // 64 * 64
    for task in range(first, last):
        if stopped(shared):
            break
        place_task(work, dims, depth, task)
        if get(head, DIRECT) == 1:
            place = get(shared, RESULT) + target_of(work, dims, depth) * get(head, RESULT_BYTES)
            size = get(head, PLANE) * get(head, UNIT)
            if get(head, CUT) >= 0:
                size = work_of(work, get(head, CUT), SIZE) * get(head, WEIGHT) * get(head, UNIT)
            if get(head, GROUP) >= 0:
                size *= work_of(work, get(head, GROUP), SIZE)
            call_fill(get(shared, FILL), place, size, 0, 0, size, 1)
            add_task(shared, work, dims, head, depth, place)
        else:
            call_fill(get(shared, FILL), sums, get(head, ROOM), 0, 0, get(head, ROOM), 1)
            add_task(shared, work, dims, head, depth, sums)
            deliver_task(shared, work, dims, head, lines, sums)


def gather(shared, dims, head, lines, scratch, first, last):
    """Compute the tasks ``first <= task < last`` of elements taken at positions."""
    depth, work = get(head, DEPTH), scratch
    row, column = depth - 1, depth - 2
    for task in range(first, last):
        if stopped(shared):
            break
        place_task(work, dims, depth, task)
        while True:
            at, index_at, source = 0, 0, 0
            for i in range(depth):
                o = work_of(work, i, LOW) + work_of(work, i, INDEX)
                at += o * dim(dims, i, STRIDE)
                index_at += o * dim(dims, i, INDEX_STRIDE)
                source += o * dim(dims, i, FAR)
            call_take(
                get(shared, TAKE), get(shared, RESULT) + at * get(head, RESULT_BYTES),
                get(shared, GRADIENTS) + source * get(head, RESULT_BYTES),
                get(shared, INDICES) + index_at * get(head, INDEX_BYTES),
                dim(dims, row, STRIDE), dim(dims, row, INDEX_STRIDE), dim(dims, row, FAR),
                dim(dims, column, STRIDE), dim(dims, column, INDEX_STRIDE), dim(dims, column, FAR),
                get(head, UNIT), get(head, PLANE), work_of(work, row, COUNT),
                work_of(work, column, COUNT), get(shared, TOLD),
            )  # fmt: skip
            if not advance(work, column):
                break
