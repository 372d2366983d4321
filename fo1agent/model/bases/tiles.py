"""What families have in common that cut a picture into square tiles: a ViT, a projector, and a decoder of one axis.

A tile is seen alone, so a map of the whole picture is stitched of theirs.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fo1agent.model.bases import Adapter


class Tiled(Adapter):
    """The names that most of them give to their parts, and widths."""

    def vision_tower(self, base: Any) -> nn.Module:
        return nn.ModuleList([base.model.vision_tower, base.model.multi_modal_projector])

    def decoder(self, base: Any) -> Any:
        return base.model.language_model

    def image_token_size(self, config: Any) -> int:
        return config.get_text_config().hidden_size

    def map_size(self, config: Any) -> int:
        return config.vision_config.hidden_size


def one_side(size: int | list[int] | tuple[int, ...]) -> int:
    """A square's side, however a configuration writes it."""
    return size if isinstance(size, int) else size[0]


def stitched(hidden: Tensor, rows: int, columns: int, cells_hw: tuple[int, int] | None = None) -> Tensor:
    """Hidden states of tiles side by side.

    Args:
        hidden: [rows * columns, h * w, C], tiles and the cells of each in raster order.
        rows, columns: of tiles.
        cells_hw: (h, w), the cells of a tile; None: a square.

    Returns:
        [1, C, rows * h, columns * w].
    """
    side, channels = round(hidden.shape[1] ** 0.5), hidden.shape[2]
    h, w = cells_hw or (side, side)
    cells = hidden.reshape(rows, columns, h, w, channels)
    return cells.permute(4, 0, 2, 1, 3).reshape(1, channels, rows * h, columns * w)
