"""How a reducer reaches the loops: templates bound anew, compiled once, cached on disk.

A closure over a jitted function never hits Numba's disk cache. A template bound by
`types.FunctionType` in a namespace of its own does, if its name tells apart all that the
namespace may hold: so the name carries a digest of the reducer's code, and of whatever that
code refers to.

So do the names of the functions that a kernel calls. Numba numbers functions in the order in which
a process compiles them, and the linker takes the first of two that have one name: two kernels from
two processes, both loaded from disk, would share what is not inlined of either.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from functools import cache as memoised
from typing import Any, NamedTuple

import numpy as np
from numba.core import config

from npool.cpu import bounds, lanes, parts, tables
from npool.cpu.compiling import (
    access,
    address_of,
    compiled,
    copies,
    emit,
    forms,
    instructions,
    lock,
    long_rows,
    picks,
    slides,
    vectors,
    windows,
)
from npool.cpu.digest import PROCESS, digest, mark
from npool.cpu.parts import Words
from npool.cpu.schedule import LONG, PART
from npool.dtypes import is_half
from npool.identities import Misfit, identity, storage
from npool.rebinding import rebound
from npool.reducers import REDUCERS, Reducer

if bounds.CHECKED:
    from npool.cpu import checked

__all__ = ["Loops", "loops", "storage"]


class Loops(NamedTuple):
    """A reducer's loops, each the address of its machine code once it is asked for; bytes of an
    accumulator and of its first part; whether an accumulator is an element as it is stored;
    whether vectors can be combined, as `npool.cpu.lanes.whole` does; lanes of a vector where
    windows slide in registers (`npool.cpu.slides`), or 0.
    """

    compiled: Callable[[str], int]
    width: int
    first: int
    as_stored: bool
    combinable: bool
    lanes: int


_loops: dict[Any, Loops] = {}


def loops(
    reducer: Reducer,
    dtype: np.dtype[Any],
    accumulator: np.dtype[Any],
    result: np.dtype[Any],
    positions: np.dtype[Any] | None,
    place: np.dtype[Any] | None,
) -> Loops:
    """The compiled loops for a reducer and its types.

    `positions` is the type of its positions where they are wanted, `place` one that holds them
    inside.
    """
    key = (reducer.combine, reducer.lift, reducer.finish, reducer.identity, len(reducer.params),
           dtype, accumulator, result, positions, place)  # fmt: skip
    found = _loops.get(key)
    if found is None:
        with lock:
            code, complete = digest(reducer)
            placed = f"{positions.name}-{place.name}" if positions and place else "none"
            name = f"{code}-{dtype.name}-{accumulator.name}-{result.name}-{placed}"
            # A digest that is not complete may be that of other code as well: not shared.
            found = _loops.get(name) if complete else None
            if found is None:
                try:
                    found = _bind(
                        reducer, dtype, accumulator, result, positions, place,
                        name if complete else None,
                    )  # fmt: skip
                except Misfit:
                    raise
                except Exception as error:  # NumbaError, and what Numba lets slip
                    raise TypeError(_refusal(reducer, dtype, error)) from error
                if complete:
                    _loops[name] = found
            _loops[key] = found
    return found


def _refusal(reducer: Reducer, dtype: np.dtype[Any], error: Exception) -> str:
    """One line for Numba's forty."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    telling = re.compile("Unknown|Cannot|No impl|Untyped|Invalid|NameError|Unsupported|.* too many")
    reason = next((line for line in reversed(lines) if telling.match(line)), (lines or ["?"])[-1])
    return (
        f"reducer {reducer.name!r} does not compile for {dtype}: {reason[:200]}. Its functions "
        "must take and return scalars that Numba knows: combine(a, b), lift(x), finish(a, count)"
    )


def _bind(
    reducer: Reducer,
    dtype: np.dtype[Any],
    accumulator: np.dtype[Any],
    result: np.dtype[Any],
    positions: np.dtype[Any] | None,
    place: np.dtype[Any] | None,
    name: str | None,
) -> Loops:
    placed = place is not None
    # Max and min of half types compare integer keys; with positions, which need NaN apart
    # from the rest, and for every other reducer, they are decoded to float32.
    keyed = reducer.selects and is_half(dtype) and not placed
    form = {"lowest": "highest", "highest": "lowest"}[reducer.identity] if keyed else "value"
    if keyed:
        accumulator = np.dtype(np.int16)
    held = [storage(accumulator)] * reducer.parts + ([place] if place else [])
    floating = accumulator.kind == "f"
    to_float = instructions.caster(accumulator) if floating else None

    space: dict[str, Any] = {
        "__name__": lanes.__name__,
        "np": np,
        "select": instructions.select,
        "NO_PLACE": np.iinfo(place).max if place else 0,
    }

    def bound(template: Callable[..., Any], **more: Any) -> Any:
        return _bound_in({**space, **more} if more else space, template, name)

    same = bound(parts.same)
    nonzero = bound(parts.nonzero)
    space["cast"] = to_float if floating and not placed else same
    # What a lift returns becomes the accumulator's type before anything compares it.
    space["keep"] = nonzero if accumulator.kind == "b" else instructions.caster(accumulator)
    space["cast_count"] = to_float if floating else same
    # A bool array may hold other bytes than 0 and 1, as a view of a 0/255 mask does.
    decode = nonzero if dtype.kind == "b" else same
    space["decode"] = instructions.DECODERS.get((dtype.name, form), decode)
    encode = nonzero if result.kind == "b" else same
    space["encode"] = instructions.ENCODERS.get((result.name, form), encode)
    single, arity = reducer.parts == 1, len(reducer.params)
    if placed:
        space["combine"] = _part(reducer.positions)
        space["finish"] = bound(parts.finish_placed)
        space["lift"] = bound(parts.lift_placed)
    else:
        combine = parts.COMBINE[reducer.parts]
        space["combine"] = bound(combine, part_combine=_part(reducer.combine))
        if not single:
            space["cast_parts"] = bound(parts.CAST[reducer.parts])
        lift = parts.LIFT[single, arity] if reducer.lift else parts.lift_plain
        space["lift"] = bound(lift, part_lift=_part(reducer.lift))
        finish = parts.FINISH[single, arity] if reducer.finish else parts.finish_plain
        space["finish"] = bound(finish, part_finish=_part(reducer.finish))

    words = Words(
        held=tuple(held),
        source=storage(dtype),
        results=(storage(result), positions) if positions else (storage(result),),
        params=len(reducer.params),
        lift=bound(parts.lifted),
        combine=space["combine"],
        finish=space["finish"],
        identity=identity(reducer, dtype, accumulator, held, keyed, placed),
        counted=accumulator if floating else np.dtype(np.int64),
        placed=placed,
    )
    space = {"__name__": lanes.__name__, "fill_row": emit.fill_row(words), "finish_row":
             emit.finish_row(words), "split_row": copies.split_row(words)}  # fmt: skip
    space |= {"prefetch": access.prefetch, "PIECE": PART // dtype.itemsize, "ITEM": dtype.itemsize}
    space["stream"] = checked.stream if bounds.CHECKED else access.stream
    space["listed"], _ = access.table(tables.CHUNK)

    # Vectors are combined by the words that there are instructions for.
    plain = reducer.lift is None and not placed and held == [words.source] and dtype.kind in "if"
    vector = vectors.WIDE.get(reducer.combine)
    sums = reducer.combine is REDUCERS["sum"].combine
    if sums:
        vector = vectors.wide_sum
    combinable = plain and (reducer.combine in vectors.WIDE or sums)

    sliding: Any = None
    if forms is not None:
        bytewise = forms.as_bytes(words)
        sliding = forms.form_of(bytewise, reducer, dtype, accumulator, result, form)

    @memoised
    def loop(which: str) -> int:
        with lock:
            more, full = space, name
            if which == "source_rows":
                more = {**space, "fold_row": emit.fold_row(words, True)}
            elif which.endswith(("pooled", "direct")):
                most = 8 if "wide" in which else 4
                down = words
                if "ordered" in which:
                    down = words._replace(combine=_part(reducer.in_order or reducer.positions))
                more = {
                    **space,
                    "CHUNK": tables.CHUNK,
                    "PLACE_ITEM": place.itemsize if place else 8,
                    "fold_taps": windows.fold_taps(down, most),
                    "fold_pair": windows.fold_pair(words, most),
                    "finish_taps": windows.finish_taps(words, most),
                }
                for part in (lanes.finish_groups, lanes.write_past, lanes.fold_strip):
                    bound_part = types.FunctionType(part.__code__, more, part.__name__)
                    more[part.__name__] = instructions.jit(bound_part, inline=True)
            elif which.endswith("slid"):
                numbers = map(int, which.split("_")[-9:-1])
                rows, taps, stride, dilation, fresh, paired, backwards, group = numbers
                how = sliding if "ordered" in which else sliding.in_any_order()
                slide = slides.slide_rows(
                    bytewise, how, rows, taps, stride, dilation, fresh, bool(paired),
                    bool(backwards), group,
                )  # fmt: skip
                more = {**space, "CHUNK": tables.CHUNK, "LONG": LONG, "slide_rows": slide}
                unit = slides.unit_of(bytewise, stride, group)
                more |= {"GROUP": group, "UNIT": unit, "WHOLE": how.lanes % unit == 0}
            elif which.endswith("long"):
                taps, bare = int(which.split("_")[0]), "bare" in which
                long = long_rows.long_row(bytewise, sliding, taps, reducer.idempotent, bare)
                more = {**space, "long_row": long}
            elif which == "scratch_rows":
                more = {**space, "PIECE": 1 << 62, "fold_row": emit.fold_row(words, False)}
            elif which.endswith("tall"):
                rest, blocks = map(int, which.split("_")[:2])
                more = {**space, "tall_rows": windows.tall_rows(words, rest, bool(blocks))}
            elif which == "masked":
                more = {**space, "masked_row": windows.masked_row(words)}
            elif which == "picks":
                more = {**space, "pick_row": picks.pick_row(words), **tables.CONSTANTS}
                more["bin_at"], _ = access.table(len(tables.SPANS))
            elif which == "divided":
                more = {**space, "finish_each": picks.finish_each(words)}
            elif which == "whole":
                more = {**space, "whole_rows": vectors.whole_rows(words, vector)}
            kind, _, template = which.rpartition("_")
            if kind:
                full = name and f"{kind}-{name}"
            try:
                return address_of(compiled(getattr(lanes, template), more, full))
            except Exception as error:  # NumbaError, and what Numba lets slip
                raise TypeError(_refusal(reducer, dtype, error)) from error

    return Loops(
        loop,
        sum(part.itemsize for part in held),
        held[0].itemsize,
        reducer.lift is None
        and not placed
        and held == [words.source]
        and dtype.kind != "b"
        and not is_half(dtype),
        combinable,
        sliding.lanes if sliding else 0,
    )


def _bound_in(space: dict[str, Any], template: Callable[..., Any], name: str | None) -> Any:
    """`template` jitted in a namespace, to be called by what else is compiled in it."""
    function = types.FunctionType(template.__code__, space, template.__name__)
    function.__qualname__ = f"{template.__name__}-{name or PROCESS}"
    return instructions.jit(function)


_parts: dict[Any, Any] = {}


def _part(function: Any) -> Any:
    """A reducer's function, jitted, its words from `npool.scalars` bound to instructions."""
    if function is None:
        return None
    word = instructions.VOCABULARY.get(function)
    if word is not None:
        return word
    if config.DISABLE_JIT or not isinstance(function, types.FunctionType):
        return function  # a builtin or a user's own jitted function: Numba knows it, or says so
    found = _parts.get(function)
    if found is None:
        _parts[function] = function  # a function that calls itself is Numba's to refuse
        # Numba's cache looks a function's module up by name; a script's __main__ is another one
        # in the next process.
        bound = rebound(function, _part, lanes.__name__)
        bound.__qualname__ = f"{function.__name__}-{mark(function)}"
        found = instructions.jit(bound)
        _parts[function] = found
    return found
