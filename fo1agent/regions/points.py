"""One point of a region: where a click hits it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fo1agent.regions.masks import deepest
from fo1agent.regions.regions import Region, Regions

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

By = Literal["mask", "middle", "free"]

# A thing that fills more of another's box than this is that thing again, or holds it, and lies not on it.
_MOST_ON = 0.5


def point_at(region: Region, others: Regions) -> tuple[tuple[float, float], By]:
    """((x, y) in pixels, how it was chosen): inside the region, and clear of what lies on it.

    Of a region with a mask it is the point of the mask that is farthest from its edge (`mask`). Else it is the middle
    of its box (`middle`), unless that lies on another thing: one that overlaps the box, is smaller, and fills at most
    half of it. Then it is the point of the box that is farthest from all such things and from the box's border
    (`free`); where they cover all of the box, the middle after all.

    Args:
        region: to be hit.
        others: what else is known of the picture; the region itself may be among them.
    """
    if region.mask is not None and (point := region.mask.deepest()) is not None:
        return point, "mask"
    import shapely

    box = shapely.box(*region.box)
    on_it = [shape for other in others if other.id != region.id and _lies_on(shape := _shape(other), box)]
    covered = shapely.union_all(on_it)
    if not covered.intersects(shapely.Point(region.center)):
        return region.center, "middle"
    point = deepest(shapely.difference(box, covered))
    return (region.center, "middle") if point is None else (point, "free")


def _shape(region: Region) -> BaseGeometry:
    import shapely

    return shapely.box(*region.box) if region.mask is None else region.mask.outline


def _lies_on(other: BaseGeometry, box: BaseGeometry) -> bool:
    return other.area < box.area and 0 < other.intersection(box).area <= _MOST_ON * box.area
