"""Ids of regions: read, told and taken apart in one way."""

from __future__ import annotations

import pytest

from fo1agent.regions.ids import (
    RegionId,
    box_name,
    image_of,
    is_region_id,
    name_of,
    numbered,
    respelled,
    spells,
)
from fo1agent.regions.regions import Region

BOX = (10.0, 20.0, 110.0, 220.0)


@pytest.mark.parametrize(
    ("text", "picture", "index", "box"),
    [
        ("r7", None, 7, None),
        ("img_3fa9c1d2-00000000/r7", "img_3fa9c1d2-00000000", 7, None),
        ("b0_0_1_1", None, None, (0.0, 0.0, 1.0, 1.0)),
        (" img_3fa9c1d2/r0\n", "img_3fa9c1d2", 0, None),
        ("b10_20_110_220", None, None, BOX),
        (f"img_{'0' * 64}/b10_20_110_220", f"img_{'0' * 64}", None, BOX),
    ],
)
def test_an_id_says_its_picture_and_its_number_or_its_box(text, picture, index, box):
    found = RegionId.read(text)
    assert found is not None
    assert (found.picture, found.index, found.box) == (picture, index, box)
    assert str(found) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        *("", "r", "r1234567", "R7", "r-1", "b1_2_3", "b1_2_3_4_5", "x7", "img_3fa9/r7", "img_3fa9c1d2/", "r7 r8", 7),
        *(None, "r00", "r07", "r٣", "b01_2_3_4", "img_3fa9c1d2-12/r7", "img_3fa9c1d2-/r7", "IMG_3FA9C1D2/r7"),
    ],
)
def test_what_is_no_id_is_none(text):
    assert RegionId.read(text) is None


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("r00", "r0"),
        (" R12 ", "r12"),
        ("b010_20_110_0220", "b10_20_110_220"),
        ("IMG_3FA9C1D2/r07", "img_3fa9c1d2/r7"),
    ],
)
def test_an_id_that_is_misspelt_has_a_right_spelling(text, right):
    assert respelled(text) == right
    assert respelled(right) is None


@pytest.mark.parametrize("text", ["r0", "b1_2_3_4", "red", "r2 d2", "b1", "b1_2", "r1234567", "bus"])
def test_other_text_is_no_id_that_is_misspelt(text):
    assert respelled(text) is None


@pytest.mark.parametrize(
    ("given", "boxes", "same"),
    [
        ("img_00000000-11111111", True, True),
        ("img_0000000000-1111111111", True, True),
        ("img_00000000", True, False),
        ("img_00000000-11111112", True, False),
        ("img_00000001-11111111", True, False),
        ("img_0000000-11111111", True, False),
        ("img_00000000", False, True),
        ("img_00000000-22222222", False, True),
        ("img_00000001-11111111", False, False),
    ],
)
def test_a_pictures_id_is_its_own_from_the_short_form_to_the_full_one(given, boxes, same):
    full = f"img_{'0' * 64}-{'1' * 64}"
    assert spells(given, "img_00000000-11111111", full, boxes=boxes) is same


def test_boxes_and_numbers_become_ids():
    assert box_name((-3.0, 0.4, 1e9, 2.6)) == "b0_0_999999_3"
    assert numbered("img_3fa9c1d2", [0, 5]) == ("img_3fa9c1d2/r0", "img_3fa9c1d2/r5")
    assert is_region_id(box_name(BOX))
    assert [Region(one, BOX, 1.0).index for one in ("img_3fa9c1d2/r5", "r5", "b1_2_3_4", "box3")] == [5, 5, None, None]


def test_ids_of_any_form_are_taken_apart():
    assert (name_of("a/b/c"), image_of("a/b/c"), name_of("c")) == ("c", "a", "c")
