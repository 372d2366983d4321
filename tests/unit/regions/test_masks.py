"""`Mask`: COCO's runs as pycocotools reads and writes them, areas, overlaps, outlines, and the point inside."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import numpy as np
import pytest
import shapely

from fo1agent.errors import InputError
from fo1agent.regions.masks import MOST_LINES, Mask, _coarser
from fo1agent.regions.regions import Regions
from fo1agent.regions.relations import related

coco: Any = importlib.import_module("pycocotools.mask")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools itself


def _disc(size_hw: tuple[int, int], x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]] + 0.5
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def _several() -> dict[str, np.ndarray]:
    noise = np.random.default_rng(3).random((37, 53)) < 0.4
    corner = np.zeros((9, 5), dtype=bool)
    corner[0, 0] = corner[-1, -1] = True
    return {
        "nothing": np.zeros((7, 4), dtype=bool),
        "all": np.ones((7, 4), dtype=bool),
        "corners": corner,
        "noise": noise,
        "disc": _disc((120, 200), 90, 60, 40),
        "one pixel": np.ones((1, 1), dtype=bool),
    }


@pytest.mark.parametrize("pixels", _several().values(), ids=_several())
def test_runs_are_those_of_pycocotools_both_ways(pixels: np.ndarray) -> None:
    mask = Mask.of(pixels)
    theirs = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))
    assert mask.to_coco() == {"size": list(pixels.shape), "counts": theirs["counts"].decode()}
    assert (coco.decode(mask.to_coco()).astype(bool) == pixels).all()
    assert (Mask.from_coco(theirs).pixels() == pixels).all()
    assert (mask.pixels() == pixels).all()
    assert mask.area == coco.area(theirs) == pixels.sum()
    x, y, width, height = coco.toBbox(theirs)
    if mask.area:
        assert mask.box == (x, y, x + width, y + height)


def test_uncompressed_counts_are_read_too() -> None:
    assert Mask.from_coco({"size": [2, 3], "counts": [1, 2, 0, 1, 2]}).runs.tolist() == [[1, 4]]


@pytest.mark.parametrize(
    "told",
    [
        {"size": [2, 3]},
        {"size": [2, 3], "counts": [7]},
        {"size": [2, 3], "counts": [-1, 7]},
        {"size": [0, 0], "counts": []},
        {"size": [2, 3], "counts": "\x00"},
        {"size": [2, 3], "counts": "ooooooooooooooo0"},
        {"size": [2, 3], "counts": "o"},
        {"size": "23", "counts": 4},
    ],
)
def test_what_is_no_mask_is_refused(told: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="mask"):
        Mask.from_coco(told)


def test_a_mask_needs_two_sides_and_a_quality_from_0_to_1() -> None:
    with pytest.raises(ValueError, match=r"\[height, width\]"):
        Mask.of(np.zeros((2, 2, 2), dtype=bool))
    with pytest.raises(ValueError, match="from 0 to 1"):
        Mask.of(np.zeros((2, 2), dtype=bool), 1.5)


def test_shared_pixels_are_those_of_both_and_of_two_sizes_none() -> None:
    random = np.random.default_rng(5)
    one, other = random.random((31, 44)) < 0.5, random.random((31, 44)) < 0.2
    assert Mask.of(one).shared(Mask.of(other)) == (one & other).sum()
    assert Mask.of(one).iou(Mask.of(other)) == pytest.approx((one & other).sum() / (one | other).sum())
    assert Mask.of(one).shared(Mask.of(one)) == one.sum()
    assert Mask.of(one).shared(Mask.of(np.ones((44, 31), dtype=bool))) == 0
    assert Mask.of(~one & one).iou(Mask.of(~one & one)) == 0


def test_what_lies_within_a_box_is_cut_at_the_middles_of_pixels() -> None:
    mask = Mask.of(np.ones((10, 10), dtype=bool), 0.5)
    cut = mask.within((2.4, -3, 5.6, 4))
    assert cut.box == (2, 0, 6, 4)
    assert cut.quality == 0.5


def test_the_shape_is_exact_with_its_holes_and_polygons_are_near_it() -> None:
    ring = _disc((100, 100), 50, 50, 40) & ~_disc((100, 100), 50, 50, 20)
    mask = Mask.of(ring)
    assert mask.shape.area == ring.sum()
    assert not mask.shape.contains(shapely.Point(50, 50))
    (polygon,) = mask.polygons()
    outline = shapely.Polygon(np.reshape(polygon, (-1, 2)))
    assert shapely.hausdorff_distance(outline, shapely.Point(50, 50).buffer(40)) < 2
    assert len(polygon) < 120
    # pycocotools fills the polygon: the outline, without the hole
    filled = coco.decode(coco.merge(coco.frPyObjects([polygon], 100, 100))).astype(bool)
    disc = _disc((100, 100), 50, 50, 40)
    assert (filled & disc).sum() / (filled | disc).sum() > 0.95


def test_a_mask_meets_the_boxes_that_hold_one_of_its_pixels() -> None:
    pixels = np.random.default_rng(5).random((7, 9)) < 0.2
    mask, none = Mask.of(pixels), Mask.of(np.zeros((7, 9), dtype=bool))
    for x1, x2 in ((0, 9), (2, 3), (4, 6), (8, 20), (-3, 1), (3, 3)):
        for y1, y2 in ((0, 7), (3, 4), (5, 9), (-2, 0), (2, 2)):
            held = pixels[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)].any()
            assert mask.meets((x1, y1, x2, y2)) == held
            assert not none.meets((x1, y1, x2, y2))


@pytest.mark.parametrize("share", [0.0, 0.05, 0.4, 0.6, 0.95, 1.0])
def test_the_shape_is_the_union_of_its_pixels_wherever_they_touch(share: float) -> None:
    pixels = np.random.default_rng(3).random((23, 31)) < share
    shape = Mask.of(pixels).shape
    top, left = np.nonzero(pixels)
    assert shapely.equals(shape, shapely.union_all(shapely.box(left, top, left + 1, top + 1)))
    assert shapely.is_valid(shape)
    assert shape.area == pixels.sum()


def test_a_mask_of_very_many_pieces_is_drawn_coarser_and_told_exactly() -> None:
    height, width = 407, 640
    rows, columns = np.indices((height, width))
    fine = Mask.of((rows + columns) % 2 == 0)
    thing = _disc((height, width), 300, 200, 150)
    noisy = Mask.of(thing ^ (np.random.default_rng(0).random((height, width)) > 0.8))
    for mask, expected in ((fine, np.ones((height, width), dtype=bool)), (noisy, thing)):
        assert shapely.get_num_coordinates(mask.shape) < 2 * MOST_LINES
        outline = shapely.Polygon(np.reshape(mask.polygons()[0], (-1, 2)))
        assert outline.area == pytest.approx(expected.sum(), rel=0.03)
        x, y = mask.deepest() or (-1, -1)
        assert mask.pixels()[int(y), int(x)]
    assert fine.area == (height * width + 1) // 2
    assert coco.area(fine.to_coco()) == fine.area
    assert _coarser(np.eye(8, dtype=bool)[:5], 4).tolist() == [[True, False], [False, True]]


def test_pieces_are_several_polygons_largest_first() -> None:
    both = _disc((60, 100), 20, 30, 8) | _disc((60, 100), 70, 30, 20)
    both[2, 2] = True  # a speck
    large, small = (np.reshape(one, (-1, 2)) for one in Mask.of(both).polygons())
    assert large[:, 0].min() > 45 > small[:, 0].max()


def test_the_deepest_point_is_the_middle_of_a_disc_and_in_the_ring_of_a_ring() -> None:
    x, y = Mask.of(_disc((120, 200), 90, 60, 40)).deepest() or (0, 0)
    assert (x, y) == pytest.approx((90, 60), abs=1.5)
    ring = _disc((100, 100), 50, 50, 40) & ~_disc((100, 100), 50, 50, 20)
    x, y = Mask.of(ring).deepest() or (0, 0)
    assert np.hypot(x - 50, y - 50) == pytest.approx(30, abs=1.5)


def test_the_deepest_point_is_in_the_mask_however_thin_it_is() -> None:
    line = np.zeros((30, 30), dtype=bool)
    line[np.arange(30), np.arange(30)] = True  # pixels that touch at their corners only
    x, y = Mask.of(line).deepest() or (-1, -1)
    assert line[int(y), int(x)]
    assert Mask.of(np.zeros((4, 4), dtype=bool)).deepest() is None


def test_regions_carry_masks_through_slices_lists_and_equality() -> None:
    mask = Mask.of(_disc((60, 60), 30, 30, 10))
    boxes = np.array([[0, 0, 50, 50], [10, 10, 40, 40]])
    regions = Regions(boxes, np.ones(2), ("a", "b"), ("img_00000000/r0", "img_00000000/r1"), masks=(None, mask))
    assert regions[1].mask is mask
    assert regions[1].area == mask.area != regions[0].area == 2500
    assert regions[[1, 0]].masks == (mask, None)
    assert regions[np.array([False, True])].masks == (mask,)
    assert Regions.from_list(list(regions)).masks == (None, mask)
    assert regions.areas().tolist() == [2500, 900]  # of boxes, as one has no mask
    assert regions[1:].areas().tolist() == [mask.area]
    assert dataclasses.replace(regions[1], mask=None) == regions[1]
    assert Regions.empty().areas().tolist() == []
    with pytest.raises(InputError, match="2 boxes and 1 masks"):
        Regions(boxes, np.ones(2), ("a", "b"), ("r0", "r1"), masks=(mask,))


def _region(number: int, pixels: np.ndarray, *, masked: bool = True, label: str = "thing") -> Regions:
    mask = Mask.of(pixels)
    box = np.array([mask.box])
    return Regions(box, np.ones(1), (label,), (f"img_00000000/r{number}",), masks=(mask if masked else None,))


def _diagonal(size: int = 100, width: int = 6) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return np.abs(rows - columns) < width


def test_what_lies_in_the_empty_corner_of_a_box_neither_overlaps_the_thing_nor_is_in_or_on_it() -> None:
    leash, ball = _diagonal(), _disc((100, 100), 75, 25, 10)
    for relation in ("overlaps", "inside", "on"):
        boxes = related(relation, _region(0, ball, masked=False), _region(1, leash, masked=False))
        assert boxes.item() is True
        assert related(relation, _region(0, ball), _region(1, leash)).item() is False
        assert related(relation, _region(0, ball, masked=False), _region(1, leash)).item() is False  # one mask will do
    assert related("contains", _region(1, leash), _region(0, ball)).item() is False
    assert related("has_on", _region(1, leash), _region(0, ball)).item() is False


def test_what_a_bowl_encloses_is_inside_it_though_they_share_no_pixel() -> None:
    rows = np.mgrid[:100, :100][0]
    bowl = _disc((100, 100), 50, 40, 40) & ~_disc((100, 100), 50, 40, 32) & (rows >= 40)
    apple, beside = _disc((100, 100), 50, 55, 12), _disc((100, 100), 5, 95, 4)
    assert related("inside", _region(0, apple), _region(1, bowl)).item() is True
    assert related("contains", _region(1, bowl), _region(0, apple)).item() is True
    assert related("overlaps", _region(0, apple), _region(1, bowl)).item() is False
    assert related("inside", _region(0, beside), _region(1, bowl)).item() is False


def test_what_stands_on_a_thing_is_on_it_by_masks_too() -> None:
    rows, columns = np.mgrid[:100, :100]
    table = (rows >= 60) & (rows < 66) | (rows >= 66) & ((columns < 8) | (columns >= 92))
    cup, under = _disc((100, 100), 50, 52, 8), _disc((100, 100), 50, 85, 8)
    assert related("on", _region(0, cup), _region(1, table)).item() is True
    assert related("on", _region(0, under), _region(1, table)).item() is False
    assert related("on", _region(0, under, masked=False), _region(1, table, masked=False)).item() is True


def test_relations_that_boxes_tell_are_told_by_boxes() -> None:
    a, b = _disc((100, 100), 20, 50, 10), _disc((100, 100), 70, 50, 10)
    assert related("left_of", _region(0, a), _region(1, b)).item() is True
    assert related("overlaps", _region(0, a), _region(1, b)).item() is False
    assert related("overlaps", _region(0, a), _region(1, b | _disc((100, 100), 30, 50, 4))).item() is True
    assert related("overlaps", Regions.empty(), _region(1, b)).shape == (0, 1)
