"""Each relation on pictures one can draw in the head; y points down."""

from collections.abc import Sequence

import numpy as np
import pytest

from fo1agent.errors import InputError
from fo1agent.regions import geometry

NONE = np.zeros((0, 4))
BUS = np.array([200, 100, 400, 250])


def holds(name: str, a: Sequence[float], b: Sequence[float]) -> bool:
    return bool(geometry.relation(name, np.array([a]), np.array(b))[0])


def test_left_and_right_compare_centres_not_edges():
    wide = [0, 0, 300, 50]  # centre x = 150
    inner = [160, 60, 180, 90]  # centre x = 170
    assert holds("left_of", wide, inner)
    assert holds("right_of", inner, wide)
    assert not holds("left_of", inner, wide)


def test_above_means_a_smaller_y():
    assert holds("above", [0, 0, 10, 10], [100, 50, 110, 60])
    assert holds("below", [100, 50, 110, 60], [0, 0, 10, 10])


@pytest.mark.parametrize("name", ["left_of", "right_of", "above", "below", "inside", "contains", "on", "next_to"])
def test_nothing_is_so_to_itself(name):
    assert not holds(name, [10, 20, 30, 40], [10, 20, 30, 40])


def test_inside_takes_three_quarters_of_the_area():
    window = [210, 110, 240, 130]
    assert holds("inside", window, BUS.tolist())
    assert holds("contains", BUS.tolist(), window)
    assert holds("inside", [195, 110, 215, 130], BUS.tolist())  # 15 of 20 columns
    assert not holds("inside", [194, 110, 214, 130], BUS.tolist())
    assert not holds("inside", BUS.tolist(), window)


def test_overlaps_needs_area():
    assert holds("overlaps", [390, 240, 500, 300], BUS.tolist())
    assert not holds("overlaps", [400, 100, 500, 250], BUS.tolist())


def test_near_grows_with_the_things():
    # Both sizes are 100, so near reaches 50 pixels.
    assert holds("near", [0, 0, 100, 100], [150, 0, 250, 100])
    assert not holds("near", [0, 0, 100, 100], [151, 0, 251, 100])
    assert not holds("near", [0, 0, 10, 10], [60, 0, 70, 10])


def test_a_rider_is_on_the_horse_and_not_the_other_way_round():
    rider, horse = [120, 20, 180, 140], [80, 80, 240, 220]
    assert holds("on", rider, horse)
    assert not holds("on", horse, rider)


def test_a_cup_is_on_the_table_whether_seen_from_the_side_or_from_above():
    table = [0, 100, 300, 200]
    assert holds("on", [50, 70, 80, 98], table)  # a gap of two pixels
    assert holds("on", [50, 130, 80, 160], table)
    assert not holds("on", [50, 20, 80, 60], table)  # floats 40 pixels above
    assert not holds("on", [50, 150, 80, 230], table)  # stands in front
    assert not holds("on", [290, 70, 330, 100], table)  # most of it beside the table


def test_who_sits_on_a_bench_is_on_it_though_the_feet_hang_below_it():
    bench = [0, 110, 300, 240]
    sitter, before = [150, 30, 250, 255], [150, 30, 250, 275]
    assert holds("on", sitter, bench)
    assert not holds("on", bench, sitter)
    assert not holds("on", before, bench)  # the feet stand far in front


def test_what_carries_may_be_narrower():
    skater, board = [60, 10, 160, 120], [90, 105, 120, 118]
    assert holds("on", skater, board)
    assert not holds("on", board, skater)
    assert not holds("on", skater, [150, 105, 180, 118])  # most of the board is beside


def test_what_carries_is_below_where_boxes_could_be_either_way_round():
    couch, cat = np.array([[100, 150, 500, 400]]), np.array([[250, 300, 350, 398]])
    yes, no = np.array([True]), np.array([False])
    assert geometry.relations("on", couch, cat).item()
    assert not geometry.relations("on", couch, cat, (yes, no)).item()
    assert geometry.relations("on", cat, couch, (no, yes)).item()
    assert not geometry.relations("on", cat, couch, (yes, yes)).item()  # a chair before a couch: the boxes alone
    floating = np.array([[250, 20, 350, 60]])
    assert not geometry.relations("on", floating, couch, (no, yes)).item()


def test_a_laptop_on_a_lap_is_not_under_who_has_it():
    person, laptop = [0, 0, 200, 300], [60, 180, 160, 240]
    assert holds("on", laptop, person)
    assert not holds("on", person, laptop)


def test_next_to_is_side_by_side():
    assert holds("next_to", [100, 120, 190, 240], BUS.tolist())
    assert not holds("next_to", [250, 20, 300, 95], BUS.tolist())  # above it
    assert not holds("next_to", [220, 120, 260, 200], BUS.tolist())  # within it
    assert not holds("next_to", [0, 120, 20, 240], BUS.tolist())  # far away


def test_what_stands_lower_is_in_front_where_they_share_some_width():
    car, person, tree = [100, 100, 300, 200], [150, 120, 190, 260], [400, 20, 500, 150]
    assert holds("in_front_of", person, car)
    assert holds("behind", car, person)
    assert not holds("behind", person, car)
    assert not holds("in_front_of", car, tree)  # beside each other, whatever their depth
    assert not holds("in_front_of", car, car)


def test_between_lies_in_the_hull_and_between_the_centres():
    left, right = np.array([0, 0, 20, 20]), np.array([100, 0, 120, 20])
    people = np.array([[50, 5, 60, 15], [50, 40, 60, 60], [-20, 5, -10, 15], [1, 5, 5, 15], [55, 10, 55, 10]])
    assert geometry.between(people, left, right).tolist() == [True, False, False, False, True]
    assert geometry.between(people, left, left).tolist() == [False] * 5
    assert geometry.between(NONE, left, right).shape == (0,)


@pytest.mark.parametrize("name", geometry.RELATIONS)
def test_every_relation_takes_nothing_on_either_side(name):
    some = BUS[None]
    assert geometry.relations(name, NONE, some).shape == (0, 1)
    assert geometry.relations(name, some, NONE).shape == (1, 0)
    assert geometry.relation(name, NONE, BUS).dtype == np.bool_


def test_an_unknown_relation_lists_the_known_ones():
    with pytest.raises(InputError, match=r"No relation 'beyond'\. There are: left_of, right_of, above"):
        geometry.relation("beyond", BUS[None], BUS)


def test_gaps_measure_between_edges():
    a = np.array([[0, 0, 10, 10]])
    others = np.array([[13, 14, 20, 20], [5, 5, 30, 30], [10, 0, 20, 10], [12, 2, 12, 2]])
    assert geometry.gaps(a, others).tolist() == [[5, 0, 0, 2]]
    assert geometry.center_distances(a, np.array([[8, 9, 8, 9]])).tolist() == [[5]]


def test_nearest_orders_by_gap_then_by_centres():
    target = np.array([[0, 0, 100, 100]])
    people = np.array([[300, 0, 310, 10], [90, 90, 200, 200], [40, 40, 60, 60], [105, 0, 115, 10]])
    assert geometry.nearest(people, target).tolist() == [2, 1, 3, 0]
    assert geometry.nearest(NONE, target).tolist() == []


def test_nearest_measures_to_the_closest_of_several_targets():
    targets = np.array([[0, 0, 10, 10], [500, 0, 510, 10]])
    assert geometry.nearest(np.array([[100, 0, 110, 10], [480, 0, 490, 10]]), targets).tolist() == [1, 0]


def test_nearest_to_nothing_is_an_error():
    with pytest.raises(InputError, match="no box to measure from"):
        geometry.nearest(BUS[None], NONE)
