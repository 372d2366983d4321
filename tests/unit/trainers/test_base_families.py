"""Both stages on a tiny model of every family that FO1 plugs into."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from fo1agent.model import weights
from fo1agent.model.fo1 import FO1
from fo1agent.model.processing import FO1Processor
from fo1agent.trainers import alignment, instruction, lora, rows
from fo1agent.trainers.data.records import Example, Turn
from fo1agent.trainers.data.tasks import OpenTasks
from fo1agent.trainers.language import LanguageStage, StageTable
from fo1agent.trainers.pictures import FrozenViews, Live, given_boxes
from tests.drawn import write_coco
from tests.tiny_bases import FAMILIES, tiny_base
from tests.unit.trainers.test_tuning import Row

Pair = tuple[FO1, FO1Processor]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """Two pictures with boxes, names and a dialogue, and words without a picture."""
    folder = tmp_path_factory.mktemp("drawn")
    write_coco(folder, "train", 2, seed=1, side=64)
    boxes = np.array([[4, 4, 30, 40], [30, 10, 47, 44]], np.float32)
    turns = (Turn("Which is left, <region0> or <region1>?", "<region0>"), Turn("Sure?", "Yes."))
    made = [
        Example(k, folder / f"images/train/{k}.png", *size, boxes, ("circle", "square"), np.zeros(2, bool), turns=turns)
        for k, size in enumerate([(64, 48), (48, 64)])
    ]
    nothing = np.zeros((0, 4), np.float32)
    return [*made, Example("words", None, 1, 1, nothing, (), np.zeros(0, bool), turns=(Turn("How many?", "Two."),))]


@pytest.fixture(params=sorted(FAMILIES))
def pair(request: pytest.FixtureRequest) -> Pair:
    """A model of its own, with a processor that is shared."""
    model, processor = tiny_base(request.param)
    return copy.deepcopy(model), processor


def stage_of(pair: Pair, examples: list[Example], table: StageTable, cache: FrozenViews | None = None) -> LanguageStage:
    feed = Live(*pair, Row(examples), given_boxes, cache=cache)
    return LanguageStage(table, *pair, feed, OpenTasks(), batch_size=len(examples), seed=0)


def learn(stage: LanguageStage, steps: int = 3, rate: float = 0.02) -> list[float]:
    """The loss of one batch before each of a few steps on it, and after the last."""
    stage.model.requires_grad_(False)
    learned = [p.requires_grad_() for part in stage.trainable().values() for p in part]
    optimizer = torch.optim.SGD(learned, rate)
    batch, losses = stage.batch(0), []
    for _ in range(steps + 1):
        optimizer.zero_grad()
        counts = stage.counts(batch)
        terms = [loss / counts[name] * stage.loss_weights[name] for name, loss in stage.losses(batch).items()]
        loss = torch.stack(terms).sum()
        losses.append(float(loss.detach()))
        loss.backward()
        if len(losses) <= steps:
            optimizer.step()
    return losses


def changed(before: dict[str, torch.Tensor], model: FO1) -> set[str]:
    after = model.state_dict()
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


def test_stage_one_learns_and_leaves_every_number_of_the_base_but_the_new_tokens_rows(pair: Pair, examples) -> None:
    model, processor = pair
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    asked = processor(None, "Is there a <ground>dog</ground>?")
    words = model(**asked).logits
    rows.attach(model, processor)
    assert torch.equal(model(**asked).logits, words)  # rows that have learned nothing are the base's own
    losses = learn(stage_of(pair, examples, alignment.TABLE))
    assert losses[1] < losses[0]
    assert losses[-1] < losses[0]
    rows.fold(model)
    model.requires_grad_(False)
    moved = changed(before, model)
    embedding = next(name for name in moved if name.endswith("embed_tokens.weight"))
    assert {name.split(".")[0] for name in moved} >= {"region_encoder", "region_projector", "match_head", "iou_head"}
    assert {name for name in moved if name.startswith(("base.", "aux."))} <= {embedding, "base.lm_head.weight"}
    known = processor.tokenizer.get_vocab()
    new = {index for token, index in known.items() if token.startswith("<region") or token in rows.NEW_TOKENS}
    differ = (before[embedding] != model.state_dict()[embedding]).any(dim=1)
    assert set(differ.nonzero()[:, 0].tolist()) <= new
    assert bool(differ.any())


def test_stage_two_learns_by_small_matrices_that_are_merged_in(pair: Pair, examples, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    model, processor = pair
    decoder = model.adapter.decoder(model.base)
    linear = sum(isinstance(module, torch.nn.Linear) for module in decoder.modules())
    lora.attach(model, lora.LoraRecipe(rank=2, dropout=0.0))
    assert len(lora.matrices(model)) == 2 * linear
    table = StageTable("tried", ("lora", "region_projector"), instruction.TABLE.loss_weights, instruction.TABLE.mix)
    losses = learn(stage_of(pair, examples, table))
    assert losses[-1] < losses[0]
    stage = stage_of(pair, examples, table)
    batch = stage.batch(0)
    with torch.no_grad():
        taught = stage.losses(batch)
        lora.merge(model)
        merged = stage.losses(batch)
    for name, loss in taught.items():
        torch.testing.assert_close(merged[name], loss, rtol=1e-4, atol=1e-4)
    weights.save(model, processor, tmp_path / "model")
    found, _ = weights.load(tmp_path / "model")
    assert not changed(model.state_dict(), found)


def test_kept_views_are_what_the_towers_see(pair: Pair, examples, tmp_path: Path) -> None:
    cached = stage_of(pair, examples, alignment.TABLE, FrozenViews(tmp_path, pair[0]))
    batch = cached.batch(0)
    with torch.no_grad():
        cached.losses(batch)
        wanted, got = stage_of(pair, examples, alignment.TABLE).losses(batch), cached.losses(batch)
    for name, loss in wanted.items():
        torch.testing.assert_close(got[name], loss, rtol=2e-2, atol=2e-2)  # kept in half precision
