"""The driver that puts elements where positions say: max unpooling.

A template, compiled for each size of an element and type of positions. `dims` holds a row for
each axis of the elements: how many there are, how far apart they lie, and in the result, where
that of a plane's axis counts and that of a pooled one is 0. The first `OUTER` of them are planes,
and so is the last one where `INNER` is 1: a task is one place of those before, and a stretch of
that. `npool.cpu.unpooling` lays a call out.
"""

# The free names below come from the namespace that `npool.cpu.unpooling` compiles this in.
# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-def"


def unpool(head, dims, places, x, indices, out, last):
    """Compute the tasks from ``get(head, FIRST)`` up to, not including, `last`."""
    depth, outer, size = get(head, DEPTH), get(head, OUTER), get(head, SIZE)
    stretch = get(head, STRETCH)
    row = depth - 1
    grid = -(-axis(dims, row, LENGTH) // stretch)
    rows = 1
    for i in range(outer, row):
        rows *= axis(dims, i, LENGTH)
    wrong = 0
    for task in range(get(head, FIRST), last):
        begun = task % grid * stretch
        n = min(stretch, axis(dims, row, LENGTH) - begun)
        rest, source, index, target = task // grid, 0, 0, 0
        for back in range(outer):
            i = outer - 1 - back
            rest, at = rest // axis(dims, i, LENGTH), rest % axis(dims, i, LENGTH)
            source += at * axis(dims, i, X_STEP)
            index += at * axis(dims, i, INDEX_STEP)
            target += at * axis(dims, i, OUT_STEP)
        if get(head, CLEAR) > 0:
            clear(
                out + (target + begun * axis(dims, row, OUT_STEP)) * ITEM, get(head, CLEAR) * ITEM
            )
        step, apart, along = (
            axis(dims, row, X_STEP), axis(dims, row, INDEX_STEP), axis(dims, row, OUT_STEP),
        )  # fmt: skip
        for r in range(rows):
            rest, s, p = r, source + begun * step, index + begun * apart
            for back in range(row - outer):
                i = row - 1 - back
                rest, at = rest // axis(dims, i, LENGTH), rest % axis(dims, i, LENGTH)
                s += at * axis(dims, i, X_STEP)
                p += at * axis(dims, i, INDEX_STEP)
            wrong += put_row(
                out, target + begun * along, along, x, s, step, indices, p, apart, n, size,
                places, get(head, AXES), get(head, NONE),
            )  # fmt: skip
    if wrong > 0:
        put(head, WRONG, 1)


def put_row(
    out, target, along, x, source, step, indices, index, apart, n, size, places, axes, none
):
    """Put `n` elements where they belong; how many positions are not in ``range(size)``.

    Of those nothing is written, whatever other threads may do to the positions meanwhile. `none`
    is a position that is no mistake but means that there is none. A position is one along an
    axis of the result, unless there are several `axes`: then they are told from it.
    """
    wrong, climb = 0, axis(places, 0, OUT_STEP)
    if axes == 1 and step == 1 and apart == 1 and climb > 0 and along >= 0:
        # As arrays, which take half the time: what lies together needs no addresses.
        values, at_places = (
            view(x + source * ITEM, n, SOURCE),
            view(indices + index * INDEX_ITEM, n, INDEX),
        )
        room = (size - 1) * climb + (n - 1) * along + 1
        into = view(out + target * ITEM, room, SOURCE)
        if climb == 1 and along == 0:
            for i in range(n):
                at = int(at_places[i])
                if at < 0 or at >= size:
                    wrong += at != none
                else:
                    into[at] = values[i]
            return wrong
        for i in range(n):
            at = int(at_places[i])
            if at < 0 or at >= size:
                wrong += at != none
            else:
                into[at * climb + i * along] = values[i]
        return wrong
    if axes == 1:
        for i in range(n):
            at = int(view(indices + (index + i * apart) * INDEX_ITEM, 1, INDEX)[0])
            if at < 0 or at >= size:
                wrong += at != none
            else:
                value = view(x + (source + i * step) * ITEM, 1, SOURCE)[0]
                view(out + (target + i * along + at * climb) * ITEM, 1, SOURCE)[0] = value
        return wrong
    for i in range(n):
        at = int(view(indices + (index + i * apart) * INDEX_ITEM, 1, INDEX)[0])
        if at < 0 or at >= size:
            wrong += at != none
            continue
        to = target + i * along
        for back in range(axes):
            k = axes - 1 - back
            to += at % axis(places, k, LENGTH) * axis(places, k, OUT_STEP)
            at = at // axis(places, k, LENGTH)
        view(out + to * ITEM, 1, SOURCE)[0] = view(x + (source + i * step) * ITEM, 1, SOURCE)[0]
    return wrong


def clear(at, n):
    """Write zeros to `n` bytes."""
    zeros = view(at, n, BYTE)
    for i in range(n):
        zeros[i] = 0
