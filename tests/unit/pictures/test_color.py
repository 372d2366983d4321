"""Colour words of pixels."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fo1agent.pictures.color import _product, box_color_shares, color_shares, colors_of, is_color, main_color
from fo1agent.words.colors import COLORS, asks_for_color, basic_color

SAMPLES = {
    "black": (12, 12, 14),
    "white": (240, 240, 236),
    "gray": (128, 130, 128),
    "red": (200, 20, 25),
    "orange": (240, 140, 20),
    "brown": (110, 70, 30),
    "yellow": (240, 220, 40),
    "green": (30, 140, 50),
    "blue": (30, 70, 190),
    "purple": (110, 40, 160),
    "pink": (250, 150, 180),
}


@pytest.mark.parametrize(("color", "rgb"), SAMPLES.items())
def test_plain_colors_have_their_names(color: str, rgb: tuple[int, int, int]) -> None:
    shares = box_color_shares(Image.new("RGB", (30, 20), rgb), (0, 0, 30, 20))
    assert shares[color] > 0.5
    assert main_color(shares) == (color, shares[color])
    assert is_color(shares, color) == 1
    assert colors_of(shares) == (color,)
    assert color_shares(np.array([rgb], dtype=np.uint8))[color] == 1


def test_every_color_has_a_sample_above() -> None:
    assert set(SAMPLES) == set(COLORS)


def test_a_thing_need_not_fill_its_box() -> None:
    picture = Image.new("RGB", (100, 100), SAMPLES["gray"])
    picture.paste(SAMPLES["red"], (20, 30, 80, 70))
    shares = box_color_shares(picture, (0, 0, 100, 100))
    assert is_color(shares, "red") == 1
    assert is_color(shares, "blue") < 0.3
    assert main_color(shares)[0] == "red"
    assert sum(shares.values()) == pytest.approx(1)


def test_what_lies_around_a_box_lies_behind_the_thing_too() -> None:
    """A thin purple dress before the sky: more of its box is blue than purple."""
    picture = Image.new("RGB", (200, 200), SAMPLES["blue"])
    picture.paste(SAMPLES["purple"], (90, 50, 110, 150))
    box = (70, 50, 130, 150)
    assert main_color(box_color_shares(picture, box))[0] == "purple"
    assert is_color(box_color_shares(picture, box), "blue") < 1
    alone = box_color_shares(picture.crop(box), (0, 0, 60, 100))  # no surroundings, no telling
    assert box_color_shares(picture, box)["blue"] < alone["blue"]


def test_a_thing_of_the_color_of_its_surroundings_keeps_it() -> None:
    shares = box_color_shares(Image.new("RGB", (100, 100), SAMPLES["green"]), (30, 30, 60, 60))
    assert main_color(shares)[0] == "green"


def test_a_thing_can_have_several_colors() -> None:
    picture = Image.new("RGB", (120, 120), SAMPLES["green"])
    picture.paste(SAMPLES["white"], (30, 30, 90, 72))
    picture.paste(SAMPLES["red"], (30, 72, 90, 90))
    shares = box_color_shares(picture, (30, 30, 90, 90))
    assert set(colors_of(shares)) == {"white", "red"}
    assert colors_of(shares, most=1) == (main_color(shares)[0],)


def test_most_colors_are_those_that_people_say(shared_dir: Path, repo: Path) -> None:
    folder = shared_dir / "data/coco-natural"
    paths = [str(folder / name) for name in ("instances_dev.json", "images/dev", "captions_dev.jsonl")]
    run = subprocess.run(
        [sys.executable, str(repo / "benchmarks/colors.py"), *paths],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(repo)},
    )
    figures = json.loads(run.stdout)
    assert figures["things"] == 42
    assert figures["with surroundings"] >= 64


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (7, 4, 8, 5), (3, 2, 4, 5)])
def test_one_pixel_is_enough(box: tuple[int, int, int, int]) -> None:
    assert main_color(box_color_shares(Image.new("RGB", (8, 5)), box))[0] == "black"


def test_words_and_their_spellings() -> None:
    assert basic_color("Grey") == "gray"
    assert basic_color("wooden") is None


def test_questions_about_colors_are_known() -> None:
    assert asks_for_color("What colour is the bus?")
    assert asks_for_color("which color")
    assert not asks_for_color("Is it discolouration?")


@pytest.mark.parametrize("rows", [0, 1, 900, 7000])
def test_a_product_in_parts_is_the_product(rows: int) -> None:
    random = np.random.default_rng(0)
    left, right = random.normal(size=(rows, 9)), random.normal(size=(9, 16))
    np.testing.assert_allclose(_product(left, right), left @ right, atol=1e-12)


def test_colors_of_a_masked_thing_are_those_of_its_pixels_alone() -> None:
    picture = Image.new("RGB", (200, 160), "white")
    picture.paste((20, 40, 220), (40, 30, 160, 130))  # what is seen through the ring
    pixels = np.zeros((160, 200), dtype=bool)
    pixels[30:130, 40:160] = True
    pixels[44:116, 54:146] = False
    red = np.array(picture)
    red[pixels] = (220, 20, 20)
    picture, box = Image.fromarray(red), (40, 30, 160, 130)
    assert main_color(box_color_shares(picture, box))[0] == "blue"
    assert colors_of(box_color_shares(picture, box, pixels[30:130, 40:160])) == ("red",)
    # One thin enough to be lost when the box is made small still has its colour.
    line = np.zeros((100, 120), dtype=bool)
    line[0, :] = True
    assert main_color(box_color_shares(picture, box, line))[0] == "red"
