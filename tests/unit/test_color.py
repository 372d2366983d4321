"""Colour words of pixels."""

import numpy as np
import pytest

from fo1agent.color import COLORS, asks_for_color, basic_color, color_shares, is_color, main_color

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
    shares = color_shares(np.full((20, 30, 3), rgb, dtype=np.uint8))
    assert shares[color] == 1
    assert main_color(shares) == (color, 1.0)


def test_every_color_has_a_sample_above() -> None:
    assert set(SAMPLES) == set(COLORS)


def test_a_thing_need_not_fill_its_box() -> None:
    pixels = np.full((100, 100, 3), (128, 128, 128), dtype=np.uint8)
    pixels[30:70, 20:80] = SAMPLES["red"]
    shares = color_shares(pixels)
    assert is_color(shares, "red") == 1
    assert is_color(shares, "blue") == 0
    assert main_color(shares)[0] == "red"
    assert sum(shares.values()) == pytest.approx(1)


def test_one_pixel_is_enough() -> None:
    assert color_shares(np.zeros((1, 1, 3), dtype=np.uint8))["black"] == 1


def test_words_and_their_spellings() -> None:
    assert basic_color("Grey") == "gray"
    assert basic_color("wooden") is None


def test_questions_about_colors_are_known() -> None:
    assert asks_for_color("What colour is the bus?")
    assert asks_for_color("which color")
    assert not asks_for_color("Is it discolouration?")
