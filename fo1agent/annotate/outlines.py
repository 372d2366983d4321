"""One mask as YOLO and Label Studio write it: a closed line of points, and runs of pixels in bits. Pure numpy.

COCO's form, which rows have, is that of `fo1agent.regions.masks`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from fo1agent.regions.masks import Mask

# Of a mask, below which a piece or a hole is a speck that no line is drawn around.
_SPECK = 0.005
# Pixels, below which a mask is outlined exactly: a line that is a pixel off is another thing.
_SMALL = 32 * 32
# Label Studio's: a run says which of four widths its length has; the header says what they are.
_WIDTHS = np.array([3, 4, 8, 16])
_MOST = 1 << 16
_CHANNELS = 4
_WORD_BITS = 8


def ring(mask: Mask) -> Float[np.ndarray, "n 2"]:
    """The outline of a mask as one closed line, (x, y) in pixels; at least three points.

    YOLO has one line for one thing, so pieces and holes are reached from the first piece by a way there and back, which
    encloses nothing. Filled by the even-odd rule, as OpenCV does, the line gives the mask, within a pixel of its edge.
    A mask of specks alone, as an empty one, gives the corners of its box.
    """
    import shapely

    drawn = mask.shape if mask.area < _SMALL else mask.outline
    pieces = [one for one in shapely.get_parts(drawn) if one.area > _SPECK * mask.area]
    pieces = sorted(shapely.orient_polygons(pieces), key=lambda one: -one.area)
    holes = [hole for one in pieces for hole in one.interiors if shapely.polygons(hole).area > _SPECK * mask.area]
    lines = [shapely.get_coordinates(one)[:-1] for one in [*(piece.exterior for piece in pieces), *holes]]
    if not lines:
        x1, y1, x2, y2 = mask.box
        return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
    whole, *others = lines
    for other in others:
        ends: tuple[Any, ...] = (shapely.points(whole), shapely.points(other))
        found: Any = shapely.STRtree(ends[0]).query_nearest(ends[1], return_distance=True, all_matches=False)
        (theirs, ours), apart = found
        there, here = theirs[apart.argmin()], ours[apart.argmin()]
        whole = np.concatenate([whole[: here + 1], other[there:], other[: there + 1], whole[here:]])
    return whole


def brush(mask: Mask) -> list[int]:
    """The pixels of a mask as Label Studio's brush keeps them: bytes of runs, row by row, in four equal channels.

    32 bits say how many values follow, 5 how wide one is, four times 4 what widths the lengths of runs have, each less
    one. A run is a bit that says so, 2 bits for the width of its length, the length less one, and the value.
    """
    pixels = mask.pixels().ravel()
    ends = np.append(np.flatnonzero(np.diff(pixels)) + 1, len(pixels))
    less_one, value = _CHANNELS * np.diff(ends, prepend=0) - 1, pixels[ends - 1]
    parts = less_one // _MOST + 1  # what is longer than its bits can say follows as a run of its own
    less_one, value = np.repeat(less_one % _MOST, parts), np.repeat(value, parts)
    less_one[np.delete(np.arange(len(value)), np.cumsum(parts) - 1)] = _MOST - 1
    kind = np.searchsorted(1 << _WIDTHS, less_one, side="right")
    runs = ((4 | kind) << _WIDTHS[kind] | less_one) << _WORD_BITS | value * 0xFF
    head = [(_CHANNELS * len(pixels), 32), (_WORD_BITS - 1, 5), *((int(one) - 1, 4) for one in _WIDTHS)]
    numbers = np.concatenate([[number for number, _ in head], runs])
    widths = np.concatenate([[width for _, width in head], 3 + _WIDTHS[kind] + _WORD_BITS])
    right_of = np.repeat(np.cumsum(widths), widths) - np.arange(widths.sum()) - 1  # bits of the number behind each
    return np.packbits((np.repeat(numbers, widths) >> right_of & 1).astype(bool)).tolist()
