"""Folders that vLLM runs on a CPU as they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from fo1agent.model import weights
from tests.tiny_bases import made
from tests.tiny_models import CHECKPOINT


def public(folder: Path) -> Path:
    """The golden tensors' checkpoint in the public layout, its heads read two by two.

    vLLM's kernel for CPUs knows no heads of 16 numbers; the same weights are as well those of half as many of 32.
    """
    shutil.copytree(CHECKPOINT, folder)
    path = folder / "config.json"
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    said |= {"num_attention_heads": 2, "num_key_value_heads": 1}
    said["rope_scaling"]["mrope_section"] = [4, 6, 6]
    path.write_text(json.dumps(said), encoding="utf-8")
    return folder


def own(folder: Path) -> Path:
    """The same weights in a folder that fo1agent saved."""
    weights.save(*weights.load(public(folder / "public")), folder / "own")
    return folder / "own"


def qwen3_vl(folder: Path) -> Path:
    """A tiny model of random weights around a Qwen3-VL, whose pictures go into the decoder's first two layers, too."""
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [6, 5, 5]}
    weights.save(*made("qwen3_vl", {}, num_hidden_layers=3, head_dim=32, rope_parameters=rope), folder)
    return folder
