"""How a reducer reaches a kernel: the text of `npool.cuda.emit` in a namespace of its words."""

from __future__ import annotations

import linecache
import types as python_types
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npool import scalars
from npool.cuda.draws import drawn_source
from npool.cuda.emit import kernel_source
from npool.cuda.forms import Drawing, Form, Gather
from npool.cuda.gathers import gather_source
from npool.cuda.toolkit import SIMULATED, Part, cuda
from npool.cuda.walks import Walk, walk_source
from npool.dtypes import is_half
from npool.identities import identity, storage
from npool.rebinding import rebound
from npool.reducers import REDUCERS, Reducer

if SIMULATED:
    from npool.cuda import simulated

    words: Any = simulated
else:
    from npool.cuda import words

__all__ = ["Code", "Kinds", "bind", "bind_gather", "common", "gradient_words"]

_CODE = np.dtype(np.int32)


@dataclass(frozen=True)
class Kinds:
    """The types of a fold.

    Attributes
    ----------
    source, accumulator, result : numpy.dtype
        Of the elements, the accumulator's parts and the results.
    place, index : numpy.dtype or None
        In which positions are kept, and written, where there are any.
    pairs : bool
        Whether two half elements, side by side, are handled as one of 32 bits.
    """

    source: np.dtype[Any]
    accumulator: np.dtype[Any]
    result: np.dtype[Any]
    place: np.dtype[Any] | None = None
    index: np.dtype[Any] | None = None
    pairs: bool = False

    def native(self, reducer: Reducer) -> bool:
        """Whether half types are compared as they are stored."""
        return reducer.selects and is_half(self.source) and self.place is None

    def held(self, reducer: Reducer) -> tuple[np.dtype[Any], ...]:
        """The types of an accumulator's parts in memory."""
        if self.native(reducer):
            return (np.dtype(np.uint32 if self.pairs else np.uint16),)
        parts = (storage(self.accumulator),) * reducer.parts
        return (*parts, self.place) if self.place else parts

    def element(self, reducer: Reducer) -> np.dtype[Any]:
        """The type of an element in memory."""
        return self.held(reducer)[0] if self.native(reducer) else storage(self.source)

    def written(self, reducer: Reducer) -> tuple[np.dtype[Any], ...]:
        """The types of what a last pass writes."""
        value = self.held(reducer)[0] if self.native(reducer) else storage(self.result)
        return (value, self.index) if self.index else (value,)


@dataclass(frozen=True, eq=False)
class Code:
    """A kernel before it is compiled for an architecture.

    Attributes
    ----------
    form : Form, Walk, Gather, Drawing or one that brings its words along
    kinds : Kinds
    source : str
    pointers : tuple of numpy.dtype
        What each pointer points to.
    numbers : tuple of (str, numpy.dtype)
        The arguments after them.
    """

    form: Any
    kinds: Kinds
    reducer: Reducer | None
    source: str
    pointers: tuple[np.dtype[Any], ...]
    numbers: tuple[tuple[str, np.dtype[Any]], ...]

    @classmethod
    def of(cls, form: Any, pointers: tuple[np.dtype[Any], ...]) -> Code:
        """The code of a form that brings its text and its words along, made once."""
        found = _codes.get((form, pointers))
        if found is None:
            numbers = tuple((name, np.dtype(np.int64)) for name, _ in form.numbers())
            kinds = Kinds(pointers[0], pointers[0], pointers[-1])
            found = _codes[form, pointers] = cls(
                form, kinds, None, form.source(), pointers, numbers
            )
        return found

    def function(self, cc: tuple[int, int] = (0, 0)) -> Any:
        """The kernel as a Python function, its words bound for an architecture."""
        name = f"<npool kernel {abs(hash(self.source)):x}>"
        # Numba and tracebacks look lines up by the file's name.
        linecache.cache[name] = (len(self.source), None, self.source.splitlines(True), name)
        space = _space(self, cc)
        exec(compile(self.source, name, "exec"), space)
        return space["kernel"]


_codes: dict[Any, Code] = {}
#: For each architecture the functions that kernels call, so that each is compiled for the first.
_parts: dict[tuple[int, int], dict[Any, Any]] = {}


def bind(reducer: Reducer, kinds: Kinds, form: Form | Walk | Drawing) -> Code:
    """The code of a form for a reducer and its types.

    Raises
    ------
    npool.identities.Misfit
        Where the reducer's identity does not fit its accumulator.
    """
    held = kinds.held(reducer)
    form = replace(form, parts=len(held))
    if not isinstance(form, Drawing):
        form = replace(form, params=len(reducer.params))
    if isinstance(form, Form):
        form = _simplified(reducer, kinds, form)
    # Two reducers that differ in their parameters alone share their kernels.
    key = (reducer.combine, reducer.lift, reducer.finish, reducer.positions, reducer.identity,
           reducer.selects, kinds, form)  # fmt: skip
    found = _codes.get(key)
    if found is None:
        found = _codes[key] = _bound(reducer, kinds, form)
    return found


def _simplified(reducer: Reducer, kinds: Kinds, form: Form) -> Form:
    """What need not be said of elements and of combining: Numba takes its time for each word."""
    held, element = kinds.held(reducer), kinds.element(reducer)
    native = kinds.native(reducer)
    stored = (
        held[0] == element and (native or kinds.source.kind in "iuf") and not is_half(kinds.source)
    )
    plain = (stored or native) and (reducer.lift is None or form.placed) and not form.folded
    words_alone = reducer.combine in (REDUCERS["max"].combine, REDUCERS["min"].combine)
    sums = reducer.combine is REDUCERS["sum"].combine and kinds.accumulator.kind == "f"
    return replace(form, plain=plain, closed=len(held) == 1 and (native or words_alone or sums))


def _bound(reducer: Reducer, kinds: Kinds, form: Form | Walk | Drawing) -> Code:
    held = kinds.held(reducer)
    sources = held if form.folded else (kinds.element(reducer),)
    if isinstance(form, Drawing):
        drawn = form.stored if form.stored != "bfloat16" else "uint16"
        sources = (*sources, storage(np.dtype(drawn)))
    results = kinds.written(reducer) if form.finishing else held
    index = np.dtype(np.int64 if form.wide else np.int32)
    kind = {"i": index, "l": np.dtype(np.int64), "c": _counted(kinds), "e": np.dtype(np.float32),
            "f": np.dtype(np.float64)}  # fmt: skip
    numbers = tuple((name, kind[letter]) for name, letter in form.numbers())
    make: Any = {Form: kernel_source, Walk: walk_source, Drawing: drawn_source}[type(form)]
    return Code(form, kinds, reducer, make(form), (*sources, *results), numbers)


def bind_gather(kinds: Kinds, form: Gather) -> Code:
    """The code of a gradient's form: `kinds.index` is the type of its positions."""
    found = _codes.get((kinds, form))
    if found is None:
        element = storage(kinds.source)
        index = np.dtype(np.int64 if form.wide else np.int32)
        kind = {"i": index, "l": np.dtype(np.int64), "c": _counted(kinds), "a": kinds.accumulator}
        numbers = tuple((name, kind[letter]) for name, letter in form.numbers())
        pointers = tuple(
            kinds.index if form.picking and name == "s1" and kinds.index else element
            for name in form.pointers()
        )
        found = _codes[kinds, form] = Code(
            form, kinds, None, gather_source(form), pointers, numbers
        )
    return found


def _counted(kinds: Kinds) -> np.dtype[Any]:
    """The type of the count that `finish` is given."""
    return kinds.accumulator if kinds.accumulator.kind == "f" else np.dtype(np.int64)


def common(form: Any) -> dict[str, Any]:
    """What every kernel's text may say."""
    index = np.int64 if form.wide else np.int32
    space: dict[str, Any] = {
        "cuda": cuda,
        "index": words.caster(np.dtype(index)), "long": words.caster(np.dtype("int64")),
        "select": words.select, "code": words.caster(_CODE), "FIRST": np.int32(0),
        "SECOND": np.int32(1), "min": words.least, "max": words.most, "quotient": words.quotient,
        "remainder": words.remainder, "divide": words.divide,
    }  # fmt: skip
    for lanes in (2, 4, 8, 16):
        space[f"load{lanes}"], space[f"store{lanes}"] = words.loader(lanes), words.storer(lanes)
    return space


def _gather_space(code: Code, form: Gather, cc: tuple[int, int]) -> dict[str, Any]:
    """The namespace of a gradient's kernel."""
    kinds, space = code.kinds, common(form)
    # What is only moved is moved as it is stored.
    moved = form.kind == "last"
    space |= gradient_words(
        storage(kinds.source) if moved else kinds.source,
        storage(kinds.source) if moved else kinds.accumulator, cc,
    )  # fmt: skip
    space["cast_count"] = words.caster(_counted(kinds))
    if form.power:
        space |= _norm_space(form.power, kinds.accumulator, cc)
    return space


def gradient_words(
    dtype: np.dtype[Any], accumulator: np.dtype[Any], cc: tuple[int, int]
) -> dict[str, Any]:
    """How gradients are read, kept and written, and what there is where there is none."""
    return {
        "lift": words.DECODERS.get(dtype.name) or Part(lambda x: x, cc),
        "keep0": words.caster(accumulator),
        "encode": words.ENCODERS.get(dtype.name) or words.caster(storage(dtype)),
        "NOTHING": accumulator.type(0),
    }


def _norm_space(power: str, kind: np.dtype[Any], cc: tuple[int, int]) -> dict[str, Any]:
    """What the gradient of a norm says of an element, its windows' norms, and their shares."""
    texts = {
        # A window of zeros has no derivative, and nothing to give.
        "over": "lambda g, n: select(n == zero, zero, g / n)",
        # (|x| / norm)**(p - 1) is at most 1 where p is more, whatever the two are.
        "weighed": "lambda g, v, n, less: "
                   "select(n == zero, zero, g * power(kind(absolute(v) / n), less))",
        "ended": "lambda total, v: total * v" if power == "two" else
                 "lambda total, v: total * signed(v)" if power == "one" else
                 "lambda total, v: select(v == zero, zero, total * signed(v))",
        "signed": "lambda v: select(v > zero, one, select(v < zero, -one, v))",
    }  # fmt: skip
    space: dict[str, Any] = {"zero": kind.type(0), "one": kind.type(1), "kind": words.caster(kind)}
    for word in (scalars.select, scalars.power, scalars.absolute):
        space[word.__name__] = words.VOCABULARY.get(word, word)
    for name in ("signed", "over", "weighed", "ended"):
        space[name] = Part(eval(texts[name], space), cc)
    return {name: space[name] for name in texts}


def _draws(form: Drawing, cc: tuple[int, int]) -> dict[str, Any]:
    """How a sample is read, and where the window of a number begins by it, for each axis."""
    space: dict[str, Any] = {"draw": words.DECODERS.get(form.stored) or Part(lambda u: u, cc)}
    for a, sample in enumerate(form.samples):
        single = np.float64 if sample == "float64" else np.float32
        # A half type rounds after each step; float32 is wide enough to round but once.
        decode, encode = words.DECODERS.get(sample), words.ENCODERS.get(sample)
        rounded = "decode(encode({}))" if decode else "({})"
        ahead = rounded.format(rounded.format("single(i) + drawn") + " * far")
        text = (
            "def begin(u, i, far, last):\n"
            # What is no sample (NaN, say) may not lead out of the array.
            "    drawn = select(u >= 0, single(u), single(0))\n"
            "    drawn = select(drawn <= 1, drawn, single(1))\n"
            f"    ahead = whole({ahead})\n"
            f"    return min(whole(ahead - whole({rounded.format('drawn * far')})), last)\n"
        )
        found = {"single": single, "whole": np.int64 if form.wide else np.int32,
                 "decode": decode, "encode": encode, "select": words.select,
                 "min": words.least}  # fmt: skip
        exec(text, found)
        space[f"begin{a}"] = Part(found["begin"], cc)
    return space


def _space(code: Code, cc: tuple[int, int]) -> dict[str, Any]:
    """The namespace of a kernel."""
    form, kinds, reducer = code.form, code.kinds, code.reducer
    if isinstance(form, Gather):
        return _gather_space(code, form, cc)
    if reducer is None:
        brought: dict[str, Any] = form.space(code, cc)
        return brought
    held, accumulator = kinds.held(reducer), kinds.accumulator
    floating = accumulator.kind == "f"
    native, placed = kinds.native(reducer), form.placed
    parts = _parts.setdefault(cc, {})

    def part(function: Any) -> Any:
        """A reducer's function for this architecture, `npool.scalars` bound to instructions."""
        word = words.VOCABULARY.get(function)
        if word is not None or not isinstance(function, python_types.FunctionType):
            return word or function
        if function not in parts:
            parts[function] = function  # one that calls itself is Numba's to refuse
            parts[function] = Part(rebound(function, part), cc)
        return parts[function]

    def made(text: str, **names: Any) -> Any:
        key = (text, *names.items())
        if key not in parts:
            space: dict[str, Any] = dict(names)
            parts[key] = Part(eval(f"lambda {text}", space), cc)
        return parts[key]

    same = made("x: x")
    nonzero = made("x: x != 0")
    space = common(form)
    if isinstance(form, Drawing):
        space |= _draws(form, cc)
    if native:
        end = str(reducer.identity)
        lanes = 2 if kinds.pairs else 1
        bits = (0x7C00 if kinds.source.name == "float16" else 0x7F80) | (
            0x8000 if end == "lowest" else 0
        )
        space["combine"] = words.EXTREMES[end, kinds.source.name, lanes]
        space["lift"] = space["encode"] = same
        space["cast_count"] = words.caster(_counted(kinds))
        space["finish"] = made("a, count: a")
        space["IDENTITY0"] = held[0].type(bits * (0x10001 if lanes == 2 else 1))
        for stem in ("keep0", "held0", "put0"):
            space[stem] = words.caster(held[0])
        return space
    to_float = words.caster(accumulator) if floating else same
    logical = accumulator.kind == "b"
    space["cast"], space["ZERO"] = to_float, storage(kinds.result).type(0)
    decode = words.DECODERS.get(kinds.source.name, nonzero if kinds.source.kind == "b" else same)
    encode = words.ENCODERS.get(kinds.result.name, words.caster(storage(kinds.result)))
    space["encode"] = made("v: np.uint8(v != 0)", np=np) if kinds.result.kind == "b" else encode
    space["cast_count"] = words.caster(_counted(kinds))
    if placed:
        space["lift"] = made("x: keep(decode(x))", keep=words.caster(accumulator), decode=decode)
        space["combine"] = part(reducer.positions)
    else:
        names = "".join(f", p{k}" for k in range(len(reducer.params)))
        if reducer.lift:
            space["lift"] = made(f"x{names}: lift(cast(decode(x)){names})", cast=to_float,
                                 decode=decode, lift=part(reducer.lift))  # fmt: skip
        else:
            space["lift"] = made("x: cast(decode(x))", cast=to_float, decode=decode)
        space["combine"] = part(reducer.combine)
    # No finish and one part: the accumulator is the result.
    space["finish"] = part(reducer.finish) or made("a, count: a")
    known = identity(reducer, kinds.source, accumulator, list(held), False, placed)
    for p, (kind, value) in enumerate(zip(held, known, strict=True)):
        space[f"keep{p}"] = nonzero if logical else words.caster(kind)
        space[f"held{p}"] = nonzero if logical else words.caster(kind)
        space[f"put{p}"] = words.caster(kind)
        space[f"IDENTITY{p}"] = bool(value) if logical else value
    if placed:
        assert kinds.place is not None
        # A form keeps the place within the window, until it writes.
        coded = isinstance(form, Form) and form.tracking
        at = _CODE if coded else kinds.place
        none = np.iinfo(at).max
        space["NO_PLACE"] = space["IDENTITY1"] = at.type(none)
        space["keep1"] = words.caster(at)
        out = kinds.index if form.finishing else kinds.place
        assert out is not None
        space["put1"] = words.caster(out)
        nowhere = -1 if form.finishing else np.iinfo(kinds.place).max
        space["NOWHERE"] = (np.dtype(np.int64) if coded else kinds.place).type(nowhere)
    return space
