"""Arrays as PNG, JPEG and TIFF files: what each format holds, and what is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np

from npool.cli.images import Picture
from npool.cli.refusal import Refusal

__all__ = ["FORMATS", "as_samples", "picture_of", "write_picture"]

#: Format by the output's suffix.
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}
_JPEG_QUALITY = 95
_PROFILE_TAG = 34675


def as_samples(result: np.ndarray, target: np.dtype[Any]) -> np.ndarray:
    """`result` as samples of type `target`: rounded half to even, refused where it does not fit.

    Truth values (any, all) become black and white.
    """
    if result.dtype == target:
        return result
    if target.kind == "f":
        with np.errstate(over="ignore"):  # past float16: infinity, as a float type says it
            return result.astype(target)
    if target.kind not in "iu":
        raise Refusal(f"--dtype {target} is no type of image samples: use uint8, uint16 or float32")
    bounds = np.iinfo(target)
    if result.dtype.kind == "b":
        levels: np.ndarray = result.astype(target) * target.type(bounds.max)
        return levels
    if result.size:
        if result.dtype.kind not in "iu":
            result = np.rint(result)
            if not np.isfinite(result).all():
                raise Refusal(
                    f"the result holds NaN or infinity, which {target} cannot: add --dtype "
                    "float32 and write .tif, or write .npy"
                )
        low, high = result.min(), result.max()
        if int(low) < bounds.min or int(high) > bounds.max:
            raise Refusal(
                f"the result runs from {low:g} to {high:g}, past what {target} holds: add "
                "--dtype float32 and write .tif, or write .npy"
            )
    return result.astype(target)


def picture_of(array: np.ndarray, output: Path) -> Picture:
    """What a bare array is as a picture: the last axis of 2, 3 or 4 entries is its channels."""
    channels = array.ndim >= 3 and array.shape[-1] in (2, 3, 4)
    planes = array.ndim - channels
    if planes not in (2, 3):
        raise Refusal(
            f"a result of shape {array.shape} is no image (rows x columns, or with 2 to 4 "
            f"channels last): write {output.with_suffix('.npy').name}"
        )
    return Picture(array, pages=planes == 3, channels=channels)


def write_picture(file: IO[bytes], picture: Picture, kind: str) -> None:
    """Write `picture` as `kind` (one of the values of :data:`FORMATS`)."""
    array = picture.array
    count = array.shape[-1] if picture.channels else 1
    if 0 in array.shape:
        raise Refusal(f"a result of shape {array.shape} has no pixels: write .npy")
    if kind == "TIFF":
        _write_tiff(file, picture)
        return
    if picture.pages:
        raise Refusal(
            f"{kind} holds one page and the result has {array.shape[0]}: write .tif or .npy"
        )
    kinds = ("bool", "uint8", "uint16") if kind == "PNG" else ("bool", "uint8")
    if array.dtype.name not in kinds:
        raise Refusal(
            f"{kind} cannot hold {array.dtype}: add --dtype {kinds[-1]}, or write .tif or .npy"
        )
    if kind == "JPEG" and count in (2, 4):
        raise Refusal("JPEG holds no transparency: write .png, .tif or .npy")
    if kind == "JPEG" and max(array.shape[:2]) > 65500:
        raise Refusal(f"JPEG holds at most 65500 rows and columns, not {array.shape}: write .png")
    if array.dtype == np.uint16 and count > 1:
        file.write(_deep_png(array))
        return
    _save_with_pillow(file, picture, kind)


def _save_with_pillow(file: IO[bytes], picture: Picture, kind: str) -> None:
    from PIL import Image

    array = np.ascontiguousarray(picture.array)
    if array.dtype == np.bool_ and (kind == "JPEG" or picture.channels):
        array = np.where(array, np.uint8(255), np.uint8(0))
    image = Image.fromarray(array)
    if kind == "JPEG":
        # No chroma subsampling: it would blend the very pixels that a pool kept apart.
        image.save(
            file, kind, quality=_JPEG_QUALITY, subsampling=0, icc_profile=picture.icc_profile
        )
    else:
        image.save(file, kind, icc_profile=picture.icc_profile)


def _deep_png(array: np.ndarray) -> bytes:
    try:
        import imagecodecs
    except ModuleNotFoundError:
        raise Refusal(
            "16-bit colour PNG needs imagecodecs: pip install imagecodecs, or write .tif"
        ) from None
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(array)))


def _write_tiff(file: IO[bytes], picture: Picture) -> None:
    array = np.ascontiguousarray(picture.array)
    if array.dtype == np.bool_ and not picture.pages and not picture.channels:
        _save_with_pillow(file, picture, "TIFF")
        return
    import tifffile

    if array.dtype == np.bool_:
        array = np.where(array, np.uint8(255), np.uint8(0))
    if array.dtype.kind not in "iuf":
        raise Refusal(f"TIFF cannot hold {array.dtype}: add --dtype float32, or write .npy")
    count = array.shape[-1] if picture.channels else 1
    profile = picture.icc_profile
    tifffile.imwrite(
        file,
        array,
        photometric="rgb" if count >= 3 else "minisblack",
        planarconfig="contig" if count > 1 else None,
        extrasamples=["unassalpha"] if count in (2, 4) else None,
        extratags=[(_PROFILE_TAG, 7, len(profile), profile, True)] if profile else None,
        metadata=None,
    )
