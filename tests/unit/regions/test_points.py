"""Where a click hits a region, and nothing that lies in front of it."""

from __future__ import annotations

import pytest

from fo1agent.regions.points import point_at
from fo1agent.regions.regions import Box, Region, Regions

THING: Box = (100.0, 100.0, 200.0, 200.0)  # its middle is at 150, 150


def pointed(*others: Box) -> tuple[tuple[float, float], str]:
    regions = [Region(f"r{k}", box, 1.0) for k, box in enumerate((THING, *others))]
    return point_at(regions[0], Regions.from_list(regions))


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ((210.0, 100.0, 300.0, 290.0), "it lies beside it"),
        ((160.0, 100.0, 300.0, 290.0), "its middle is free"),
        ((140.0, 0.0, 400.0, 190.0), "what is larger and stands higher is behind"),
        ((90.0, 90.0, 210.0, 210.0), "what fills all of it holds it"),
        ((120.0, 110.0, 300.0, 290.0), "what fills most of it may be the thing itself"),
        ((105.0, 105.0, 195.0, 195.0), "what is nearly as large is the thing again"),
    ],
)
def test_the_middle_is_taken_where_nothing_hides_it(other: Box, why: str) -> None:
    assert pointed(other) == ((150.0, 150.0), "middle"), why


@pytest.mark.parametrize(
    ("others", "within"),
    [
        # A larger thing that stands lower hides the right half: of the left one, 45 wide, half the depth is left.
        ([(145.0, 100.0, 400.0, 210.0)], (122.5, 145.0, 134.0, 155.0)),
        # A smaller one on the middle: above, below or beside it.
        ([(130.0, 130.0, 170.0, 170.0)], (100.0, 100.0, 200.0, 200.0)),
        # Both of two that hide it are kept clear of: only the upper left is free.
        ([(140.0, 100.0, 400.0, 210.0), (100.0, 145.0, 160.0, 200.0)], (110.0, 110.0, 130.0, 135.0)),
    ],
)
def test_a_point_is_clear_of_what_hides_the_middle_and_near_to_it(others: list[Box], within: Box) -> None:
    (x, y), by = pointed(*others)
    assert by == "free"
    x1, y1, x2, y2 = within
    assert x1 <= x <= x2
    assert y1 <= y <= y2
    assert not any(left <= x <= right and top <= y <= bottom for left, top, right, bottom in others)


def test_where_all_of_it_is_hidden_the_middle_is_taken() -> None:
    quarters = [(100.0, 100.0, 150.0, 150.0), (150.0, 100.0, 200.0, 150.0), (100.0, 150.0, 200.0, 200.0)]
    assert pointed(*quarters) == ((150.0, 150.0), "middle")
