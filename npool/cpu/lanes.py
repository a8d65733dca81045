"""The inner loops of a reducer, written once: combine whole rows, fill, finish.

These are templates: `npool.cpu.binding` compiles them anew for each reducer and dtype, in a
namespace that holds the loops over elements (`npool.cpu.loops`). They are never called as they
stand, but by address from the driver (`npool.cpu.tiles`), which is compiled once for all
reducers and knows of elements only where they lie. An accumulator is a tuple of 1 to 4 scalars;
a scratch buffer holds its parts one after another, `cap` elements each.
"""

# The free names below come from the namespace a template is bound in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


def rows(
    dst,
    cap,
    at,
    pitch,
    src,
    o0,
    o1,
    o2,
    o3,
    stride,
    cols,
    p0,
    p1,
    p2,
    p3,
    climb,
    params,
    taps,
    fresh,
    n,
    m,
    far,
    lead,
):
    """Fold `taps` (1 to 4) rows of `src` of length `n` into a row of `dst`, `m` times.

    `fresh` overwrites the row of `dst`, else it is combined with. The first time rows start at
    `at` and at o0...o3; each next time `pitch` and `stride` further. p0...p3 are the positions
    of the first elements, `cols` what each column adds and `climb` what each row does
    (positions only). From the `lead`-th on (4: none), the elements that lie `far` further on are
    prefetched.
    """
    for r in range(m):
        d, s, p = at + r * pitch, r * stride, r * climb
        # Asked for piece by piece: the CPU keeps few lines under way at a time.
        for first in range(0, n, PIECE):
            piece = min(PIECE, n - first)
            i = first + s
            if lead < 1:
                prefetch(src + (o0 + i + far) * ITEM, piece * ITEM)
            if lead < 2 and taps > 1:
                prefetch(src + (o1 + i + far) * ITEM, piece * ITEM)
            if lead < 3 and taps > 2:
                prefetch(src + (o2 + i + far) * ITEM, piece * ITEM)
            if lead < 4 and taps > 3:
                prefetch(src + (o3 + i + far) * ITEM, piece * ITEM)
            fold_row(
                dst, cap, d + first, src, o0 + i, o1 + i, o2 + i, o3 + i, cols + first * 8,
                p0 + p, p1 + p, p2 + p, p3 + p, params, taps, fresh, piece,
            )  # fmt: skip


def fill(dst, cap, at, pitch, n, m):
    """Write the identity, what padding counts as, to `m` rows of `n` elements."""
    for r in range(m):
        fill_row(dst, cap, at + r * pitch, n)


def store(
    out,
    positions,
    at,
    lift,
    across,
    within,
    src,
    cap,
    start,
    pitch,
    o1,
    o2,
    o3,
    taps,
    step,
    inner,
    n,
    m,
    count,
    params,
):
    """Fold the last `taps` (1 to 4), finish, and write `m` rows of `n` * `inner` results.

    Accumulators of a row are `inner` together and `step` such groups apart; their further taps
    lie o1...o3 behind. In `out` groups are `across`, elements `within` and rows `lift` apart.
    """
    # Groups are strips of `length` results `near` apart, whose accumulators are `apart`.
    groups, length, near, apart, further, next_group = n, inner, within, 1, across, step * inner
    if inner == 1 or (step == 1 and across == inner and within == 1):
        groups, length, near, apart = 1, n * inner, across if inner == 1 else 1, step
    elif within != 1:
        groups, length, near, apart, further, next_group = inner, n, across, next_group, within, 1
    for r in range(m):
        to, base = at + r * lift, start + r * pitch
        for g in range(groups):
            finish_row(
                out, positions, to + g * further, near, src, cap, base + g * next_group, apart,
                o1, o2, o3, taps, length, count, params,
            )  # fmt: skip


def divided(
    out,
    positions,
    at,
    lift,
    across,
    within,
    src,
    cap,
    start,
    pitch,
    step,
    inner,
    n,
    m,
    counts,
    above,
    params,
):
    """`store` of one tap, where every result of a row has a divisor of its own.

    That of accumulator `i` of a row's ``n * inner`` is ``counts[i] * above``.
    """
    groups, length, near, apart, further, next_group = n, inner, within, 1, across, step * inner
    each, next_count = 1, inner
    if inner == 1 or (step == 1 and across == inner and within == 1):
        groups, length, near, apart = 1, n * inner, across if inner == 1 else 1, step
    elif within != 1:
        groups, length, near, apart, further, next_group = inner, n, across, step * inner, within, 1
        each, next_count = inner, 1
    for r in range(m):
        to, base = at + r * lift, start + r * pitch
        for g in range(groups):
            finish_each(
                out, positions, to + g * further, near, src, cap, base + g * next_group, apart,
                length, counts + 8 * g * next_count, each, above, params,
            )  # fmt: skip


def picks(dst, cap, src, pitch, bins, inner, n, m):
    """Fold bins of `m` rows of `src`, `pitch` apart, into rows of `n` groups of `dst`.

    `bins` is where the table of the driver holds the first of `n` bins; a row of `src` starts
    where that begins. All rows are folded before the next bin is begun: whatever a bin's length
    asks for is asked once.
    """
    begin = bin_at(bins, 0, BASE)
    for i in range(n):
        start, taps = (bin_at(bins, i, BASE) - begin) * inner, bin_at(bins, i, INSIDE)
        for j in range(inner):
            for t in range(0, taps, 4):
                o = start + t * inner + j
                pick_row(
                    dst, cap, i * inner + j, n * inner, src, o, o + inner, o + 2 * inner,
                    o + 3 * inner, pitch, min(4, taps - t), t == 0, m,
                )  # fmt: skip


def pooled(
    dst, cap, at, pitch, src, stride, cols, climb, params, taps, n, m, block, far, asked,
    paired, halves, each, ways, out, positions, to, lift, across, within, row_taps, step, inner,
    over, runs, lists, line, item, width,
):  # fmt: skip
    """From the input to the result: `m` rows, `block` at a time, small windows.

    What `rows`, `split` and `store` do one after another, in one loop: a strip of a few rows
    takes a tenth of a microsecond, and so did the three calls. The arguments are theirs, but
    that rows start at ``lists[0]`` in places ``lists[1]``, and taps of a row in scratch lie
    ``lists[2]`` behind; that `asked` has a bit for each tap to be prefetched; that two rows are
    folded at once where `paired`, and each sees what the one before sees one row further on; that
    the row has `runs` stretches of other divisors (``lists[5]``: where each starts in scratch, 6:
    in the result, 7: its length, 8: its part of the divisor, `over` the rest of it); and that with
    an `item` other than 0, the bytes of a result, the `width` results of each row are
    put together in `line` and written past the caches.
    """
    places, shifts = lists + CHUNK * 8, lists + 2 * CHUNK * 8
    for first in range(0, m, block):
        lines = min(block, m - first)
        fold_strip(
            dst, cap, at, pitch, src, first * stride, stride, cols, first * climb, climb, params,
            taps, n, lines, far, asked, paired, lists, places,
        )  # fmt: skip
        laid, apart = dst, pitch
        if ways > 1:
            split_row(halves, cap, each, dst, each, ways)
            laid, apart = halves, pitch // ways
        into, begins, rise = out, to + first * lift, lift
        if item > 0:
            into, begins, rise = line, 0, width
        for k in range(runs):
            finish_groups(
                into, positions, begins + listed(lists, 6, k), rise, across, within, laid, cap,
                listed(lists, 5, k), apart, shifts, row_taps, step, inner, listed(lists, 7, k),
                lines, over * listed(lists, 8, k), params,
            )  # fmt: skip
        if item > 0:
            write_past(out + (to + first * lift) * item, lift * item, line, width * item, lines)


def fold_strip(
    dst, cap, at, pitch, src, s, stride, cols, p, climb, params, taps, n, lines, far, asked, paired,
    lists, places,
):  # fmt: skip
    """Fold the rows of a strip: see `pooled`. Sources begin `s` and places `p` further on."""
    if taps == 0:
        for q in range(lines):
            fill_row(dst, cap, q * pitch, pitch)
        return
    pairs = lines // 2 if paired > 0 else 0
    # Asked for piece by piece: the CPU keeps few lines under way at a time.
    some, many = (pairs, lines) if n <= PIECE else (1, 1)
    for q in range(0, pairs, max(1, some)):
        for begin in range(0, n, PIECE):
            fold_pair(
                dst, cap, at + 2 * q * pitch + begin, pitch, src, lists,
                s + 2 * q * stride + begin, stride, far, asked, params, taps,
                min(PIECE, n - begin), some,
            )  # fmt: skip
    for q in range(2 * pairs, lines, many):
        for begin in range(0, n, PIECE):
            fold_taps(
                dst, cap, at + q * pitch + begin, pitch, src, lists, s + q * stride + begin,
                stride, cols + begin * PLACE_ITEM, places, p + q * climb, climb, far, asked,
                params, taps, min(PIECE, n - begin), min(many, lines - q),
            )  # fmt: skip


def direct(
    cap, src, stride, params, n, m, far, halves, each, span, ways, out, to, lift, row_taps, over,
    lists, line, item,
):  # fmt: skip
    """`pooled` of rows folded where they lie: one tap a row, no padding, a part at a time.

    A row of `n` results starts at ``lists[0]``, and the next `stride` further on. With `ways` of
    splitting, `each` is where the next way begins in `halves`, and windows are `span` wide.
    """
    shifts, size = lists + 2 * CHUNK * 8, PIECE // ways
    for r in range(m):
        for begin in range(0, n, size):
            part = min(size, n - begin)
            start = listed(lists, 0, 0) + r * stride + begin * ways
            if far > 0:
                prefetch(src + (start + far) * ITEM, part * ways * ITEM)
            laid = src + start * ITEM
            if ways > 1:
                split_row(halves, cap, each, laid, part - 1 + span // ways, ways)
                laid = halves
            into, at = out, to + r * lift + begin
            if item > 0:
                into, at = line, 0
            finish_taps(
                into, 0, at, 1, 0, laid, cap, 0, 1, 0, shifts, row_taps, part, 1, over, params
            )
            if item > 0:
                stream(out + (to + r * lift + begin) * item, line, part * item)


def slid(
    src, stride, climb, wide, taps, m, before, body, out, positions, to, lift, over, runs, lists,
    past, item, far,
):  # fmt: skip
    """`pooled` in registers: nothing goes by scratch.

    A row of the source has `body` elements, and as many as `before` count as padding before them;
    `wide` is what a column adds to a position. Where `past` is 1, results of `item` bytes are
    written past the caches; rows that begin at different places of a line, one by one, from where
    a line begins. What lies `far` bytes behind is prefetched.
    """
    for k in range(runs):
        x = listed(lists, 6, k)
        end, count = x + listed(lists, 7, k) * GROUP, over * listed(lists, 8, k)
        long = past > 0 and WHOLE and (end - x) * item >= LONG
        one_by_one = long and (lift * item) % 64 != 0
        many = 1 if one_by_one else m
        for r in range(0, m, many):
            at, begin = out + (to + r * lift) * item, x
            while begin < end:
                stop, off = end, (at + begin * item) % 64
                if long and off != 0 and (64 - off) // item % UNIT == 0:
                    stop = min(end, begin + (64 - off) // item)
                slide_rows(
                    src + r * stride * ITEM, lists, lists + CHUNK * 8, r * climb, stride, climb,
                    wide, before, body, begin, stop, many, out, positions, to + r * lift, lift,
                    past, far, count, taps,
                )  # fmt: skip
                begin = stop


def long(src, cap, at, pitch, m, out, to, lift, n, past, count, soon, leap):
    """Fold `m` rows of scratch along themselves, finish and write them: `n` results each.

    What will be read next, from the address `soon` on, `leap` bytes further for each row, is
    prefetched meanwhile; nothing is if `leap` is 0.
    """
    asked = 1
    if leap == 0:
        soon, asked = src, 0
    for r in range(m):
        row = at + r * pitch
        long_row(out, to + r * lift, src, cap, row, n, past, count, soon + r * leap, asked)


def write_past(out, lift, line, width, m):
    """Copy `m` rows of `width` bytes from `line` to where they belong, past the caches."""
    if lift == width:
        stream(out, line, m * width)
        return
    for q in range(m):
        stream(out + q * lift, line + q * width, width)


def finish_groups(
    out, positions, at, lift, across, within, src, cap, start, pitch, shifts, taps, step, inner,
    n, m, count, params,
):  # fmt: skip
    """As `store`, of taps that lie `shifts` behind."""
    turns, near, far, apart, further, length, many = m, 1, across, 1, step * inner, inner, n
    if inner == 1 or (step == 1 and across == inner and within == 1):
        turns, near, far, apart, further = 1, across if inner == 1 else 1, lift, step, pitch
        length, many = n * inner, m
    elif within != 1:
        near, far, apart, further, length, many = across, within, step * inner, 1, n, inner
    for r in range(turns):
        finish_taps(
            out, positions, at + r * lift, near, far, src, cap, start + r * pitch, apart, further,
            shifts, taps, length, many, count, params,
        )  # fmt: skip


def split(dst, cap, each, src, n, ways):
    """Every `ways`-th element of `src`, `n` of them, to the front of `dst`; the next `each` on.

    Rows read at every second element (or third, or fourth) vectorise once split; before, only as
    gathers, which were five times slower.
    """
    split_row(dst, cap, each, src, n, ways)


def masked(dst, cap, at, src, o0, o1, o2, o3, masks, bit, taps, fresh, n):
    """Fold `taps` (1 to 4) rows of scratch, where bits of `masks` from `bit` on say which count."""
    masked_row(dst, cap, at, src, o0, o1, o2, o3, masks, bit, taps, fresh, n)


def whole(dst, cap, src, o, stride, n, m):
    """Fold `n` elements that lie together into one, `m` times, each next time `stride` further."""
    whole_rows(dst, cap, src, o, stride, n, m)


def gather(line, src, begin, stride, within, inner, n):
    """Copy a row whose elements lie `stride` (and `within`) apart to where they lie together."""
    if inner == 1:
        gather_row(line, src + begin * ITEM, stride, n)
        return
    d = cut_line(line, n)
    for i in range(n // inner):
        for j in range(inner):
            d[i * inner + j] = cut_line(src + (begin + i * stride + j * within) * ITEM, 1)[0]


def tall(dst, cap, at, pitch, kept, suffix, run, more, lists, shift, n):
    """Windows of `TALL` rows of `kept`, `shift` behind ``lists[0]``; see `npool.cpu.van_herk`."""
    tall_rows(dst, cap, at, pitch, kept, suffix, run, more, lists, shift, n)
