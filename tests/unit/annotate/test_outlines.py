"""One mask in the forms of YOLO and Label Studio gives the same pixels again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fo1agent.annotate.outlines import brush, ring
from fo1agent.regions.masks import Mask


def _disc(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:300, :400] + 0.5
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def _several() -> dict[str, np.ndarray]:
    disc = _disc(200, 150, 100)
    last = np.zeros((300, 400), dtype=bool)
    last[-1, -1] = True
    return {
        "disc": disc,
        "a hole": disc & ~_disc(220, 150, 50),
        "pieces and holes": (disc & ~_disc(180, 150, 20) & ~_disc(230, 180, 20)) | _disc(30, 30, 20),
        "all": np.ones((300, 400), dtype=bool),
        "one pixel": np.ones((1, 1), dtype=bool),
        "the last pixel": last,
        "small": np.tri(9, 7, dtype=bool),
    }


def _filled(line: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """The pixels whose middles are within a line by the even-odd rule: to their left it is crossed an odd number of
    times."""
    rows, columns = (np.arange(side) + 0.5 for side in size_hw)
    inside = np.zeros(size_hw, dtype=bool)
    for (x1, y1), (x2, y2) in zip(line, np.roll(line, -1, axis=0), strict=True):
        crossed = (y1 > rows) != (y2 > rows)
        inside[crossed] ^= columns > x1 + (x2 - x1) * ((rows[crossed] - y1) / (y2 - y1))[:, None]
    return inside


@pytest.mark.parametrize("pixels", _several().values(), ids=_several())
def test_the_line_around_a_mask_filled_gives_the_mask(pixels: np.ndarray) -> None:
    mask = Mask.of(pixels)
    line = ring(mask)
    assert len(line) >= 3
    assert Mask.of(_filled(line, mask.size_hw)).iou(mask) > (0.97 if mask.area > 1000 else 0.999)
    # Ways there and back enclose nothing, and holes go the other way round than pieces.
    x, y = line.T
    assert abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2 == pytest.approx(mask.area, rel=0.02)


def test_specks_are_not_drawn_and_a_mask_of_nothing_is_its_box() -> None:
    pixels = _disc(200, 150, 100)
    pixels[0, 0] = True
    assert (ring(Mask.of(pixels)) > 90).all(axis=1).any()
    assert not (ring(Mask.of(pixels)) < 40).all(axis=1).any()
    assert ring(Mask.of(np.zeros((5, 4), dtype=bool))).tolist() == [[0, 0]] * 4


def _read(data: list[int]) -> np.ndarray:
    """The values that bytes of Label Studio's brush stand for, by its description."""
    bits, at = "".join(f"{one:08b}" for one in data), 0

    def number(width: int) -> int:
        nonlocal at
        at += width
        return int(bits[at - width : at], 2)

    count, width = number(32), number(5) + 1
    sizes = [number(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        assert number(1) == 1  # a run, not single values
        length = number(sizes[number(2)]) + 1
        values += [number(width)] * length
    assert len(values) == count
    assert len(bits) - at < 8
    return np.array(values)


@pytest.mark.parametrize("pixels", [*_several().values(), np.zeros((7, 4), dtype=bool)], ids=[*_several(), "nothing"])
def test_the_brush_has_every_pixel_in_four_channels(pixels: np.ndarray) -> None:
    told = brush(Mask.of(pixels))
    assert (_read(told).reshape(*pixels.shape, 4) == 255 * pixels[..., None]).all()


def test_label_studios_own_library_reads_the_brush_and_writes_the_same() -> None:
    theirs: Any = pytest.importorskip("label_studio_sdk.converter.brush", reason="see make test-readers")
    pixels = _several()["pieces and holes"]
    told = brush(Mask.of(pixels))
    assert told == theirs.mask2rle(pixels.astype(np.uint8) * 255)
    assert (theirs.decode_rle(told).reshape(300, 400, 4)[..., 3] == 255 * pixels).all()
