"""Laws of tags, whatever the boxes are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fo1agent.pictures.drawing import Style, place_tags
from fo1agent.regions.boxes import intersections
from fo1agent.regions.regions import Region

WIDTH, HEIGHT = 640, 480
corner = st.floats(0, 1)
boxes = st.lists(st.tuples(corner, corner, st.floats(0.001, 0.6), st.floats(0.001, 0.6)), min_size=1, max_size=40)


def regions_of(shares: list[tuple[float, float, float, float]]) -> list[Region]:
    made = []
    for k, (x, y, w, h) in enumerate(shares):
        x1, y1 = x * (WIDTH - 2), y * (HEIGHT - 2)
        box = (x1, y1, min(WIDTH, x1 + w * WIDTH), min(HEIGHT, y1 + h * HEIGHT))
        made.append(Region(f"img_00000000/r{k}", box, 0.5, "person"))
    return made


def placed(
    shares: list[tuple[float, float, float, float]], faint: int = 0
) -> tuple[list[Region], dict[str, np.ndarray]]:
    regions = regions_of(shares)
    strong, weak = regions[faint:], regions[:faint]
    style = Style.of((WIDTH, HEIGHT), len(strong))
    tags = place_tags(strong, weak, 1.0, style, (WIDTH, HEIGHT))
    return strong, {tag.text.split()[0]: np.array(tag.box, dtype=float) for tag in tags}


@given(boxes, st.integers(0, 10))
def test_tags_never_cover_each_other_and_stay_in_the_picture(shares: list, faint: int) -> None:
    _, tags = placed(shares, faint)
    places = np.array(list(tags.values())).reshape(-1, 4)
    overlap = intersections(places, places)
    assert (overlap[~np.eye(len(places), dtype=bool)] == 0).all()
    assert (places >= 0).all()
    assert (places[:, [0, 2]] <= WIDTH).all()
    assert (places[:, [1, 3]] <= HEIGHT).all()


@given(boxes)
def test_every_region_has_a_tag(shares: list) -> None:
    strong, tags = placed(shares)
    assert set(tags) == {region.name for region in strong}


@given(boxes.map(lambda shares: [(x, y, min(w, 0.2), min(h, 0.2)) for x, y, w, h in shares]))
def test_no_tag_covers_what_it_names_while_there_is_room(shares: list) -> None:
    strong, tags = placed(shares)
    for region in strong:
        assert intersections(tags[region.name][None], np.array([region.box]))[0, 0] == 0


@given(boxes, st.integers(640, 5000))
def test_line_and_text_grow_with_the_picture(shares: list, side: int) -> None:
    small, large = Style.of((side, side), len(shares)), Style.of((2 * side, 2 * side), len(shares))
    assert large.text >= 1.7 * small.text
    assert large.line >= small.line
