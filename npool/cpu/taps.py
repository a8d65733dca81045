"""The driver for maxima and their gradients by the numbers of taps, instead of positions.

A tap's number within its window is one byte where a position takes four or eight, and it is made
and read in whole vectors: of the columns of a row, or of channels that lie together. Going
forward, a result is the best of its window's taps, asked in their order. Going back, an element
asks the windows that see it, in their order, whether they meant it: each element of the result
is written once, and nothing is waited for.

A task is some units of work, a stretch of a row each. `npool.cpu.tapping` lays out the tables,
`npool.cpu.tap_rows` has the vectors.
"""

# The free names below come from the namespace that `npool.cpu.tapping` compiles this in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


def fold_units(env, scratch, first, last):
    """Fold the windows of the units ``first <= unit < last``: parts of rows of the result."""
    blocks, width, item = get(env, BLOCKS), get(env, WO), get(env, ITEM)
    inner = get(env, INNER)
    for unit in range(first, last):
        row = unit // blocks
        lo = (unit - row * blocks) * get(env, BLOCK)
        hi = min(width, lo + get(env, BLOCK))
        rest = row // get(env, YO)
        oy = row - rest * get(env, YO)
        plane = rest // get(env, ZO)
        z = get(env, ZS) + (rest - plane * get(env, ZO)) * 24
        y = get(env, YS) + oy * 24
        lines = (plane * get(env, Z) + get(z, 0)) * get(env, Y) + get(y, 0)
        at = get(env, SOURCE) + lines * get(env, X) * inner * item
        code = get(z, 2) * get(env, ZK) + get(y, 2) * get(env, YK)
        start = row * width * inner
        out, numbers = get(env, RESULT) + start * item, get(env, TAPS) + start
        # What windows to come will read: as many bytes a window as there are new to it.
        each = get(env, FRESH)
        ahead = at + get(env, AHEAD)
        if ROWS:
            fold_row(
                at, get(z, 1), get(env, ZSTEP), get(y, 1), get(env, YSTEP), get(env, XN),
                get(env, XD), get(env, BEFORE), get(env, X), code, get(env, ZK), get(env, YK),
                out, numbers, lo, hi, ahead, each, get(env, SLICES),
            )  # fmt: skip
        else:
            for o in range(lo, hi):
                x = get(env, XS) + o * 24
                for i in range(get(env, SLICES)):
                    prefetch(ahead + o * each + i * get(env, ZSTEP), each)
                fold_pixel(
                    at + get(x, 0) * inner * item, get(z, 1), get(env, ZSTEP), get(y, 1),
                    get(env, YSTEP), get(x, 1), get(env, XSTEP), code + get(x, 2), get(env, ZK),
                    get(env, YK), out + o * inner * item, numbers + o * inner, inner,
                    get(env, WIDE),
                )  # fmt: skip


def hand_units(env, scratch, first, last):
    """Hand gradients back to the elements of the units ``first <= unit < last``."""
    blocks, width, item = get(env, BLOCKS), get(env, X), get(env, ITEM)
    inner = get(env, INNER)
    for unit in range(first, last):
        row = unit // blocks
        lo = (unit - row * blocks) * get(env, BLOCK)
        hi = min(width, lo + get(env, BLOCK))
        rest = row // get(env, Y)
        plane = rest // get(env, Z)
        y = get(env, YS) + (row - rest * get(env, Y)) * 16
        z = get(env, ZS) + (rest - plane * get(env, Z)) * 16
        windows = plane * get(env, ZO) * get(env, YO) * get(env, WO) * inner
        grads, numbers = get(env, SOURCE) + windows * item, get(env, TAPS) + windows
        out = get(env, RESULT) + row * width * inner * item
        oz = (rest - plane * get(env, Z)) // get(env, ZSTEP)
        oy = (row - rest * get(env, Y)) // get(env, YSTEP)
        to_come = (oz * get(env, YO) + oy) * get(env, WO) * inner + get(env, AHEAD)
        ahead, beyond = grads + to_come * item, numbers + to_come
        if ROWS:
            hand_row(
                grads, numbers, get(z, 0), get(z, 1), get(y, 0), get(y, 1), get(env, XS),
                get(env, LEAST), get(env, MOST), get(env, YO), get(env, WO), get(env, ZK),
                get(env, YK), out, lo, hi, get(env, PAST), ahead, beyond,
            )  # fmt: skip
        else:
            for i in range(lo, hi):
                x = get(env, XS) + i * 16
                prefetch(ahead + i * get(env, FRESH), get(env, FRESH))
                prefetch(beyond + i * get(env, FAR), get(env, FAR))
                hand_pixel(
                    grads, numbers, get(z, 0), get(z, 1), get(y, 0), get(y, 1), get(x, 0),
                    get(x, 1), get(env, YO), get(env, WO), get(env, ZK), get(env, YK),
                    out + i * inner * item, inner, inner,
                )  # fmt: skip


def turned_units(env, scratch, first, last):
    """Fold the windows of the units ``first <= unit < last``, or hand gradients back to them:
    some planes each, which are turned into channels.
    """
    item, pitch, most = get(env, ITEM), get(env, INNER), get(env, OUTER)
    size = get(env, Z) * get(env, Y) * get(env, X)
    count = get(env, ZO) * get(env, YO) * get(env, WO)
    source, result, numbers = get(env, SOURCE), get(env, RESULT), get(env, TAPS)
    ahead, fresh, far = get(env, AHEAD), get(env, FRESH), get(env, FAR)
    a = (scratch + 63) // 64 * 64
    b = a + size * pitch * item
    c = b + count * pitch * item
    for unit in range(first, last):
        begin = unit * pitch
        n = min(pitch, most - begin)
        elements, windows = begin * size * item, begin * count
        if FOLDS:
            turn(a, pitch, source + elements, size, n, size, ahead, 0)
            o = 0
            for oz in range(get(env, ZO)):
                z = get(env, ZS) + oz * 24
                for oy in range(get(env, YO)):
                    y = get(env, YS) + oy * 24
                    line = (get(z, 0) * get(env, Y) + get(y, 0)) * get(env, X)
                    code = get(z, 2) * get(env, ZK) + get(y, 2) * get(env, YK)
                    for ox in range(get(env, WO)):
                        x = get(env, XS) + ox * 24
                        fold_pixel(
                            a + (line + get(x, 0)) * pitch * item, get(z, 1), get(env, ZSTEP),
                            get(y, 1), get(env, YSTEP), get(x, 1), get(env, XSTEP),
                            code + get(x, 2), get(env, ZK), get(env, YK), b + o * pitch * item,
                            c + o * pitch, n, 0,
                        )  # fmt: skip
                        o += 1
            turn(result + windows * item, count, b, pitch, count, n, 0, fresh)
            turn_bytes(numbers + windows, count, c, pitch, count, n, 0, far)
        else:
            turn(b, pitch, source + windows * item, count, n, count, ahead, 0)
            turn_bytes(c, pitch, numbers + windows, count, n, count, far, 0)
            i = 0
            for iz in range(get(env, Z)):
                z = get(env, ZS) + iz * 16
                for iy in range(get(env, Y)):
                    y = get(env, YS) + iy * 16
                    for ix in range(get(env, X)):
                        x = get(env, XS) + ix * 16
                        hand_pixel(
                            b, c, get(z, 0), get(z, 1), get(y, 0), get(y, 1), get(x, 0), get(x, 1),
                            get(env, YO), get(env, WO), get(env, ZK), get(env, YK),
                            a + i * pitch * item, n, pitch,
                        )  # fmt: skip
                        i += 1
            turn(result + elements, size, a, pitch, size, n, 0, fresh)


def stopped(shared):
    """Whether the caller no longer wants the result (Ctrl-C while a worker computes)."""
    return get(shared, STOP) != 0 and get(get(shared, STOP), 0) != 0


def taps(shared, dims, head, lines, scratch, first, last):
    """Compute the tasks ``first <= task < last``, of `EACH` units each."""
    each, units = get(shared, EACH), get(shared, UNITS)
    for task in range(first, last):
        if stopped(shared):
            break
        call_units(get(shared, LOOP), shared, scratch, task * each, min(units, (task + 1) * each))
    if get(shared, PAST) != 0:
        fence()
