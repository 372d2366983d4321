"""Box arithmetic on known numbers; laws are in tests/property."""

import numpy as np
import pytest

from fo1agent.regions import boxes

UNIT = np.array([[0.0, 0.0, 10.0, 10.0]])
NONE = np.zeros((0, 4))


def test_conversions_give_the_known_numbers():
    xyxy = np.array([[10.0, 20.0, 40.0, 30.0]])
    assert boxes.xyxy_to_cxcywh(xyxy).tolist() == [[25, 25, 30, 10]]
    assert boxes.xywh_to_xyxy(np.array([[10, 20, 30, 10]])).tolist() == xyxy.tolist()
    assert boxes.cxcywh_to_xyxy(np.array([[25, 25, 30, 10]])).tolist() == xyxy.tolist()


@pytest.mark.parametrize("convert", [boxes.xywh_to_xyxy, boxes.xyxy_to_cxcywh, boxes.cxcywh_to_xyxy])
def test_no_boxes_stay_no_boxes(convert):
    assert convert(NONE).shape == (0, 4)


def test_areas_and_centers():
    assert boxes.areas(np.array([[0, 0, 4, 5], [2, 2, 2, 9]])).tolist() == [20, 0]
    assert boxes.centers(np.array([[0, 0, 4, 5]])).tolist() == [[2, 2.5]]


def test_iou_of_half_overlapping_boxes_is_a_third():
    assert boxes.iou(UNIT, np.array([[5, 0, 15, 10]])).tolist() == [[pytest.approx(1 / 3)]]


def test_iou_is_zero_for_touching_and_for_areless_boxes():
    assert boxes.iou(UNIT, np.array([[10, 0, 20, 10]])).tolist() == [[0]]
    point = np.array([[3.0, 3.0, 3.0, 3.0]])
    assert boxes.iou(point, point).tolist() == [[0]]


def test_pairwise_functions_take_nothing_on_either_side():
    for function in (boxes.iou, boxes.intersections, boxes.coverage):
        assert function(NONE, UNIT).shape == (0, 1)
        assert function(UNIT, NONE).shape == (1, 0)


def test_coverage_is_a_share_of_the_first_box():
    small, large = np.array([[0, 0, 2, 2]]), np.array([[1, 0, 100, 100]])
    assert boxes.coverage(small, large).item() == 0.5
    assert boxes.coverage(large, small).item() == pytest.approx(2 / 9900)


def test_coverage_of_a_point_is_all_or_nothing():
    points = np.array([[5, 5, 5, 5], [10, 10, 10, 10], [11, 5, 11, 5]])
    assert boxes.coverage(points, UNIT).ravel().tolist() == [1, 1, 0]


def test_clip_cuts_at_height_and_width_in_the_right_order():
    cut = boxes.clip(np.array([[-5, -5, 500, 500]]), (100, 200))
    assert cut.tolist() == [[0, 0, 200, 100]]


def test_a_box_outside_is_not_visible():
    candidates = np.array([[0, 0, 10, 10], [200, 0, 210, 10], [-9, -9, 0, 5], [195, 95, 300, 300], [3, 3, 3, 9]])
    assert boxes.visible(candidates, (100, 200)).tolist() == [True, False, False, True, False]
    assert boxes.visible(candidates, (100, 200), min_side=5.0).tolist() == [True, False, False, False, False]


def test_enlarge_keeps_the_centre_and_the_border():
    assert boxes.enlarge(np.array([[10, 10, 20, 30]]), 2.0, (100, 100)).tolist() == [[5, 0, 25, 40]]


def test_nms_keeps_the_best_of_each_heap_best_first():
    heap = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [0, 1, 10, 11]])
    assert boxes.nms(heap, np.array([0.5, 0.9, 0.7, 0.6]), 0.5).tolist() == [1, 2]


def test_nms_spares_boxes_of_another_group():
    pair = np.array([[0, 0, 10, 10], [0, 0, 10, 10]])
    scores = np.array([0.5, 0.9])
    assert boxes.nms(pair, scores, 0.5).tolist() == [1]
    assert boxes.nms(pair, scores, 0.5, groups=np.array(["cat", "dog"])).tolist() == [1, 0]


def test_nms_of_nothing_is_nothing():
    assert boxes.nms(NONE, np.zeros(0), 0.5).tolist() == []


def test_a_suppressed_box_suppresses_nobody():
    # 0 beats 1, 1 would have beaten 2, and 0 does not touch 2.
    row = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]])
    assert boxes.nms(row, np.array([0.9, 0.8, 0.7]), 0.4).tolist() == [0, 2]


def left(found: tuple[np.ndarray, np.ndarray]) -> dict[int, float]:
    """Position and score of what is left, in order."""
    return dict(zip(found[0].tolist(), found[1].tolist(), strict=True))


def test_what_overlaps_a_better_box_keeps_a_share_or_goes() -> None:
    row = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [30, 0, 40, 10]], dtype=float)  # IoU of the first two: 6 / 14
    scores = np.array([0.5, 0.9, 0.7])
    assert left(boxes.once(row, scores, 0.4, 0.6, 0.1, 0.3)) == pytest.approx({1: 0.9, 2: 0.7, 0: 0.05})
    assert left(boxes.once(row, scores[[1, 1, 2]], 0.4, 0.6, 0.1, 0.3)) == pytest.approx({0: 0.9, 2: 0.7, 1: 0.09})
    assert left(boxes.once(row, scores, 0.5, 0.6, 0.1, 0.3)) == {1: 0.9, 2: 0.7, 0: 0.5}
    assert left(boxes.once(row, scores, 0.3, 0.4, 0.1, 0.3)) == {1: 0.9, 2: 0.7}
    assert left(boxes.once(NONE, np.zeros(0), 0.4, 0.6, 0.1, 0.3)) == {}


def test_the_third_of_a_row_is_not_the_first() -> None:
    # Each overlaps its neighbours only, by 6 / 14.
    row, scores = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]]), np.array([0.9, 0.8, 0.7])
    assert left(boxes.once(row, scores, 0.4, 0.6, 0.1, 0.5)) == pytest.approx({0: 0.9, 2: 0.7, 1: 0.08})
    assert left(boxes.once(row, scores, 0.4, 0.6, 0.1, 0.71)) == pytest.approx({0: 0.9, 1: 0.08, 2: 0.07})
    # Where neighbours repeat each other, the third would be gone with the second.
    assert left(boxes.once(row, scores, 0.3, 0.4, 0.1, 0.5)) == pytest.approx({0: 0.9, 2: 0.7})
    assert left(boxes.once(row, scores, 0.3, 0.4, 0.1, 0.71)) == pytest.approx({0: 0.9, 2: 0.7})


def test_parts_lie_in_better_boxes_only() -> None:
    found = np.array([[0, 0, 100, 100], [10, 10, 30, 30], [90, 90, 190, 190], [0, 0, 400, 400]])
    assert boxes.parts(found).tolist() == [False, True, False, False]
    assert boxes.parts(np.zeros((0, 4))).tolist() == []


def test_an_object_is_claimed_once_by_the_best_box() -> None:
    overlap = np.array([[0.6, 0.0], [0.9, 0.0], [0.7, 0.8], [0.1, 0.9]])  # best box first
    assert boxes.claims(overlap, 0.5).tolist() == [True, False, True, False]
    assert boxes.claims(overlap, 0.65).tolist() == [False, True, True, False]
    assert boxes.claims(np.zeros((2, 0)), 0.5).tolist() == [False, False]
    assert boxes.claims(np.zeros((0, 2)), 0.5).tolist() == []
