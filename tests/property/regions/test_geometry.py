"""Laws of spatial relations."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fo1agent.regions import geometry

# Whole pixels: sums and halves of them are exact, so opposites are exactly opposite.
pixel = st.integers(0, 400)


@st.composite
def box_arrays(draw, min_size=0):
    corners = draw(st.lists(st.tuples(pixel, pixel, pixel, pixel), min_size=min_size, max_size=8))
    points = np.array(corners, dtype=np.float64).reshape(-1, 2, 2)
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)


@given(box_arrays(), box_arrays())
def test_opposites_swap_their_sides(a, b):
    for one, other in (("left_of", "right_of"), ("above", "below"), ("inside", "contains")):
        assert np.array_equal(geometry.relations(one, a, b), geometry.relations(other, b, a).T)
        assert not (geometry.relations(one, a, b) & geometry.relations(other, a, b)).any()


@given(box_arrays(), box_arrays())
def test_no_two_things_are_on_each_other(a, b):
    assert not (geometry.relations("on", a, b) & geometry.relations("on", b, a).T).any()


@given(box_arrays(), box_arrays())
def test_mutual_relations_are_symmetric(a, b):
    for name in ("overlaps", "near", "next_to"):
        assert np.array_equal(geometry.relations(name, a, b), geometry.relations(name, b, a).T)


@given(box_arrays(), box_arrays(min_size=1))
def test_one_column_of_relations_is_relation(a, b):
    for name in geometry.RELATIONS:
        assert np.array_equal(geometry.relations(name, a, b)[:, 0], geometry.relation(name, a, b[0]))


@given(box_arrays(), box_arrays())
def test_scaling_the_picture_changes_no_relation(a, b):
    # By a power of two, so that no rounding moves a box across a border.
    for name in geometry.RELATIONS:
        assert np.array_equal(geometry.relations(name, a * 4, b * 4), geometry.relations(name, a, b))


@given(box_arrays(), box_arrays())
def test_boxes_that_overlap_have_no_gap(a, b):
    overlapping = geometry.relations("overlaps", a, b)
    assert (geometry.gaps(a, b)[overlapping] == 0).all()


@given(box_arrays(), box_arrays(min_size=1))
def test_nearest_is_ordered_by_gap(a, b):
    order = geometry.nearest(a, b)
    assert sorted(order.tolist()) == list(range(len(a)))
    assert (np.diff(geometry.gaps(a, b).min(axis=1)[order]) >= 0).all()
