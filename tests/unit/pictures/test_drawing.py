from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from fo1agent.errors import InputError
from fo1agent.pictures.drawing import draw, region_color, tag_text
from fo1agent.regions.masks import Mask
from fo1agent.regions.regions import Region, Regions

PICTURE = Image.new("RGB", (640, 400), (120, 120, 120))


def region(name: str, box: tuple[float, float, float, float], label: str | None = "bus", score: float = 0.94) -> Region:
    return Region(f"img_00000000/{name}", box, score, label)


def changed(drawn: Image.Image, original: Image.Image = PICTURE) -> np.ndarray:
    """[H, W]: which pixels differ."""
    return (np.asarray(drawn) != np.asarray(original.convert("RGB"))).any(axis=2)


# ---- colours and words ----


def test_colours_come_from_the_name_alone() -> None:
    assert region_color("r7") == region_color("img_3fa9c1d2/r7")
    assert region_color("b1_2_3_4") == region_color("img_3fa9c1d2/b1_2_3_4")
    assert len({region_color(f"r{k}") for k in range(27)}) == 27
    assert all(len(region_color(name)) == 7 for name in ("r0", "r1000", "x", "", "r", "rx"))


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (region("r3", (0, 0, 1, 1)), "r3 bus .94"),
        (region("r3", (0, 0, 1, 1), None, 1.0), "r3 1.00"),
        (region("r3", (0, 0, 1, 1), "a  very\nlong label that never ends"), "r3 a very long label that … .94"),
        (region("b0_0_1_1", (0, 0, 1, 1), "EXIT"), "EXIT"),
        (region("b0_0_1_1", (0, 0, 1, 1), None), "box"),
        (region("r1", (0, 0, 1, 1), "café 出口"), "r1 cafe ·· .94"),
    ],
)
def test_what_a_tag_says(shown: Region, text: str) -> None:
    assert tag_text(shown).replace("...", "…") == text


def test_a_tag_may_say_less() -> None:
    shown = region("r3", (0, 0, 1, 1))
    assert (tag_text(shown, 1), tag_text(shown, 0)) == ("r3 bus", "r3")


# ---- pictures ----


def test_the_picture_itself_is_not_changed() -> None:
    picture = PICTURE.copy()
    drawn = draw(picture, [region("r0", (100, 100, 200, 200))])
    assert not changed(picture).any()
    assert changed(drawn).any()
    assert drawn.mode == "RGB"


def test_nothing_to_draw_gives_the_picture() -> None:
    assert not changed(draw(PICTURE, [])).any()
    assert not changed(draw(PICTURE, Regions.empty(), Regions.empty())).any()


@pytest.mark.parametrize(("side", "size"), [(320, (320, 200)), (1280, (1280, 800)), (None, (640, 400)), (1, (1, 1))])
def test_the_result_has_the_size_asked_for(side: int | None, size: tuple[int, int]) -> None:
    assert draw(PICTURE, [region("r0", (100, 100, 200, 200))], max_side=side).size == size


def test_a_side_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="max_side"):
        draw(PICTURE, [], max_side=0)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_any_mode_is_drawn_on(mode: str) -> None:
    assert draw(PICTURE.convert(mode), [region("r0", (10, 10, 90, 90))]).mode == "RGB"


def test_what_is_named_is_not_covered() -> None:
    for box in (
        (100.0, 100.0, 200.0, 200.0),
        (300.0, 200.0, 302.0, 202.0),
        (0.0, 0.0, 50.0, 50.0),
        (600, 380, 640, 400),
    ):
        drawn = changed(draw(PICTURE, [region("r0", box)]))
        x1, y1, x2, y2 = (int(v) for v in box)
        # At the picture's border the frame itself has to lie inside.
        inner = drawn[
            y1 + (4 if y1 == 0 else 0) : y2 - (4 if y2 == 400 else 0), x1 + 4 * (x1 == 0) : x2 - 4 * (x2 == 640)
        ]
        assert not inner.any()


def test_a_box_that_fills_the_picture_has_its_tag_inside() -> None:
    drawn = changed(draw(PICTURE, [region("r0", (0, 0, 640, 400))]))
    assert drawn[20:-20, 20:-20].any() or drawn[6:30, 6:100].any()


def test_evidence_is_drawn_stronger_than_candidates() -> None:
    box = (100.0, 100.0, 200.0, 200.0)
    strong = np.asarray(draw(PICTURE, [region("r0", box)]), dtype=int)
    faint = np.asarray(draw(PICTURE, [], [region("r0", box)]), dtype=int)
    assert np.abs(strong - 120).sum() > 2 * np.abs(faint - 120).sum() > 0


def test_a_candidate_that_is_evidence_is_drawn_once() -> None:
    shown = region("r0", (100, 100, 200, 200))
    assert draw(PICTURE, [shown], [shown]).tobytes() == draw(PICTURE, [shown]).tobytes()


def test_tiny_boxes_are_visible() -> None:
    assert changed(draw(PICTURE, [region("r0", (320, 200, 321, 201))])).sum() > 50
    assert changed(draw(PICTURE, [region("r0", (320, 200, 320, 200))])).sum() > 50


def test_a_tiny_picture_can_be_drawn_on() -> None:
    for size in ((1, 1), (5, 3), (20, 20), (1, 300)):
        picture = Image.new("RGB", size)
        assert draw(picture, [region("r0", (0, 0, *size))], [region("r1", (0, 0, *size))]).size == size


def test_a_mask_is_a_film_of_the_regions_colour_through_which_the_picture_shows() -> None:
    pixels = np.zeros((80, 100), dtype=bool)
    pixels[30:60, 40:70] = True
    region = Region("img_00000000/r0", (20.0, 20.0, 90.0, 70.0), 0.9, "cat", mask=Mask.of(pixels))
    picture = Image.new("RGB", (100, 80), (100, 100, 100))
    inside, in_box = draw(picture, [region]).getpixel((55, 45)), draw(picture, [region]).getpixel((30, 50))
    bare = dataclasses.replace(region, mask=None)
    assert in_box == draw(picture, [bare]).getpixel((30, 50)) == (100, 100, 100)
    film = tuple(round(100 + (c - 100) * 110 / 255) for c in bytes.fromhex(region_color("r0")[1:]))
    assert inside == pytest.approx(film, abs=2)
    large = draw(picture, [region], max_side=400)  # drawn in the size of the result
    assert large.getpixel((220, 180)) == pytest.approx(film, abs=2)
    assert draw(picture, [], [region]).getpixel((55, 45)) == (100, 100, 100)  # what is faint has none


# ---- points ----


def _at(image: Image.Image, x: int, y: int) -> np.ndarray:
    return np.array(image.getpixel((x, y)), dtype=int)


@pytest.mark.parametrize("ground", ["black", "white", "gray", "red", region_color("r0")])
@pytest.mark.parametrize("side", [200, 640, 4000])
def test_a_point_is_a_dot_whose_rings_are_seen_on_any_ground(ground: str, side: int) -> None:
    picture = Image.new("RGB", (side, side // 2), ground)
    shown = region("r0", (side * 0.2, side * 0.1, side * 0.6, side * 0.4))
    x, y = round(side * 0.4), round(side * 0.25)
    drawn = draw(picture, [shown], points={shown.id: (x, y)})
    assert tuple(_at(drawn, x, y)) == tuple(bytes.fromhex(region_color("r0")[1:]))
    below = _at(picture, x, y)
    across = [np.abs(_at(drawn, x + k, y) - below).max() for k in range(side // 20)]
    assert max(across) > 120, "one of its rings stands out"
    wide = int(np.flatnonzero(across).max()) * 2 + 1
    assert 0.012 * side <= wide <= 0.06 * side or wide <= 13


def test_a_point_lies_where_it_is_told_in_a_picture_of_another_size() -> None:
    shown = region("r1", (100, 100, 200, 200))
    clicked = draw(PICTURE, [shown], max_side=1280, points={shown.id: (150, 120)})
    bare = draw(PICTURE, [shown], max_side=1280)
    ys, xs = np.nonzero(changed(clicked, bare))
    assert (xs.mean(), ys.mean()) == pytest.approx((300, 240), abs=1)


def test_points_of_what_is_not_drawn_and_at_the_border_do_no_harm() -> None:
    shown = region("r1", (600, 300, 640, 400))
    elsewhere = draw(PICTURE, [shown], [region("r2", (0, 0, 9, 9))], points={"img_00000000/r2": (5, 5)})
    assert elsewhere.tobytes() == draw(PICTURE, [shown], [region("r2", (0, 0, 9, 9))]).tobytes()
    corner = draw(PICTURE, [shown], points={shown.id: (640, 400)})
    assert corner.size == PICTURE.size
    assert changed(corner, draw(PICTURE, [shown])).any()
