"""Masks at the shell: a line for each, and the files of `fo1agent segment --out`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fo1agent.cli import console

if TYPE_CHECKING:
    from fo1agent.results import MaskRef, SegmentResult


def check_ending(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """The path of `--out`, whose ending says what is written.

    Raises:
        click.BadParameter: it is neither .png nor .json.
    """
    if path is not None and path.suffix.lower() not in (".png", ".json"):
        raise click.BadParameter(f"{str(path)!r} must end in .png or .json.", ctx, param)
    return path


def line(mask: MaskRef) -> str:
    """A mask in a line: `r3  5026 pixels  79% of its box  quality 0.93`."""
    quality = "" if mask.quality is None else f"  quality {mask.quality:.2f}"
    return f"{mask.region.rpartition('/')[2]}  {mask.area} pixels  {mask.share:.0%} of its box{quality}"


def write(result: SegmentResult, path: Path | None) -> None:
    """Write the masks: as one grey picture, 255 where any of the things is and 0 elsewhere; or as COCO annotations.

    Raises:
        InputError: there is no mask to write.
    """
    if path is None:
        return
    if not result.masks:
        from fo1agent.errors import InputError

        raise InputError(f"{result.note or 'Nothing was found'}, so there is no mask to write.".replace(".,", ","))
    with console.whole_file(path) as temporary:
        if path.suffix.lower() == ".json":
            temporary.write_text(json.dumps(_annotations(result), indent=2) + "\n", encoding="utf-8")
        else:
            _picture(result, temporary)


def _picture(result: SegmentResult, path: Path) -> None:
    import numpy as np
    from PIL import Image

    together = np.any([mask.pixels() for mask in result.regions.masks if mask is not None], axis=0)
    Image.fromarray(together.astype(np.uint8) * 255).save(path, "PNG")


def _annotations(result: SegmentResult) -> list[dict[str, Any]]:
    """One for each mask, with what COCO calls them; `name` is the region's label, `region` its id."""
    masked = [region for region in result.regions if region.mask is not None]
    made = []
    for number, (region, told) in enumerate(zip(masked, result.masks, strict=True), 1):
        assert region.mask is not None
        x1, y1, x2, y2 = region.mask.box
        made.append(
            {
                "id": number,
                "region": region.name,
                "name": region.label,
                "score": round(region.score, 4),
                "area": told.area,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "iscrowd": 0,
                "segmentation": dict(told.rle),
                "polygons": [list(one) for one in told.polygons],
            }
        )
    return made
