"""`npool pool` on images: what is read, what is pooled, and that an image stays an image."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

import npool
from npool.cli.app import app
from npool.cli.image_write import as_samples
from npool.cli.refusal import Refusal


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of the test's own, which is where the command runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments):
    return CliRunner().invoke(app, ["pool", *map(str, arguments)])


def pooled(*arguments):
    """Run `npool pool`, which must succeed; return its result for looks at its output."""
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments):
    """Run `npool pool`, which must refuse; return its one line."""
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def samples(*shape, dtype=np.uint8, seed=1):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def average(x, axes=(0, 1), kernel=(2, 2)):
    """The image rule: an average of integer samples is rounded half to even."""
    dtype = x.dtype if x.dtype.kind in "iu" else None
    return npool.avg_pool(x, kernel, axes=axes, dtype=dtype)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_eight_bits(mode, suffix):
    count = len(Image.new(mode, (1, 1)).getbands())
    x = samples(12, 10, count) if count > 1 else samples(12, 10)
    Image.fromarray(x).save(f"x.{suffix}")
    for reduce, expected in (("max", npool.max_pool(x, (2, 2), axes=(0, 1))), ("avg", average(x))):
        pooled(f"x.{suffix}", f"y.{suffix}", "-r", reduce, "-k", "2", "-f")
        with Image.open(f"y.{suffix}") as image:
            assert image.mode == mode
            np.testing.assert_array_equal(np.array(image), expected)


@pytest.mark.parametrize("channels", [0, 2, 3, 4])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_in_full(channels, suffix):
    imagecodecs = pytest.importorskip("imagecodecs")
    x = samples(12, 10, *([channels] if channels else []), dtype=np.uint16)
    if suffix == "png":
        with open("x.png", "wb") as file:
            file.write(imagecodecs.png_encode(x))
    else:
        photometric = "rgb" if channels > 2 else "minisblack"
        extra = ["unassalpha"] if channels in (2, 4) else None
        tifffile.imwrite(
            "x.tif", x, photometric=photometric, extrasamples=extra,
            planarconfig="contig" if channels else None,
        )  # fmt: skip
    for reduce, expected in (("max", npool.max_pool(x, (2, 2), axes=(0, 1))), ("avg", average(x))):
        pooled(f"x.{suffix}", f"y.{suffix}", "-r", reduce, "-k", "2x2", "-f")
        if suffix == "png":
            with open("y.png", "rb") as file:
                found = imagecodecs.png_decode(file.read())
        else:
            found = tifffile.imread("y.tif")
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint32])
def test_other_samples_of_tiff(dtype):
    x = samples(8, 6, dtype=dtype)
    tifffile.imwrite("x.tif", x)
    pooled("x.tif", "y.tif", "-r", "avg", "-k", "2x3")
    found = tifffile.imread("y.tif")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, average(x, kernel=(2, 3)))


def test_jpeg():
    x = np.kron(samples(4, 5, 3), np.ones((16, 16, 1), np.uint8))
    Image.fromarray(x).save("x.jpg", quality=100, subsampling=0)
    pooled("x.jpg", "y.png", "-r", "avg", "-k", "16")
    with Image.open("x.jpg") as image, Image.open("y.png") as result:
        assert result.mode == "RGB"
        np.testing.assert_array_equal(np.array(result), average(np.array(image), kernel=(16, 16)))
    pooled("x.jpg", "y.jpeg", "-k", "2")
    with Image.open("y.jpeg") as result:
        assert (result.format, result.mode, result.size) == ("JPEG", "RGB", (40, 32))


def test_pages_are_a_stack():
    x = samples(5, 8, 6, dtype=np.uint16)
    tifffile.imwrite("x.tif", x, photometric="minisblack")
    pooled("x.tif", "y.tif", "-k", "2")
    np.testing.assert_array_equal(tifffile.imread("y.tif"), npool.max_pool(x, (2, 2)))
    pooled("x.tif", "z.tif", "-k", "2x2x2", "-r", "avg")
    found = tifffile.imread("z.tif")
    np.testing.assert_array_equal(found, average(x, (0, 1, 2), (2, 2, 2)))
    assert "one page" in refused("x.tif", "y.png", "-k", "2")


def test_pages_of_colours():
    x = samples(3, 8, 6, 3)
    tifffile.imwrite("x.tif", x, photometric="rgb")
    pooled("x.tif", "y.tif", "-k", "2x3")
    with tifffile.TiffFile("y.tif") as file:
        assert len(file.pages) == 3
    np.testing.assert_array_equal(tifffile.imread("y.tif"), npool.max_pool(x, (2, 3), axes=(1, 2)))


def test_planes_of_colours_become_pixels():
    x = samples(3, 8, 6)
    tifffile.imwrite("x.tif", x, photometric="rgb", planarconfig="separate")
    pooled("x.tif", "y.png", "-k", "2")
    with Image.open("y.png") as image:
        np.testing.assert_array_equal(np.array(image), npool.max_pool(x, (2, 2)).transpose(1, 2, 0))


def test_pages_of_different_sizes_are_refused():
    with tifffile.TiffWriter("x.tif") as file:
        file.write(samples(8, 8))
        file.write(samples(4, 4))
    assert "8x8, 4x4" in refused("x.tif", "y.tif", "-k", "2")


def test_compressed_tiff():
    pytest.importorskip("imagecodecs")
    x = samples(16, 16, dtype=np.uint16)
    tifffile.imwrite("x.tif", x, compression="lzw")
    pooled("x.tif", "y.tif", "-k", "2")
    np.testing.assert_array_equal(tifffile.imread("y.tif"), npool.max_pool(x, (2, 2)))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_one_bit_stays_one_bit_unless_it_is_averaged(suffix):
    x = samples(8, 6) > 120
    Image.fromarray(x).save(f"x.{suffix}")
    for reduce in ("max", "min", "any", "all"):
        pooled(f"x.{suffix}", f"y.{suffix}", "-r", reduce, "-k", "2", "-f")
        with Image.open(f"y.{suffix}") as image:
            assert image.mode == "1"
            np.testing.assert_array_equal(np.array(image), npool.pool(x, (2, 2), reduce=reduce))
    pooled(f"x.{suffix}", f"y.{suffix}", "-r", "avg", "-k", "2", "-f")
    gray = np.where(x, 255, 0).astype(np.uint8)
    with Image.open(f"y.{suffix}") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.array(image), average(gray))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_palette_colours_are_pooled_not_their_numbers(suffix):
    colours = samples(8, 6, 3) // 64 * 64
    image = Image.fromarray(colours).quantize(64)
    image.save(f"x.{suffix}")
    rgb = np.array(image.convert("RGB"))
    pooled(f"x.{suffix}", "y.png", "-k", "2")
    with Image.open("y.png") as result:
        assert result.mode == "RGB"
        np.testing.assert_array_equal(np.array(result), npool.max_pool(rgb, (2, 2), axes=(0, 1)))


def test_transparent_palette():
    image = Image.fromarray(samples(4, 4, 3)).quantize(8)
    image.save("x.png", transparency=0)
    pooled("x.png", "y.png", "-k", "2")
    with Image.open("y.png") as result:
        assert result.mode == "RGBA"


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_becomes_rgb_and_says_so(suffix):
    inks = [Image.fromarray(samples(8, 8, seed=seed)) for seed in range(4)]
    Image.merge("CMYK", inks).save(f"x.{suffix}")
    result = pooled(f"x.{suffix}", "y.png", "-k", "2")
    with Image.open(f"x.{suffix}") as image, Image.open("y.png") as found:
        assert found.mode == "RGB"
        rgb = np.array(image.convert("RGB"))
        np.testing.assert_array_equal(np.array(found), npool.max_pool(rgb, (2, 2), axes=(0, 1)))
    assert "CMYK was converted to RGB" in result.stderr
    assert pooled(f"x.{suffix}", "y.png", "-k", "2", "-f", "-q").output == ""


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "tif", "png"])
def test_pictures_come_upright(orientation, suffix):
    from PIL import ImageOps

    x = np.kron(samples(2, 3), np.ones((16, 16), np.uint8))
    exif = Image.Exif()
    exif[274] = orientation
    # Pillow 13 itself scrambles some turned TIFF: what must come out is told by a PNG.
    tifffile.imwrite("x.tif", x, extratags=[(274, 3, 1, orientation, True)])
    Image.fromarray(x).save("x.png", exif=exif)
    Image.fromarray(x).save("x.jpg", exif=exif)
    with Image.open("x.jpg" if suffix == "jpg" else "x.png") as image:
        upright = np.array(ImageOps.exif_transpose(image))
    pooled(f"x.{suffix}", "y.png", "-k", "4")
    with Image.open("y.png") as image:
        assert image.getexif().get(274, 1) == 1
        np.testing.assert_array_equal(np.array(image), npool.max_pool(upright, (4, 4)))


def test_the_colour_profile_stays(folder):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for suffix in ("png", "jpg", "tif"):
        Image.fromarray(samples(4, 4, 3)).save(f"x.{suffix}", icc_profile=profile)
        pooled(f"x.{suffix}", f"y.{suffix}", "-k", "2")
        with Image.open(f"y.{suffix}") as image:
            assert image.info["icc_profile"] == profile


@pytest.mark.parametrize("reduce", ["range", "absmax", "rms", "std"])
def test_real_valued_results_are_rounded(reduce):
    x = samples(8, 6, 3)
    Image.fromarray(x).save("x.png")
    pooled("x.png", "y.png", "-r", reduce, "-k", "2")
    expected = np.rint(npool.pool(x, (2, 2), axes=(0, 1), reduce=reduce))
    with Image.open("y.png") as image:
        np.testing.assert_array_equal(np.array(image), expected)


def test_truth_becomes_black_and_white():
    x = samples(8, 6) // 200
    Image.fromarray(x).save("x.png")
    pooled("x.png", "y.png", "-r", "all", "-k", "2")
    with Image.open("y.png") as image:
        expected = np.where(npool.pool(x, (2, 2), reduce="all"), 255, 0)
        np.testing.assert_array_equal(np.array(image), expected)


def test_results_that_do_not_fit_are_refused_unless_a_type_is_given():
    x = np.full((4, 4), 200, np.uint8)
    Image.fromarray(x).save("x.png")
    line = refused("x.png", "y.png", "-r", "sum", "-k", "2")
    assert "800" in line
    assert "uint8" in line
    pooled("x.png", "y.png", "-r", "sum", "-k", "2", "--dtype", "uint16")
    with Image.open("y.png") as image:
        np.testing.assert_array_equal(np.array(image), np.full((2, 2), 800))
    pooled("x.png", "y.tif", "-r", "std", "-k", "2", "--dtype", "float32")
    assert tifffile.imread("y.tif").dtype == np.float32
    pooled("x.png", "y.npy", "-r", "sum", "-k", "2x2")
    assert np.load("y.npy").dtype == npool.sum_pool(x, (2, 2)).dtype


def test_rounding_and_type_of_an_average():
    x = np.array([[0, 1], [0, 1]], np.uint8)
    Image.fromarray(x).save("x.png")
    for rounding, value in ((None, 0), ("half_up", 1), ("floor", 0)):
        more = ["--rounding", rounding] if rounding else []
        pooled("x.png", "y.png", "-f", "-r", "avg", "-k", "2", *more)
        with Image.open("y.png") as image:
            assert np.array(image).item() == value
    pooled("x.png", "y.tif", "-r", "avg", "-k", "2", "--dtype", "float32")
    assert tifffile.imread("y.tif").item() == 0.5
    pooled("x.png", "y.npy", "-r", "avg", "-k", "2")
    assert np.load("y.npy").item() == 0.5


def test_positions_of_an_image():
    x = samples(6, 8)
    Image.fromarray(x).save("x.png")
    pooled("x.png", "y.png", "-k", "2", "--indices", "i.npy")
    values, positions = npool.max_pool(x, (2, 2), return_indices=True)
    with Image.open("y.png") as image:
        np.testing.assert_array_equal(np.array(image), values)
    np.testing.assert_array_equal(np.load("i.npy"), positions)


def test_an_array_becomes_an_image():
    x = samples(8, 6, 3)
    np.save("x.npy", x)
    pooled("x.npy", "y.png", "-k", "2", "--axes", "0,1")
    with Image.open("y.png") as image:
        np.testing.assert_array_equal(np.array(image), npool.max_pool(x, (2, 2), axes=(0, 1)))
    np.save("f.npy", samples(8, 6, dtype=np.float64))
    assert "--dtype" in refused("f.npy", "z.png", "-k", "2x2")
    np.save("v.npy", np.arange(9.0))
    assert "is no image" in refused("v.npy", "z.png", "-k", "3")


def test_what_formats_cannot_hold():
    Image.fromarray(samples(8, 8, 4)).save("rgba.png")
    assert "no transparency" in refused("rgba.png", "y.jpg", "-k", "2")
    tifffile.imwrite("deep.tif", samples(8, 8, dtype=np.uint16))
    assert "JPEG cannot hold uint16" in refused("deep.tif", "y.jpg", "-k", "2")
    tifffile.imwrite("real.tif", samples(8, 8, dtype=np.float32))
    assert "PNG cannot hold float32" in refused("real.tif", "y.png", "-k", "2")
    Image.fromarray(samples(8, 8, 3)).save("rgb.png")
    assert "colour channels" in refused("rgb.png", "y.png", "-k", "3", "--axes", "2")
    assert "rows and columns" in refused("rgb.png", "y.png", "-k", "2x2x2")
    assert "no type of image" in refused("rgb.png", "y.png", "-k", "2", "--dtype", "complex64")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.9])
def test_damaged_images_are_refused_in_a_line(folder, suffix, keep):
    whole = folder / f"x.{suffix}"
    Image.fromarray(samples(64, 64, 3)).save(whole)
    data = whole.read_bytes()
    (folder / f"cut.{suffix}").write_bytes(data[: max(12, int(keep * len(data)))])
    assert f"cut.{suffix}: cannot be read" in refused(f"cut.{suffix}", "y.png", "-k", "2")
    assert not (folder / "y.png").exists()


def test_samples_keep_to_their_type():
    np.testing.assert_array_equal(
        as_samples(np.array([0.5, 1.5, 2.5, 254.6]), np.dtype(np.uint8)), [0, 2, 2, 255]
    )
    for bad in (255.6, -0.6, np.nan, np.inf):
        with pytest.raises(Refusal):
            as_samples(np.array([bad]), np.dtype(np.uint8))
    assert as_samples(np.array([1e9]), np.dtype(np.float16)) == np.inf


@pytest.mark.parametrize("orientation", [1, 6])
def test_what_tiff_samples_stand_for(orientation):
    turn = [(274, 3, 1, orientation, True)]

    def upright(x):
        return np.rot90(x, -1) if orientation == 6 else x

    def check(expected):
        pooled("x.tif", "y.png", "-k", "2x3", "-f")
        with Image.open("y.png") as image:
            np.testing.assert_array_equal(
                np.array(image), npool.max_pool(upright(expected), (2, 3), axes=(0, 1))
            )

    levels = samples(8, 6)
    tifffile.imwrite("x.tif", levels, photometric="miniswhite", extratags=turn)
    check(255 - levels)
    deep = samples(8, 6, dtype=np.uint16)
    tifffile.imwrite("x.tif", deep, photometric="miniswhite", extratags=turn)
    check(65535 - deep)
    colours = samples(3, 256, dtype=np.uint16)
    tifffile.imwrite("x.tif", levels, photometric="palette", colormap=colours, extratags=turn)
    check((colours >> 8).astype(np.uint8).T[levels])
    inks = samples(8, 6, 4)
    tifffile.imwrite("x.tif", inks, photometric="separated", extratags=turn)
    rgb = Image.frombytes("CMYK", (6, 8), inks.tobytes()).convert("RGB")
    check(np.array(rgb))


def test_few_bits_of_gray():
    # A 4-bit PNG and TIFF, written by hand: Pillow and tifffile write only more or less.
    levels = np.array([[0, 15, 3, 4], [1, 2, 8, 9]], np.uint8)
    packed = (levels[:, ::2] << 4 | levels[:, 1::2]).tobytes()
    entries = [
        (256, 4), (257, 2), (258, 4), (259, 1), (262, 1), (273, 8), (277, 1), (278, 2),
        (279, len(packed)),
    ]  # fmt: skip
    body = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in entries)
    start = 8 + len(packed)
    with open("x.tif", "wb") as file:
        file.write(b"II*\x00" + struct.pack("<I", start) + packed)
        file.write(struct.pack("<H", len(entries)) + body + bytes(4))
    pooled("x.tif", "y.png", "-k", "2")
    with Image.open("y.png") as image:
        np.testing.assert_array_equal(np.array(image), [[255, 153]])
