"""The demonstration's picture: one photograph, several reductions, several factors."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

import npool

__all__ = ["OURS", "draw", "pooled"]

#: Marks a picture as this command's own, so that a later run may replace it.
OURS = "npool demo"

#: Reducer, and what it does to a window, for someone who sees it for the first time.
REDUCTIONS = (
    ("max", "the brightest value of each window"),
    ("avg", "the mean, rounded half to even"),
    ("min", "the darkest value"),
    ("range", "max - min: large where there are edges"),
)
FACTORS = (4, 8, 16, 32)

_TILE = 256  # a multiple of every pooled size: squares of one size
_GAP = 14
_LABELS = 150
_TOP = 124
_INK = (28, 30, 36)
_FAINT = (104, 108, 118)
_PAPER = (250, 250, 248)
_FRAME = (196, 196, 194)


def draw(photo: np.ndarray) -> bytes:
    """A labelled PNG of `photo` (rows, columns, 3; uint8) pooled in every way listed above.

    The photograph is drawn pixel for pixel. Every tile shows all of it; a pooled pixel is drawn
    as a square, so that the windows can be seen.
    """
    from PIL import Image, ImageDraw, PngImagePlugin

    rows, columns = photo.shape[:2]
    labels_at = 2 * _GAP + columns
    tiles_at = labels_at + _LABELS
    width = tiles_at + len(FACTORS) * (_TILE + _GAP)
    height = _TOP + max(len(REDUCTIONS) * (_TILE + _GAP), rows + 190)
    canvas = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(canvas)
    pen.text((_GAP, 18), "One photograph, pooled", _INK, _font(36))
    pen.text((_GAP, 78), f"the original, {columns} x {rows} pixels", _INK, _font(20))
    canvas.paste(Image.fromarray(photo), (_GAP, _TOP))
    _frame(pen, _GAP, _TOP, columns, rows)
    explained = (
        f"npool {npool.__version__}",
        "npool.pool(photo, (k, k), axes=(0, 1), reduce=...)",
        "Each square is one pixel of the result: what became of a k x k window.",
        "",
        "Photograph: Eileen Collins, NASA, public domain.",
        "Shipped with scikit-image as skimage.data.astronaut().",
    )
    for number, line in enumerate(explained):
        pen.text((_GAP, _TOP + rows + 16 + 24 * number), line, _FAINT, _font(15))
    for number, factor in enumerate(FACTORS):
        x = tiles_at + number * (_TILE + _GAP) + _TILE // 2
        small = f"{columns // factor} x {rows // factor} pixels"
        pen.text((x, _TOP - 44), f"k = {factor}", _INK, _font(22), anchor="mm")
        pen.text((x, _TOP - 18), small, _FAINT, _font(15), anchor="mm")
    for row, (reduce, words) in enumerate(REDUCTIONS):
        y = _TOP + row * (_TILE + _GAP)
        pen.text((labels_at + _GAP, y + _TILE // 2 - 44), reduce, _INK, _font(26))
        _wrapped(pen, (labels_at + _GAP, y + _TILE // 2 - 6), words)
        for number, factor in enumerate(FACTORS):
            x = tiles_at + number * (_TILE + _GAP)
            tile = Image.fromarray(pooled(photo, reduce, factor))
            canvas.paste(tile.resize((_TILE, _TILE), Image.Resampling.NEAREST), (x, y))
            _frame(pen, x, y, _TILE, _TILE)
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Software", OURS)
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG", pnginfo=notes, optimize=True)
    return buffer.getvalue()


def pooled(photo: np.ndarray, reduce: str, factor: int) -> np.ndarray:
    """`photo` reduced by `factor` along its rows and columns, still of its own type."""
    dtype = photo.dtype if reduce == "avg" else None
    found: np.ndarray = npool.pool(photo, (factor, factor), axes=(0, 1), reduce=reduce, dtype=dtype)
    return found


def _frame(pen: Any, x: int, y: int, width: int, height: int) -> None:
    pen.rectangle((x - 1, y - 1, x + width, y + height), outline=_FRAME)


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _wrapped(pen: Any, place: tuple[int, int], words: str) -> None:
    """Write `words` in lines that fit the column of labels."""
    x, y = place
    line = ""
    font = _font(15)
    for word in [*words.split(), ""]:
        longer = f"{line} {word}".strip()
        if word and pen.textlength(longer, font) <= _LABELS - 2 * _GAP:
            line = longer
            continue
        pen.text((x, y), line, _FAINT, font)
        y += 20
        line = word
