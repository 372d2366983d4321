"""A real language stage small enough for tests: three drawn pictures, a random FO1 of one layer, its feature store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from fo1agent.model.fo1 import FO1
from fo1agent.model.processing import FO1Processor
from fo1agent.trainers import base
from fo1agent.trainers.data.coco import CocoData
from fo1agent.trainers.data.features import FeatureStore, open_or_build
from fo1agent.trainers.data.records import Example
from fo1agent.trainers.data.tasks import TaskMaker
from fo1agent.trainers.data.tokenizer import build_tokenizer
from fo1agent.trainers.language import LanguageStage, StageTable
from fo1agent.trainers.naming import NamingStage
from fo1agent.trainers.nano import nano_config

NAMES = ("circle", "square")


def pictures(folder: Path) -> CocoData:
    """A red circle beside a blue square, three times."""
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for k in range(3):
        picture = Image.new("RGB", (120, 90), (30 * k, 200, 120))
        boxes = np.array([[10, 10, 50, 50], [60, 20, 110, 70]], dtype=np.float32) + k
        pen = ImageDraw.Draw(picture)
        pen.ellipse(boxes[0].tolist(), fill="red")
        pen.rectangle(boxes[1].tolist(), fill="blue")
        if not (folder / f"{k}.png").exists():
            picture.save(folder / f"{k}.png")
        caption = ("A red circle beside a blue square.",)
        images.append(Example(k, folder / f"{k}.png", 120, 90, boxes, NAMES, np.zeros(2, bool), caption))
    return CocoData(tuple(images), NAMES)


def tiny_model() -> tuple[FO1, FO1Processor]:
    """The same random weights every time."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer(["Please detect circle; square in this image. A red circle beside a blue square."], 300)
    config = nano_config(tokenizer, NAMES, hidden_size=64, layers=2)
    config.heads = {"match": {"width": 16, "classes": 80, "views": 3}, "iou": {}}
    return FO1(config).eval(), FO1Processor(tokenizer, config)


def tiny_store(folder: Path) -> FeatureStore:
    """The features of `pictures`, made in `folder` if they are not there."""
    return open_or_build(folder / "features", *tiny_model(), pictures(folder / "pictures"))


def language_stage(store: FeatureStore, batch_size: int = 2, table: StageTable = base.TABLE) -> LanguageStage:
    """The stage of `table` on a fresh copy of the tiny model."""
    return LanguageStage(table, *tiny_model(), store, TaskMaker(NAMES, ("grass",)), range(3), batch_size)


def naming_stage(store: FeatureStore, batch_size: int = 2) -> NamingStage:
    """Stage naming on a fresh copy of the tiny model."""
    return NamingStage(tiny_model()[0], store, {name: k for k, name in enumerate(NAMES)}, range(3), batch_size)
