"""Region and Regions: made, checked, sliced, looked up, written out."""

import json
import sys

import numpy as np
import pytest

from fo1agent.errors import BoxError, InputError, MissingExtraError
from fo1agent.regions.regions import Region, Regions, check_boxes, check_pixels


def three() -> Regions:
    boxes = np.array([[0, 0, 10, 20], [5, 5, 15, 25], [30, 0, 40, 10]], dtype=np.float64)
    ids = tuple(f"img_3fa9c1d2/r{i}" for i in range(3))
    return Regions(boxes, np.array([0.9, 0.5, 0.25]), ("cat", None, "dog"), ids, "given", 0.1, "a note")


def test_a_region_knows_its_name_centre_and_area():
    region = three()[0]
    assert (region.name, region.center, region.area) == ("r0", (5, 10), 200)
    assert all(isinstance(value, float) for value in region.box)


def test_to_dict_is_json():
    assert json.loads(json.dumps(three()[1].to_dict())) == {
        "id": "r1",
        "box": [5.0, 5.0, 15.0, 25.0],
        "label": None,
        "score": 0.5,
    }


def test_regions_are_a_sequence():
    regions = three()
    assert [region.name for region in regions] == ["r0", "r1", "r2"]
    assert regions[-1].name == "r2"
    with pytest.raises(IndexError):
        regions[3]


@pytest.mark.parametrize(
    ("index", "names"),
    [
        (slice(1, None), ["r1", "r2"]),
        ([2, 0], ["r2", "r0"]),
        (np.array([True, False, True]), ["r0", "r2"]),
        ([], []),
        (np.array([], dtype=bool), []),
    ],
)
def test_subsets_keep_order_source_note_and_none_score(index, names):
    regions = three()[[]] if isinstance(index, np.ndarray) and not index.size else three()
    subset = regions[index]
    assert [region.name for region in subset] == names
    assert (subset.source, subset.none_score, subset.note) == ("given", 0.1, "a note")


def test_no_regions_are_ordinary():
    nothing = Regions.empty(none_score=1.0, note="not there")
    assert (len(nothing), list(nothing), nothing.to_dicts()) == (0, [], [])
    assert nothing.boxes.shape == (0, 4)
    assert len(Regions.from_list([])) == 0


def test_from_list_is_the_inverse_of_list():
    regions = three()
    again = Regions.from_list(list(regions), regions.none_score, regions.note)
    assert np.array_equal(again.boxes, regions.boxes)
    assert again.to_dicts() == regions.to_dicts()


def test_later_changes_to_the_arrays_given_do_not_reach_in():
    boxes, scores = np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([0.5])
    regions = Regions(boxes, scores, (None,), ("img_0/r0",))
    boxes[:], scores[:] = 7, 0
    assert regions[0].box == (0, 0, 1, 1)
    assert regions[0].score == 0.5


@pytest.mark.parametrize("region_id", ["r1", "img_3fa9c1d2/r1"])
def test_by_id_takes_the_short_and_the_long_form(region_id):
    assert three().by_id(region_id) == three()[1]


@pytest.mark.parametrize("region_id", ["r9", "img_00000000/r1", "", "R1"])
def test_by_id_of_an_unknown_region_lists_the_known_ones(region_id):
    with pytest.raises(InputError, match="There are: r0, r1, r2"):
        three().by_id(region_id)


def test_lengths_must_agree():
    with pytest.raises(InputError, match="1 boxes, 2 scores, 1 labels and 1 ids"):
        Regions(np.zeros((1, 4)), np.zeros(2), (None,), ("a",))


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan"), float("inf")])
def test_scores_must_be_probabilities(score):
    with pytest.raises(InputError, match=r"must lie in \[0, 1\]"):
        Regions(np.zeros((1, 4)), np.array([score]), (None,), ("a",))


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([1, 2, 3, 4], r"shape \[N, 4\].*got \[4\]"),
        ([[1, 2, 3]], r"shape \[N, 4\].*got \[1, 3\]"),
        ([[1, 2, 3, 4], [1, 2]], "must be numbers"),
        ("a box", "must be numbers"),
        ([[0, 0, 10**400, 1]], "must be numbers"),
        ([[0, 0, float("nan"), 1]], r"boxes\[0\].*finite"),
        ([[0, 0, 1, 1], [0, float("inf"), 1, 1]], r"boxes\[1\].*finite"),
        ([[0, 0, 1, 1], [50, 10, 20, 40]], r"boxes\[1\] = \(50\.0, 10\.0, 20\.0, 40\.0\): x2 < x1.*x2 = x1 \+ width"),
        ([[0, 9, 1, 1]], "y2 < y1"),
        (None, "shape"),
    ],
)
def test_malformed_boxes_are_named(boxes, message):
    with pytest.raises(BoxError, match=message):
        check_boxes(boxes)


@pytest.mark.parametrize("boxes", [[], [(0, 0, 1, 1.01)], [(0, 0, 1, 1), (0, 0, 30, 40)], [(-2, 0, 1, 1)]])
def test_boxes_that_reach_out_of_the_first_pixel_are_pixels(boxes):
    check_pixels(boxes)


@pytest.mark.parametrize("boxes", [[(0, 0, 1, 1)], [(0.1, 0.1, 0.5, 0.5), (0, 0, 1, 1)], [(-0.01, 0, 0.5, 1)]])
def test_boxes_within_the_first_pixel_are_parts_of_the_size(boxes):
    with pytest.raises(BoxError, match="parts of the picture's size; give pixels: multiply by width and height"):
        check_pixels(boxes)


@pytest.mark.parametrize("boxes", [[], np.zeros((0, 4)), ()])
def test_no_boxes_have_shape_0_4(boxes):
    assert check_boxes(boxes).shape == (0, 4)


def test_to_coco_writes_xywh_of_the_known_labels():
    assert three().to_coco(7, {"dog": 18}) == [
        {"image_id": 7, "category_id": 18, "bbox": [30.0, 0.0, 10.0, 10.0], "score": 0.25}
    ]


def test_to_geojson_closes_its_rings():
    collection = three().to_geojson()
    ring = collection["features"][0]["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1] == [0, 0]
    assert len(ring) == 5
    json.dumps(collection)


def test_to_supervision_without_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError, match='pip install "supervision'):
        three().to_supervision()


def test_a_region_is_frozen():
    region = Region("img_0/r0", (0.0, 0.0, 1.0, 1.0), 0.5)
    with pytest.raises(AttributeError):
        region.score = 1.0  # pyright: ignore[reportAttributeAccessIssue]
