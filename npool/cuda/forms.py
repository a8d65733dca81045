"""What a kernel is specialised for, and the arguments that it takes at run time.

Windows, strides and dilations are part of a form: compiled in, unrolled. Shapes and padding are
arguments: one kernel serves every image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["MOST_TILE", "MOST_WINDOWS", "Drawing", "Form", "Gather", "Tap", "windows_of"]

#: Elements of a tile along an axis, and windows that reach one.
MOST_TILE, MOST_WINDOWS = 4, 4


@dataclass(frozen=True)
class Tap:
    """One pooled axis: a window of `kernel` taps, `dilation` apart, every `stride` elements."""

    kernel: int
    stride: int
    dilation: int

    @property
    def extent(self) -> int:
        """From the first tap to the last, plus one."""
        return self.dilation * (self.kernel - 1) + 1


@dataclass(frozen=True)
class Form:
    """The shape of a kernel's code.

    A thread computes `down` outputs along the column axis, `across` along the row axis and
    `vector` channels, for one plane after another.

    Attributes
    ----------
    axes : tuple of Tap
        The pooled axes, outermost in memory first. The last is the row, the one before it the
        column; others are deep.
    outer : tuple of int
        The dimensions that are walked by a loop, outermost first: the number of a deep axis, or
        -1 for one that is not pooled.
    inner : bool
        Whether unpooled elements (channels) lie inside the row axis.
    vector, across, down : int
        See above.
    load : int
        Elements of a load along the row; more than 1 only where windows touch without overlap.
    unit : bool
        Whether the innermost dimension has stride 1 in source and result.
    wide : bool
        Whether offsets within a plane need 64 bits.
    counted : bool
        Whether the divisor differs between outputs.
    include_pad : bool
        Whether padding counts in it.
    parts : int
        Scalars of an accumulator.
    folded : bool
        Whether the source holds accumulators of an earlier pass (else elements).
    adding : bool
        Whether the result already holds an accumulator to be combined with.
    finishing : bool
        Whether results are written (else accumulators).
    order : tuple of int
        With positions: the rank of each of `axes` in the caller's order; else empty.
    params : int
        Numbers that the reducer's functions are given.
    plain, closed : bool
        Whether an element is an accumulator as it is; whether what is combined has its type.
    imaginary : bool
        Whether a 0 is written after each result: real elements, complex results.
    """

    axes: tuple[Tap, ...]
    outer: tuple[int, ...]
    inner: bool
    vector: int = 1
    across: int = 1
    down: int = 1
    load: int = 1
    unit: bool = True
    wide: bool = False
    counted: bool = False
    include_pad: bool = True
    parts: int = 1
    folded: bool = False
    adding: bool = False
    finishing: bool = True
    order: tuple[int, ...] = ()
    params: int = 0
    plain: bool = False
    closed: bool = False
    imaginary: bool = False

    @property
    def row(self) -> Tap:
        """The innermost pooled axis."""
        return self.axes[-1]

    @property
    def column(self) -> Tap | None:
        """The pooled axis before the row, unless a loop walks it."""
        if len(self.axes) < 2 or len(self.axes) - 2 in self.outer:
            return None
        return self.axes[-2]

    @property
    def deep(self) -> tuple[int, ...]:
        """The pooled axes that a loop walks."""
        return tuple(axis for axis in self.outer if axis >= 0)

    @property
    def placed(self) -> bool:
        """Whether positions are kept."""
        return bool(self.order)

    @property
    def tracking(self) -> bool:
        """Whether positions are made here (a later pass finds them made)."""
        return self.placed and not self.folded

    @property
    def code_bits(self) -> int:
        """Bits for an axis in the code of a position within a window."""
        return 30 // len(self.axes)

    @property
    def in_sequence(self) -> bool:
        """Whether the taps are visited in the order of their positions."""
        return self.order == tuple(range(len(self.axes))) and not self.folded

    @property
    def taps(self) -> int:
        """Elements of a window."""
        count = 1
        for axis in self.axes:
            count *= axis.kernel
        return count

    def pointers(self) -> tuple[str, ...]:
        """Names of the pointer arguments: sources first, then results."""
        held = self.parts if self.folded else 1
        sources = tuple(f"s{p}" for p in range(held))
        if self.finishing:
            return (*sources, "d0", *(("d1",) if self.placed else ()))
        return (*sources, *(f"d{p}" for p in range(self.parts)))

    def numbers(self) -> Iterator[tuple[str, str]]:
        """Names and types of the arguments after the pointers.

        ``i``: 32 bits, or 64 in a wide form; ``l``: 64 bits; ``c``: the type of a count;
        ``f``: float64.
        """
        yield "lanes", "i"
        if self.inner:
            yield "channels", "i"
            if not self.unit:
                yield from (("ics", "i"), ("ocs", "i"))
        yield from (("ox", "i"), ("nx", "i"), ("bx", "i"))
        if self.inner or not self.unit:
            yield from (("sx", "i"), ("tx", "i"))
        if self.column:
            yield from (("oy", "i"), ("ny", "i"), ("by", "i"), ("sy", "i"), ("ty", "i"))
        for k, axis in enumerate(self.outer):
            yield from ((f"n{k}", "i"), (f"si{k}", "l"), (f"so{k}", "l"))
            if len(self.outer) > 1:
                yield f"step{k}", "i"
            if axis >= 0:
                yield from ((f"nz{k}", "i"), (f"bz{k}", "i"))
            if self.tracking:
                yield f"ps{k}", "l"
        if self.tracking:
            yield "px", "l"
            if self.inner:
                yield "pc", "l"
            if self.column:
                yield "py", "l"
        if self.counted and self.include_pad:
            yield "ax", "i"
            if self.column:
                yield "ay", "i"
            for k, axis in enumerate(self.outer):
                if axis >= 0:
                    yield f"az{k}", "i"
        yield "full", "c"
        for p in range(self.params):
            yield f"param{p}", "f"


@dataclass(frozen=True)
class Drawing:
    """The shape of a kernel whose windows begin elsewhere in each plane; names as in a `Form`.

    Attributes
    ----------
    kernels : tuple of int
        The windows' lengths, outermost in memory first. The last is of the row, which threads
        lie along; a loop goes through all others.
    stored : str
        The type of the samples in memory.
    samples : tuple of str
        The type in which they are computed with, for each axis.
    """

    kernels: tuple[int, ...]
    outer: tuple[int, ...]
    inner: bool
    stored: str
    samples: tuple[str, ...]
    parts: int = 1
    folded: bool = False
    order: tuple[int, ...] = ()
    wide: bool = False

    params, adding, finishing = 0, False, True

    @property
    def placed(self) -> bool:
        """Whether positions are kept."""
        return bool(self.order)

    @property
    def tracking(self) -> bool:
        """Whether positions are made here."""
        return self.placed and not self.folded

    def pointers(self) -> tuple[str, ...]:
        """Elements or accumulators, samples, and results."""
        sources = (f"s{p}" for p in range(self.parts if self.folded else 1))
        return (*sources, "su", "d0", *(("d1",) if self.placed else ()))

    def numbers(self) -> Iterator[tuple[str, str]]:
        """Names and types of the arguments after the pointers, as of a `Form`.

        With an axis' number, ``o`` is how many windows there are, ``last`` where the last begins,
        ``far`` the way from one to the next (``e``: float32), ``m`` and ``p`` the steps of an
        element and of a position, ``u`` where its samples are.
        """
        yield "lanes", "i"
        if self.inner:
            yield from (("channels", "i"), ("ics", "l"), ("ocs", "l"), ("uc", "l"))
        yield "tx", "l"
        for a, sample in enumerate(self.samples):
            yield from ((f"o{a}", "i"), (f"last{a}", "i"), (f"m{a}", "l"), (f"u{a}", "l"))
            yield f"far{a}", "f" if sample == "float64" else "e"
            if self.tracking:
                yield f"p{a}", "l"
        for k, axis in enumerate(self.outer):
            yield from ((f"n{k}", "i"), (f"so{k}", "l"), (f"step{k}", "i"))
            if axis < 0:
                yield from ((f"si{k}", "l"), (f"su{k}", "l"))


@dataclass(frozen=True)
class Gather:
    """The shape of a gradient kernel's code; names as in `npool.cuda.forms.Form`.

    The *source* is the gradient of the results (with the positions, for picks, or the norms), the
    *result* the gradient of the elements (beside the elements, for norms).

    Attributes
    ----------
    kind : str
        ``"sum"``: gradients are added; ``"average"``: over the count of their window; ``"add"``:
        those whose position is the element's; ``"last"``: the last of these, not added;
        ``"norm"``: as `power` says.
    row, column : Tap or None
        Tiled axes have a tile of `stride` elements. An axis of adaptive bins is ``Tap(0, 0, 0)``.
    power : str
        Of a norm: ``"one"``, ``"two"`` or ``"any"``, of which p - 1 is an argument.
    apart, beside : bool
        Whether positions or norms have other strides than the gradient, and the elements others
        than their own gradient.
    """

    kind: str
    axes: tuple[Tap, ...]
    outer: tuple[int, ...]
    inner: bool
    tiled: tuple[bool, ...]
    vector: int = 1
    unit: bool = True
    wide: bool = False
    counted: bool = False
    include_pad: bool = True
    power: str = ""
    apart: bool = False
    beside: bool = False

    parts, params, folded, adding, finishing, placed = 1, 0, False, False, True, False

    @property
    def row(self) -> Tap:
        """The innermost pooled axis."""
        return self.axes[-1]

    @property
    def column(self) -> Tap | None:
        """The pooled axis before the row, unless a loop walks it."""
        if len(self.axes) < 2 or len(self.axes) - 2 in self.outer:
            return None
        return self.axes[-2]

    @property
    def picking(self) -> bool:
        """Whether positions say which gradients count."""
        return self.kind in ("add", "last")

    @property
    def near(self) -> dict[str, tuple[Tap, bool]]:
        """The row and the column by letter, and whether each is tiled."""
        found = {"x": (self.row, self.tiled[-1])}
        if self.column:
            found["y"] = (self.column, self.tiled[-2])
        return found

    def tile(self, letter: str) -> int:
        """Elements of a thread along an axis."""
        tap, tiled = self.near[letter]
        return tap.stride if tiled else 1

    def pointers(self) -> tuple[str, ...]:
        """Gradients, positions or norms where there are any, elements, and the result."""
        paired = self.picking or self.power in ("two", "any")
        return ("s0", *(("s1",) if paired else ()), *(("s2",) if self.power else ()), "d0")

    def numbers(self) -> Iterator[tuple[str, str]]:
        """Names and types of the arguments after the pointers, as of a `Form`.

        ``n`` and ``o`` with a letter are the lengths of the element's and of the window's axis,
        ``b`` the padding before, ``q`` the first tile, ``s`` and ``t`` the strides of source and
        result, ``a`` the length with the padding after it, ``p`` the step of a position; ``r``
        and ``e`` are the strides of what lies apart from the source, and beside the result.
        """
        further = (("r",) if self.apart else ()) + (("e",) if self.beside else ())
        yield "lanes", "i"
        if self.inner:
            yield "channels", "i"
            if not self.unit:
                yield from (("ics", "i"), ("ocs", "i"))
            yield from ((f"{stem}cs", "i") for stem in further)
        for letter in self.near:
            yield from ((f"{stem}{letter}", "i") for stem in "noqb")
            if letter == "y" or self.inner or not self.unit:
                yield from ((f"s{letter}", "i"), (f"t{letter}", "i"))
            yield from ((f"{stem}{letter}", "i") for stem in further)
            if self.counted:
                yield f"a{letter}", "i"
            if self.picking:
                yield f"p{letter}", "l"
        for k, axis in enumerate(self.outer):
            yield from ((f"n{k}", "i"), (f"si{k}", "l"), (f"so{k}", "l"))
            yield from ((f"{stem}i{k}", "l") for stem in further)
            if len(self.outer) > 1:
                yield f"step{k}", "i"
            if axis >= 0:
                yield from ((f"oz{k}", "i"), (f"bz{k}", "i"))
                if self.counted:
                    yield f"az{k}", "i"
                if self.picking:
                    yield f"ps{k}", "l"
        if self.power == "any":
            yield "less", "a"
        yield "full", "c"


def windows_of(tap: Tap) -> int:
    """The most windows along an axis that an element lies in."""
    return -(-tap.extent // tap.stride)
