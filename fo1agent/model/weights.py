"""A model and its processor from one folder, and into one; see `reading.py` for what is read and how strictly."""

from __future__ import annotations

from pathlib import Path

import torch

from fo1agent.model.fo1 import FO1
from fo1agent.model.processing import FO1Processor


def load(folder: str | Path, dtype: torch.dtype | None = None) -> tuple[FO1, FO1Processor]:
    """Model (in eval mode, on the CPU) and processor of a local folder.

    Args:
        folder: holds config.json, safetensors and tokenizer files.
        dtype: of all weights; None keeps what is stored.

    Raises:
        CheckpointError: a file is missing, is no regular file, is damaged or says what cannot be; weights and
            configuration do not fit; or a weight is not finite. Names file, key, what was got and what was wanted.
    """
    processor = FO1Processor.from_folder(Path(folder))
    return FO1.from_folder(Path(folder), dtype), processor


def save(model: FO1, processor: FO1Processor, folder: str | Path) -> None:
    """Write a folder that `load` reads: config.json, model.safetensors, tokenizer files."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
