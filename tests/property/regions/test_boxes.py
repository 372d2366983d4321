"""Laws of box arithmetic."""

from unittest import mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fo1agent.regions import boxes

coordinate = st.floats(-2000, 2000, width=32)


@st.composite
def box_arrays(draw, min_size=0):
    corners = draw(st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate), min_size=min_size, max_size=12))
    points = np.array(corners, dtype=np.float64).reshape(-1, 2, 2)
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)


@given(box_arrays())
def test_formats_round_trip(some):
    np.testing.assert_allclose(boxes.cxcywh_to_xyxy(boxes.xyxy_to_cxcywh(some)), some, atol=1e-9)


@given(box_arrays(), box_arrays())
def test_iou_is_symmetric_and_a_share(a, b):
    overlap = boxes.iou(a, b)
    assert overlap.shape == (len(a), len(b))
    assert ((overlap >= 0) & (overlap <= 1 + 1e-9)).all()
    np.testing.assert_allclose(overlap, boxes.iou(b, a).T)


@given(box_arrays(), box_arrays())
def test_inputs_are_left_alone(a, b):
    before = a.copy(), b.copy()
    scores = np.linspace(0, 1, len(a))
    boxes.iou(a, b)
    boxes.coverage(a, b)
    boxes.clip(a, (50, 60))
    boxes.enlarge(a, 1.5, (50, 60))
    boxes.nms(a, scores, 0.5)
    assert np.array_equal(a, before[0])
    assert np.array_equal(b, before[1])


@given(box_arrays(), st.integers(1, 500), st.integers(1, 500))
def test_clip_lands_inside_and_clips_once(some, height, width):
    cut = boxes.clip(some, (height, width))
    assert (cut >= 0).all()
    assert (cut[:, 2] <= width).all()
    assert (cut[:, 3] <= height).all()
    assert np.array_equal(boxes.clip(cut, (height, width)), cut)


@given(box_arrays(), st.floats(0.05, 0.95), st.randoms())
def test_nms_keeps_no_pair_above_the_threshold_and_drops_none_needlessly(some, threshold, random):
    scores = np.array([random.random() for _ in some])
    kept = boxes.nms(some, scores, threshold)
    overlap = boxes.iou(some, some)
    assert (np.diff(scores[kept]) <= 0).all()
    assert (overlap[np.ix_(kept, kept)][~np.eye(len(kept), dtype=bool)] <= threshold).all()
    for gone in set(range(len(some))) - set(kept.tolist()):
        assert any(overlap[gone, k] > threshold and scores[k] >= scores[gone] for k in kept)


def one_by_one(some, scores, threshold, groups):
    """Greedy suppression as it is told: the best box that is left, then the next."""
    kept = []
    for i in sorted(range(len(some)), key=lambda i: -scores[i]):
        if all(groups[i] != groups[k] or boxes.iou(some[[i]], some[[k]])[0, 0] <= threshold for k in kept):
            kept.append(i)
    return kept


@given(st.integers(0, 40), st.sampled_from([0.0, 0.3, 0.5, 0.7]), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_nms_decides_block_by_block_as_it_would_one_by_one(number, threshold, block, seed):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 12, (number, 2, 2)).astype(float)  # so that boxes are often the same, or touch
    some = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    scores, groups = rng.integers(0, 4, number) / 4, rng.integers(0, 2, number)
    with mock.patch.object(boxes, "_AT_ONCE", block):
        assert boxes.nms(some, scores, threshold).tolist() == one_by_one(some, scores, threshold, np.zeros(number))
        grouped = boxes.nms(some, scores, threshold, groups)
        order = np.argsort(-scores, kind="stable")
        best = boxes.suppress(some[order].astype(np.float32), threshold, 5)
    assert grouped.tolist() == one_by_one(some, scores, threshold, groups)
    assert order[best].tolist() == one_by_one(some, scores, threshold, np.zeros(number))[:5]
