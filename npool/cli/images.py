"""PNG, JPEG and TIFF files as arrays."""

from __future__ import annotations

import logging
import struct
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from npool.cli.refusal import Refusal, one_line

__all__ = ["Picture", "image_format", "read_picture"]

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",  # BigTIFF
    b"MM\x00+": "TIFF",
}
#: Axes of a picture after each EXIF orientation: transposed or not, then turned over or not
#: (rows, columns). Exif 2.32, table 'Orientation' (tag 274).
_ORIENTATIONS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
_ORIENTATION_TAG = 274


@dataclass(frozen=True)
class Picture:
    """Samples and what they mean.

    `array` has shape (rows, columns), with an axis of pages before and one of channels behind
    where `pages` and `channels` say so. Channels are gray + alpha (2), RGB (3) or RGBA (4).
    """

    array: np.ndarray
    pages: bool = False
    channels: bool = False
    icc_profile: bytes | None = None
    #: What was converted on reading, for the user to know.
    note: str = ""

    @property
    def rows(self) -> int:
        """The axis of rows; the columns are the next one."""
        return int(self.pages)

    @property
    def spatial(self) -> tuple[int, int]:
        return self.rows, self.rows + 1

    def gray_from_bilevel(self) -> Picture:
        """A one-bit picture as gray levels 0 and 255, so that averages of it mean something."""
        return replace(self, array=np.where(self.array, np.uint8(255), np.uint8(0)))


def image_format(path: Path) -> str | None:
    """``"PNG"``, ``"JPEG"``, ``"TIFF"`` or None, by the file's first bytes."""
    with path.open("rb") as file:
        head = file.read(8)
    for signature, name in _SIGNATURES.items():
        if head.startswith(signature):
            return name
    return None


def read_picture(path: Path, kind: str) -> Picture:
    """Read the image at `path`, of the format that :func:`image_format` found.

    It comes upright (EXIF orientation), palettes as RGB, CMYK and other colour spaces as RGB,
    16-bit samples in full.
    """
    try:
        with warnings.catch_warnings():
            # Decoders warn of odd metadata; the pixels are what is asked for.
            warnings.simplefilter("ignore")
            return _read_tiff(path) if kind == "TIFF" else _read_with_pillow(path, kind)
    except (Refusal, ImportError):
        raise
    except Exception as error:
        # Decoders raise anything at all on a damaged file: OSError, SyntaxError, struct.error…
        raise Refusal(
            f"{path}: cannot be read as {kind} ({one_line(error)}): "
            "open it in an image program and save it again"
        ) from error


def _read_with_pillow(path: Path, kind: str) -> Picture:
    from PIL import Image

    # The guard against bombs is for servers: this file is the user's own, and may be large.
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(path, formats=[kind]) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and kind != "JPEG":  # in a JPEG the others are previews or depth maps
            raise Refusal(
                f"{path}: has {frames} frames: save one of them"
                + ("" if kind == "PNG" else ", or all of them as RGB")
            )
        image.load()  # which may turn it, and then drops the tag
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
        profile = image.info.get("icc_profile")
        if kind == "PNG" and _deep_colour(path):
            codec = _imagecodecs("16-bit colour PNG")
            picture = Picture(codec.png_decode(path.read_bytes()), channels=True)
        else:
            picture = _from_pillow(image)
            if picture.note:
                profile = None  # it described the colours that were converted
    return replace(_upright(picture, orientation), icc_profile=profile)


def _from_pillow(image: Any) -> Picture:
    mode, note = image.mode, ""
    transparent = "transparency" in image.info
    if mode == "P":
        wanted = "RGBA" if transparent or "A" in image.palette.mode else "RGB"
    elif mode in ("PA", "RGBa"):
        wanted = "RGBA"
    elif mode == "La" or (mode in ("L", "1") and transparent):
        wanted = "LA"
    elif mode == "RGB" and transparent:
        wanted = "RGBA"
    elif mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
        wanted = "RGB"
        note = f"{mode} was converted to RGB"
    else:
        wanted = mode
    if wanted != mode:
        image = image.convert(wanted)
    array = np.array(image)
    if mode == "I" and array.size and array.min() >= 0 and array.max() < 1 << 16:
        array = array.astype(np.uint16)  # how some versions of Pillow give 16-bit gray
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return Picture(array, channels=array.ndim == 3, note=note)


def _deep_colour(path: Path) -> bool:
    """Whether a PNG has 16 bits a sample and more than gray: Pillow would halve them."""
    with path.open("rb") as file:
        head = file.read(26)
    depth, colour = struct.unpack(">BB", head[24:26])
    return bool(depth == 16 and colour in (2, 4, 6))


def _read_tiff(path: Path) -> Picture:
    import tifffile

    # What it has to say of odd tags is not what was asked for.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        orientation = page.tags.valueof(_ORIENTATION_TAG, 1)
        profile = page.tags.valueof("InterColorProfile")
        photometric = tifffile.PHOTOMETRIC(page.photometric).name
        if photometric not in ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE", "SEPARATED"):
            if orientation in (5, 6, 7, 8):  # Pillow 13 scrambles some of those
                raise Refusal(f"{path}: is {photometric} and turned: save it as RGB")
            return _read_with_pillow(path, "TIFF")
        if len(file.series) > 1:
            shapes = ", ".join("x".join(map(str, s.shape)) for s in file.series[:4])
            raise Refusal(
                f"{path}: its pages differ in size ({shapes}): split it into files of one size"
            )
        axes = file.series[0].axes
        try:
            array = file.series[0].asarray()
        except ValueError as error:
            if "imagecodecs" in str(error):
                _imagecodecs("this compression of TIFF")
            raise
        bits, colours = page.bitspersample, page.colormap
    if "Y" not in axes or "X" not in axes:
        raise Refusal(f"{path}: has axes {axes}, not rows and columns: save it as .npy")
    channels = "S" in axes
    order = [i for i, name in enumerate(axes) if name not in "YXS"]
    pages = len(order) > 0
    order += [axes.index(name) for name in ("YXS" if channels else "YX")]
    array = array.transpose(order)
    # Z-stacks of time series and the like: all their planes are pages.
    plane = array.shape[-3:] if channels else array.shape[-2:]
    array = array.reshape((-1, *plane) if pages else plane)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    picture = _meant(Picture(array, pages, channels), photometric, bits, colours)
    if picture.channels and picture.array.shape[-1] not in (2, 3, 4):
        raise Refusal(f"{path}: has {picture.array.shape[-1]} channels: save it as .npy")
    if picture.note:
        profile = None  # it described the colours that were converted
    return replace(_upright(picture, orientation), icc_profile=profile)


def _meant(picture: Picture, photometric: str, bits: int, colours: Any) -> Picture:
    """`picture` with what its samples stand for: levels where 0 is black, or RGB.

    TIFF 6.0, section 'PhotometricInterpretation'.
    """
    array = picture.array
    if photometric == "PALETTE":
        # 16 bits a colour by the standard, though some writers put 8 there.
        table = colours >> 8 if colours.max() > 255 else colours
        return replace(picture, array=table.astype(np.uint8).T[array], channels=True)
    if photometric == "SEPARATED":
        if array.dtype != np.uint8 or not picture.channels or array.shape[-1] != 4:
            raise Refusal(f"inks of {array.dtype} are not known, CMYK of uint8 is: save it as RGB")
        return replace(picture, array=_rgb_of_inks(array), note="CMYK was converted to RGB")
    if photometric == "MINISWHITE":
        top = True if array.dtype.kind == "b" else array.dtype.type(2**bits - 1)
        array = top ^ array if array.dtype.kind == "b" else top - array
    if bits < 8 and array.dtype == np.uint8:  # 2 or 4 bits of gray, as 8
        array = array * np.uint8(255 // (2**bits - 1))
    return replace(picture, array=array)


def _rgb_of_inks(array: np.ndarray) -> np.ndarray:
    from PIL import Image

    flat = np.ascontiguousarray(array).reshape(-1, array.shape[-2], 4)
    image = Image.frombytes("CMYK", flat.shape[1::-1], flat.tobytes()).convert("RGB")
    return np.array(image).reshape(*array.shape[:-1], 3)


def _upright(picture: Picture, orientation: Any) -> Picture:
    """Turn `picture` the way its EXIF tag says it was meant to be looked at."""
    transpose, rows, columns = _ORIENTATIONS.get(orientation, _ORIENTATIONS[1])
    array, (y, x) = picture.array, picture.spatial
    if transpose:
        array = array.swapaxes(y, x)
    turned = tuple(axis for axis, flip in ((y, rows), (x, columns)) if flip)
    return replace(picture, array=np.flip(array, turned) if turned else array)


def _imagecodecs(what: str) -> Any:
    try:
        import imagecodecs
    except ModuleNotFoundError:
        raise Refusal(f"{what} needs imagecodecs: pip install imagecodecs") from None
    return imagecodecs
