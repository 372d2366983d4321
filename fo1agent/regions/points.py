"""One point of a region: where a click hits it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fo1agent.regions.masks import deepest
from fo1agent.regions.regions import Region, Regions

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

By = Literal["mask", "middle", "free"]

# A thing that fills more of another's box than this is that thing again, or holds it, and does not hide it. This and
# the room were chosen on the people of coco-natural train, whose joints are known: of 754 points beside the middle 645
# lie within the joints of the right one alone, of the middles 613, and of those farthest from what hides them 498.
_MOST_ON = 0.6
# Of the room that there is around the point farthest from all that hides a thing, so much is left around any.
_ROOM = 0.5


def point_at(region: Region, others: Regions) -> tuple[tuple[float, float], By]:
    """((x, y) in pixels, how it was chosen): inside the region, and clear of what lies on it or in front of it.

    Of a region with a mask it is the point of the mask that is farthest from its edge (`mask`). Else it is the middle
    of its box (`middle`), unless something hides that: a thing that overlaps the box, is smaller or stands lower, and
    so is taken to be nearer, and fills at most 60 % of it. Then it is the point next to the middle that is clear of all
    such things, and of the box's border (`free`); where they cover all of the box, the middle after all.

    Args:
        region: to be hit.
        others: what else is known of the picture; the region itself may be among them.
    """
    if region.mask is not None and (point := region.mask.deepest()) is not None:
        return point, "mask"
    import shapely

    box = shapely.box(*region.box)
    before_it = [shape for other in others if other.id != region.id and _hides(shape := _shape(other), box)]
    covered = shapely.union_all(before_it)
    middle = shapely.Point(region.center)
    if not covered.intersects(middle):
        return region.center, "middle"
    free = shapely.difference(box, covered)
    if (farthest := deepest(free)) is None:
        return region.center, "middle"
    room = _ROOM * shapely.distance(free.boundary, shapely.Point(farthest))
    x, y = shapely.get_coordinates(shapely.shortest_line(shapely.buffer(free, -room), middle))[0]
    return (float(x), float(y)), "free"


def _shape(region: Region) -> BaseGeometry:
    import shapely

    return shapely.box(*region.box) if region.mask is None else region.mask.outline


def _hides(other: BaseGeometry, box: BaseGeometry) -> bool:
    nearer = other.area < box.area or other.bounds[3] > box.bounds[3]
    return nearer and 0 < other.intersection(box).area <= _MOST_ON * box.area
