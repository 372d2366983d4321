"""Untrained detectors that are built in a moment, for tests of proposers, finders, segmenters and the hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

YOLOS_PROCESSOR = YolosImageProcessor(size={"shortest_edge": 32, "longest_edge": 128})

ULTRALYTICS = """
nc: {classes}
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
head:
  - [[2, 3, 4], 1, {head}]
"""
"""The description of a model of ultralytics, with its number of classes and its head."""


def untrained_yolos(names: Mapping[int, str]) -> YolosForObjectDetection:
    """A YOLOS of 5 boxes, whose weights are those of torch's seed."""
    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[32, 64],
        patch_size=16,
        num_detection_tokens=5,
        id2label=dict(names),
        label2id={name: k for k, name in names.items()},
    )
    return YolosForObjectDetection(config)


def ultralytics_in(folder: os.PathLike[str]) -> Any:
    """ultralytics, imported as the adapter does it, with its settings in a folder instead of in the user's home."""
    os.environ.setdefault("YOLO_CONFIG_DIR", str(folder))
    from fo1agent.proposals.ultralytics import import_ultralytics

    return import_ultralytics("A test")
