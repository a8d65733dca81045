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


def rows(dst, cap, at, src, o0, o1, o2, o3, cols, p0, p1, p2, p3, params, taps, fresh, n):
    """Fold `taps` (1 to 4) rows of `src` of length `n` into the row of `dst` at `at`.

    `fresh` overwrites that row, else it is combined with. Rows start at o0...o3; p0...p3 are
    the positions of their first elements, and `cols` what each column adds (positions only).
    """
    d = cut(dst, cap, at, n)
    a = cut_source(src, cap, o0, n)
    c = cut_columns(cols, n)
    q = cut_params(params)
    if taps == 1:
        if fresh:
            for i in range(n):
                put(d, i, get(a, i, c, p0, q))
        else:
            for i in range(n):
                put(d, i, combine(take(d, i), get(a, i, c, p0, q)))
        return
    b = cut_source(src, cap, o1, n)
    if taps == 2:
        if fresh:
            for i in range(n):
                put(d, i, combine(get(a, i, c, p0, q), get(b, i, c, p1, q)))
        else:
            for i in range(n):
                v = combine(get(a, i, c, p0, q), get(b, i, c, p1, q))
                put(d, i, combine(take(d, i), v))
        return
    e = cut_source(src, cap, o2, n)
    if taps == 3:
        if fresh:
            for i in range(n):
                v = combine(get(a, i, c, p0, q), get(b, i, c, p1, q))
                put(d, i, combine(v, get(e, i, c, p2, q)))
        else:
            for i in range(n):
                v = combine(get(a, i, c, p0, q), get(b, i, c, p1, q))
                put(d, i, combine(take(d, i), combine(v, get(e, i, c, p2, q))))
        return
    f = cut_source(src, cap, o3, n)
    if fresh:
        for i in range(n):
            v = combine(get(a, i, c, p0, q), get(b, i, c, p1, q))
            put(d, i, combine(v, combine(get(e, i, c, p2, q), get(f, i, c, p3, q))))
    else:
        for i in range(n):
            v = combine(get(a, i, c, p0, q), get(b, i, c, p1, q))
            w = combine(get(e, i, c, p2, q), get(f, i, c, p3, q))
            put(d, i, combine(take(d, i), combine(v, w)))


def fill(dst, cap, at, n):
    """Write the identity: what padding counts as."""
    d = cut(dst, cap, at, n)
    for i in range(n):
        put(d, i, IDENTITY)


def store_run(out, positions, at, across, within, src, cap, start, step, inner, n, count, params):
    """Finish `n` accumulators of `src`, `inner` elements each and `step` apart, into `out`."""
    q = cut_params(params)
    total = cast_count(count)
    if (
        step == 1
        and (inner == 1 or across == inner)
        and (within == 1 or inner == 1)
        and (across == 1 or inner > 1)
    ):
        m = n * inner
        d = cut_out(out, positions, at, m)
        s = cut(src, cap, start, m)
        for i in range(m):
            put_out(d, i, finish(take(s, i), total, q))
    elif inner == 1 and across == 1:
        d = cut_out(out, positions, at, n)
        s = cut(src, cap, start, (n - 1) * step + 1)
        if step == 2:
            for i in range(n):
                put_out(d, i, finish(take(s, 2 * i), total, q))
        else:
            for i in range(n):
                put_out(d, i, finish(take(s, i * step), total, q))
    else:
        s = cut(src, cap, start, ((n - 1) * step + 1) * inner)
        for i in range(n):
            for j in range(inner):
                d = cut_out(out, positions, at + i * across + j * within, 1)
                put_out(d, 0, finish(take(s, i * step * inner + j), total, q))


def gather(line, src, begin, stride, within, inner, n):
    """Copy a row whose elements lie `stride` (and `within`) apart to where they lie together."""
    d = cut_line(line, n)
    for i in range(n // inner):
        for j in range(inner):
            d[i * inner + j] = cut_line(src + (begin + i * stride + j * within) * ITEM, 1)[0]
