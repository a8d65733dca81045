"""`npool demo`: the seed's examples, the picture, the times."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import npool
from npool.cli import demo as demo_module
from npool.cli import demo_picture, demo_race
from npool.cli.app import app

SEED = Path(__file__).with_name("seed_examples.json")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of the test's own, which is where the command runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def demo(*arguments):
    return CliRunner().invoke(app, ["demo", *arguments])


def test_the_package_ships_the_seed_as_it_is():
    assert demo_module.seed_cases() == json.loads(SEED.read_text("utf-8"))["cases"]
    assert len(demo_module.seed_cases()) == 6


@pytest.mark.parametrize("case", demo_module.seed_cases(), ids=lambda case: case["name"])
def test_the_seed_comes_out_exactly(case):
    np.testing.assert_array_equal(demo_module.run_case(case), np.array(case["y"], float))


def test_it_shows_every_example_and_leaves_a_picture(folder):
    result = demo("--output", "picture.png")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("✓") == 6 + 4
    assert "✗" not in result.stdout
    for words in ("max, window (2, 3)", "[13, 15]", "NumPy", "torch", "first call", "picture.png"):
        assert words in result.stdout
    with Image.open("picture.png") as image:
        assert image.format == "PNG"
        assert image.width > 1500
        assert image.height > 1000


def test_a_wrong_result_is_marked_and_fails(monkeypatch):
    right = demo_module.run_case
    monkeypatch.setattr(demo_module, "run_case", lambda case: right(case) + (case["op"] == "avg"))
    result = demo("--no-timing")
    assert result.exit_code == 1
    assert result.stdout.count("✓") == 5
    assert result.stdout.count("✗ differs") == 1


def test_a_time_with_another_result_fails(monkeypatch):
    right = demo_race._with_numpy
    monkeypatch.setattr(demo_race, "_with_numpy", lambda *given: right(*given) + 1)
    result = demo()
    assert result.exit_code == 1
    assert result.stdout.count("✗ differs") == 4


def test_the_picture_shows_what_was_pooled():
    photo = demo_module.photograph()
    assert photo.shape == (512, 512, 3)
    assert photo.dtype == np.uint8
    picture = np.array(Image.open(io.BytesIO(demo_picture.draw(photo))))
    size, gap = demo_picture._TILE, demo_picture._GAP
    left = 2 * gap + 512 + demo_picture._LABELS
    assert np.array_equal(picture[demo_picture._TOP :, gap:][:512, :512], photo)
    for row, (reduce, _) in enumerate(demo_picture.REDUCTIONS):
        for column, k in enumerate(demo_picture.FACTORS):
            y, x = demo_picture._TOP + row * (size + gap), left + column * (size + gap)
            blocks = photo.reshape(512 // k, k, 512 // k, k, 3).astype(np.int64)
            expected = {
                "max": blocks.max((1, 3)),
                "min": blocks.min((1, 3)),
                "avg": np.rint(blocks.mean((1, 3))),
                "range": blocks.max((1, 3)) - blocks.min((1, 3)),
            }[reduce]
            side = size * k // 512
            large = np.kron(expected, np.ones((side, side, 1)))
            np.testing.assert_array_equal(picture[y : y + size, x : x + size], large)


def test_only_its_own_pictures_are_replaced(folder):
    assert demo("--no-timing").exit_code == 0
    first = (folder / "npool-demo.png").stat().st_mtime_ns
    assert demo("--no-timing").exit_code == 0
    assert (folder / "npool-demo.png").stat().st_mtime_ns > first
    Image.new("L", (2, 2)).save("mine.png")
    mine = (folder / "mine.png").read_bytes()
    refused = demo("--no-timing", "--output", "mine.png")
    assert refused.exit_code == 2
    assert "add --force" in refused.stderr
    assert (folder / "mine.png").read_bytes() == mine
    assert demo("--no-timing", "--output", "mine.png", "--force").exit_code == 0
    assert (folder / "mine.png").read_bytes() != mine


def test_without_torch_it_says_so(monkeypatch):
    monkeypatch.setattr(demo_race, "find_spec", lambda name: None)
    result = demo()
    assert result.exit_code == 0, result.output
    assert result.stdout.count("not installed") == 4


def test_the_race_runs_what_it_names(monkeypatch):
    calls = []
    right = npool.pool

    def spy(x, kernel, stride, **options):
        calls.append((options["reduce"], kernel, stride))
        return right(x, kernel, stride, **options)

    monkeypatch.setattr(npool, "pool", spy)
    names = [row.name for row in demo_race.race(demo_module.photograph())]
    assert names == ["max 2×2", "max 8×8", "avg 8×8", "max 9×9, stride 1"]
    assert list(dict.fromkeys(calls)) == [
        ("max", (2, 2), 2), ("max", (8, 8), 8), ("avg", (8, 8), 8), ("max", (9, 9), 1),
    ]  # fmt: skip
