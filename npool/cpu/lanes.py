"""The inner loops of a reducer, written once: combine whole rows, fill, finish.

These are templates: `npool.cpu.binding` compiles them anew for each reducer and dtype, in a
namespace that holds the reducer's parts (`combine`, `get`, `put`, ...). They are never called
as they stand, but by address from the driver (`npool.cpu.tiles`), which is compiled once for
all reducers and knows of elements only where they lie. An accumulator is a tuple of 1 to 4
scalars; a scratch buffer holds its parts one after another, `cap` elements each.

Loops run over arrays made of an address and a length, read at one index and written out of
place or at that same index: only then does LLVM see that they do not overlap and vectorise
(docs/performance.md).
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
):
    """Fold `taps` (1 to 4) rows of `src` of length `n` into a row of `dst`, `m` times.

    `fresh` overwrites the row of `dst`, else it is combined with. The first time rows start at
    `at` and at o0...o3; each next time `pitch` and `stride` further. p0...p3 are the positions
    of the first elements, `cols` what each column adds and `climb` what each row does
    (positions only).
    """
    q = cut_params(params)
    # A vector loop leaves up to BLOCK - 1 elements to a scalar one. Where an element may be
    # computed twice, the last BLOCK are done again instead.
    parts, main = 1, n
    if n > BLOCK and n % BLOCK > 0 and (fresh or IDEMPOTENT):
        parts, main = 2, n - n % BLOCK
    for part in range(parts):
        skip, k = (0, main) if part == 0 else (n - BLOCK, BLOCK)
        c = cut_columns(cols + skip * 8, k)
        for r in range(m):
            d = cut(dst, cap, at + skip + r * pitch, k)
            a = cut_source(src, cap, o0 + skip + r * stride, k)
            u = p0 + r * climb
            if taps == 1:
                if fresh:
                    for i in range(k):
                        put(d, i, get(a, i, c, u, q))
                else:
                    for i in range(k):
                        put(d, i, combine(take(d, i), get(a, i, c, u, q)))
                continue
            b = cut_source(src, cap, o1 + skip + r * stride, k)
            v = p1 + r * climb
            if taps == 2:
                if fresh:
                    for i in range(k):
                        put(d, i, combine(get(a, i, c, u, q), get(b, i, c, v, q)))
                else:
                    for i in range(k):
                        x = combine(get(a, i, c, u, q), get(b, i, c, v, q))
                        put(d, i, combine(take(d, i), x))
                continue
            e = cut_source(src, cap, o2 + skip + r * stride, k)
            w = p2 + r * climb
            if taps == 3:
                if fresh:
                    for i in range(k):
                        x = combine(get(a, i, c, u, q), get(b, i, c, v, q))
                        put(d, i, combine(x, get(e, i, c, w, q)))
                else:
                    for i in range(k):
                        x = combine(get(a, i, c, u, q), get(b, i, c, v, q))
                        put(d, i, combine(take(d, i), combine(x, get(e, i, c, w, q))))
                continue
            f = cut_source(src, cap, o3 + skip + r * stride, k)
            z = p3 + r * climb
            if fresh:
                for i in range(k):
                    x = combine(get(a, i, c, u, q), get(b, i, c, v, q))
                    put(d, i, combine(x, combine(get(e, i, c, w, q), get(f, i, c, z, q))))
            else:
                for i in range(k):
                    x = combine(get(a, i, c, u, q), get(b, i, c, v, q))
                    y = combine(get(e, i, c, w, q), get(f, i, c, z, q))
                    put(d, i, combine(take(d, i), combine(x, y)))


def fill(dst, cap, at, pitch, n, m):
    """Write the identity, what padding counts as, to `m` rows of `n` elements."""
    for r in range(m):
        d = cut(dst, cap, at + r * pitch, n)
        for i in range(n):
            put(d, i, IDENTITY)


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
    q = cut_params(params)
    total = cast_count(count)
    # Results that lie together are one group; else a group is what lies together in `inner`.
    groups, length = n, inner
    if step == 1 and across == inner and (within == 1 or inner == 1):
        groups, length = 1, n * inner
    grouped = across == 1 if groups == 1 and inner == 1 else within == 1 and inner > 1
    for r in range(m):
        to, base = at + r * lift, start + r * pitch
        if grouped:
            for g in range(groups):
                d = cut_out(out, positions, to + g * across, length)
                s = base + g * step * inner
                a = cut(src, cap, s, length)
                if taps == 1:
                    for i in range(length):
                        put_out(d, i, finish(take(a, i), total, q))
                    continue
                b = cut(src, cap, s + o1, length)
                if taps == 2:
                    for i in range(length):
                        put_out(d, i, finish(combine(take(a, i), take(b, i)), total, q))
                    continue
                e = cut(src, cap, s + o2, length)
                if taps == 3:
                    for i in range(length):
                        x = combine(combine(take(a, i), take(b, i)), take(e, i))
                        put_out(d, i, finish(x, total, q))
                    continue
                f = cut(src, cap, s + o3, length)
                for i in range(length):
                    x = combine(take(a, i), take(b, i))
                    x = combine(x, combine(take(e, i), take(f, i)))
                    put_out(d, i, finish(x, total, q))
        else:
            for g in range(n):
                for j in range(inner):
                    s = base + g * step * inner + j
                    x = take(cut(src, cap, s, 1), 0)
                    if taps > 1:
                        x = combine(x, take(cut(src, cap, s + o1, 1), 0))
                    if taps == 3:
                        x = combine(x, take(cut(src, cap, s + o2, 1), 0))
                    if taps == 4:
                        y = take(cut(src, cap, s + o2, 1), 0)
                        x = combine(x, combine(y, take(cut(src, cap, s + o3, 1), 0)))
                    d = cut_out(out, positions, to + g * across + j * within, 1)
                    put_out(d, 0, finish(x, total, q))


def split(dst, cap, src, n):
    """The `n` elements of `src` at even places to the front of `dst`, those at odd behind them.

    Rows read at every second element vectorise once split; before, only as gathers, which were
    five times slower.
    """
    half = n // 2
    even, odd, s = cut(dst, cap, 0, half), cut(dst, cap, half, half), cut(src, cap, 0, n)
    for i in range(half):
        put(even, i, take(s, 2 * i))
        put(odd, i, take(s, 2 * i + 1))


def gather(line, src, begin, stride, within, inner, n):
    """Copy a row whose elements lie `stride` (and `within`) apart to where they lie together."""
    d = cut_line(line, n)
    for i in range(n // inner):
        for j in range(inner):
            d[i * inner + j] = cut_line(src + (begin + i * stride + j * within) * ITEM, 1)[0]
