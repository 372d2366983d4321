"""Stages 1 and 2 on the golden tensors' checkpoint: DaViT and Qwen2.5-VL in the public layout, without heads."""

from __future__ import annotations

import copy
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

import fo1agent
from fo1agent.errors import CheckpointError, InputError, TrainingError
from fo1agent.model import weights
from fo1agent.model.fo1 import FO1
from fo1agent.model.generation import greedy
from fo1agent.model.packing import pack
from fo1agent.model.prefix import Prefix
from fo1agent.model.processing import FO1Processor
from fo1agent.model.sequence import Sample
from fo1agent.trainers import alignment, instruction, lora, rows
from fo1agent.trainers.data.records import Example, Reference, Turn, open_picture
from fo1agent.trainers.data.tasks import OpenTasks
from fo1agent.trainers.language import LanguageStage, StageTable
from fo1agent.trainers.pictures import FrozenViews, Live, OwnBoxes, given_boxes
from fo1agent.trainers.recipe import build
from fo1agent.trainers.tuning import TuneRecipe, tune
from tests.drawn import write_coco
from tests.tiny_models import CHECKPOINT

HEADS = {"match": {"width": 16}, "iou": {}}


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coco")
    write_coco(folder, "train", 4, seed=1)
    return folder


def recipe(coco: Path, work: Path, **changes) -> TuneRecipe:
    tree = {
        "sources": [{"path": str(coco / "instances_train.json"), "images": str(coco / "images/train")}],
        "train": {"steps": 2, "lr": 1e-2, "weight_decay": 0.1, "log_every": 1, "save_every": 2},
        "model": str(CHECKPOINT),
        "batch_size": 2,
        "boxes": "given",
        "heads": HEADS,
        "out": str(work / "model"),
        "run": str(work / "run"),
        **changes,
    }
    return build(TuneRecipe, tree)


@pytest.fixture(scope="module")
def aligned(coco: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FO1, FO1Processor]:
    return weights.load(tune(recipe(coco, tmp_path_factory.mktemp("aligned")), alignment.TABLE))


@pytest.fixture(scope="module")
def start() -> tuple[FO1, FO1Processor]:
    return weights.load(CHECKPOINT)


def new_ids(processor: FO1Processor) -> torch.Tensor:
    known = processor.tokenizer.get_vocab()
    return torch.tensor(sorted(i for t, i in known.items() if t.startswith("<region") or t in rows.NEW_TOKENS))


def test_stage_one_leaves_every_number_of_the_base_but_the_new_tokens_rows(start, aligned) -> None:
    ids = new_ids(start[1])
    moved = []
    for (name, before), (_, after) in zip(start[0].state_dict().items(), aligned[0].state_dict().items(), strict=False):
        if not name.startswith(("base.", "aux.", "image_projector.")):
            continue
        if before.shape[0] == start[0].config.get_text_config().vocab_size and name.endswith(
            ("embed_tokens.weight", "lm_head.weight")
        ):
            moved.append(not torch.equal(before[ids], after[ids]))
            others = torch.ones(len(before), dtype=torch.bool)
            others[ids] = False
            before, after = before[others], after[others]
        assert torch.equal(before, after), name
    assert any(moved)


def test_without_regions_every_logit_of_the_bases_own_tokens_is_as_before(start, aligned) -> None:
    image = Image.effect_noise((90, 60), 60).convert("RGB")
    others = torch.ones(start[0].config.get_text_config().vocab_size, dtype=torch.bool)
    others[new_ids(start[1])] = False
    answers = []
    for model, processor in (start, aligned):
        features = model.encode_image(processor.image(image))
        seen = model.prefill(Sample(processor.prefix_ids([0]), [features.picture]))
        answers.append(
            [
                *base_answer(model, seen, processor.question_ids([0], "What is this?"), others),
                *base_answer(model, Prefix.empty(64), processor.question_ids([], "Hello."), others),
            ]
        )
    for before, after in zip(*answers, strict=True):
        assert torch.equal(before, after)


@torch.inference_mode()
def base_answer(model: FO1, prefix: Prefix, ids: torch.Tensor, words: torch.Tensor) -> list[torch.Tensor]:
    """Logits of the base's own words at each of twelve greedy steps that choose among them."""
    found = []
    for _ in range(12):
        step = greedy(model, prefix, ids, (), max_new_tokens=1, keep_logits=True)
        assert step.logits is not None
        found.append(step.logits[0, words])
        ids = torch.cat([ids, words.nonzero()[found[-1].argmax()]])
    return found


def test_an_aligned_model_matches_phrases_by_its_new_head(aligned, coco: Path, tmp_path: Path) -> None:
    weights.save(aligned[0], aligned[1], tmp_path / "model")
    scene = fo1agent.load(tmp_path / "model").open(
        coco / "images/train/0.png", boxes=[[5, 5, 60, 60], [70, 10, 99, 50]]
    )
    assert len(scene.ground("circle", threshold=0.0)) == 2


def test_lora_merged_and_lora_as_an_adapter_are_the_same_model(coco: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    train = {"steps": 2, "lr": 1e-2, "log_every": 1, "save_every": 2}
    settings = {"rank": 2, "dropout": 0.0}
    merged = tune(recipe(coco, tmp_path / "a", lora=settings, train=train), instruction.TABLE)
    adapter = tune(recipe(coco, tmp_path / "b", lora={**settings, "save": "adapter"}, train=train), instruction.TABLE)
    model, _ = weights.load(merged)
    other, other_processor = weights.load(CHECKPOINT)
    lora.apply_adapter(other, other_processor, adapter)
    assert other.state_dict().keys() == model.state_dict().keys()
    changed = set()
    for name, tensor in weights.load(CHECKPOINT)[0].state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], model.state_dict()[name], msg=name)
        if not torch.equal(tensor, model.state_dict()[name]):
            changed.add(".".join(name.split(".")[:3]) if name.startswith("base") else name.split(".")[0])
    assert changed == {"base.model.language_model", "base.lm_head.weight", "aux", "region_encoder", "region_projector"}
    assert fo1agent.load(merged).name == "model"


def test_a_finished_stage_is_not_trained_again(coco: Path, tmp_path: Path) -> None:
    first = weights.load(tune(recipe(coco, tmp_path), alignment.TABLE))[0].state_dict()
    again = weights.load(tune(recipe(coco, tmp_path), alignment.TABLE))[0].state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())


def test_wrong_recipes_are_named(coco: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="alignment does not train the language model"):
        tune(recipe(coco, tmp_path, lora={}), alignment.TABLE)
    with pytest.raises(InputError, match="heads knows match and iou, not mtch"):
        tune(recipe(coco, tmp_path, heads={"mtch": {}}), alignment.TABLE)
    with pytest.raises(InputError, match=r"loss_weights names \['mach'\]"):
        tune(recipe(coco, tmp_path, loss_weights={"mach": 1.0}), alignment.TABLE)
    with pytest.raises(TrainingError, match="makes no boxes of its own"):
        tune(recipe(coco, tmp_path, boxes="own"), alignment.TABLE)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/precious.txt").touch()
    with pytest.raises(InputError, match="holds something that is no model"):
        tune(recipe(coco, tmp_path), alignment.TABLE)
    with pytest.raises(InputError, match="cache keeps what frozen towers see"):
        tune(recipe(coco, tmp_path / "b", cache=str(tmp_path / "cache")), instruction.TABLE)


# --- the feed ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """Boxes with names, phrases, texts, a dialogue about boxes; one without boxes, and words without a picture."""
    folder = tmp_path_factory.mktemp("examples")
    made = []
    for k, size in enumerate([(120, 90), (64, 100), (96, 96)]):
        picture = Image.new("RGB", size, (30 * k, 200, 120))
        pen = ImageDraw.Draw(picture)
        pen.ellipse((10, 10, 50, 50), fill="red")
        pen.rectangle((30, 40, 60, 80), fill="blue")
        picture.save(folder / f"{k}.png")
        boxes = np.array([[10, 10, 50, 50], [30, 40, 60, 80]], np.float32)
        made.append(
            Example(
                k, folder / f"{k}.png", *size, boxes, ("circle", "" if k else "square"), np.zeros(2, bool),
                captions=("A circle by a square.",),
                phrases=(Reference("the red one", (0,)), Reference("a dog")),
                texts=("EXIT", None),
                turns=(Turn("Which is round, <region0> or <region1>?", "<region0>"), Turn("Why?", "It has no corner.")),
            )
        )  # fmt: skip
    nothing = {"boxes": np.zeros((0, 4), np.float32), "labels": (), "crowd": np.zeros(0, bool)}
    talk = (Turn("What is shown?", "Shapes."), Turn("How many?", "Two."))
    made.append(Example("general", folder / "0.png", 120, 90, **nothing, turns=talk))
    made.append(Example("words", None, 1, 1, **nothing, turns=talk))
    return made


class Row:
    """A few examples, over and over."""

    def __init__(self, examples: list[Example]) -> None:
        self.examples = examples

    def __getitem__(self, position: int) -> Example:
        return self.examples[position % len(self.examples)]

    def open(self, position: int) -> tuple[Example, Image.Image]:
        return self[position], open_picture(self[position])


def live_stage(start, examples: list[Example], table: StageTable = alignment.TABLE, workers: int = 0, cache=None):
    model, processor = start
    feed = Live(model, processor, Row(examples), given_boxes, cache=cache)
    return LanguageStage(table, model, processor, feed, OpenTasks(), batch_size=len(examples), seed=0, workers=workers)


def test_a_batch_is_the_same_however_many_threads_read_it(start, examples) -> None:
    alone, threaded = live_stage(start, examples), live_stage(start, examples, workers=2)
    for step in (0, 1, 5):
        for one, other in zip(alone.batch(step), threaded.batch(step), strict=True):
            assert one.questions == other.questions
            assert one.dialogue == other.dialogue
            assert [p.text for p in one.phrases] == [p.text for p in other.phrases]
            assert np.array_equal(one.view.boxes[one.chosen], other.view.boxes[other.chosen])
    threaded.close()


def test_everything_an_example_holds_is_asked_about(start, examples) -> None:
    batch = live_stage(start, examples).batch(0)
    for asked in batch:
        image = asked.view.image
        if not len(image.boxes):
            assert [turn.reply for turn in asked.dialogue] == ["Shapes.", "Two."]
            assert not asked.questions
            assert not len(asked.chosen)
            continue
        region = asked.truth.best[0]
        assert np.allclose(asked.view.boxes[asked.chosen][region], image.boxes[0])
        texts = {question.text: question.reply for question in asked.questions}
        assert texts[f"Please provide the ocr results of <region{region}> in the image."] == "EXIT"
        assert asked.dialogue[0].reply == f"<region{region}>"
        assert {"the red one", "a dog"} <= {phrase.text for phrase in asked.phrases}
        targets = {phrase.text: phrase.targets for phrase in asked.phrases}
        assert targets["the red one"][region] == 1
        assert not targets["a dog"].any()


def test_losses_of_mixed_examples_are_finite_and_counted(start, examples) -> None:
    stage = live_stage(start, examples)
    batch = stage.batch(0)
    losses, counts = stage.losses(batch), stage.counts(batch)
    assert set(losses) == {"next_token"}  # the public checkpoint has no heads
    assert torch.isfinite(losses["next_token"])
    assert counts["next_token"] > 50


def test_packing_changes_no_state_and_saves_padding(start, examples) -> None:
    stage = live_stage(start, examples)
    batch = stage.batch(0)
    with torch.no_grad():
        seen = [stage._look(asked) for asked in batch]
        tokens = [stage.model.project_regions(one.vectors) for one in seen]
        plain = stage.model.assemble([stage._sample(*one) for one in zip(batch, seen, tokens, strict=True)])
        packed = pack(plain)
        alone = stage.model(plain, logits_to_keep=None)
        together = stage.model(packed.batch, logits_to_keep=None)
    hidden = packed.unpack(together.hidden_states)
    torch.testing.assert_close(hidden[plain.mask], alone.hidden_states[plain.mask], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together.loss, alone.loss)
    padding = [1 - float(batch.mask.float().mean()) for batch in (plain, packed.batch)]
    assert packed.batch.mask.sum() == plain.mask.sum()
    assert padding[1] < padding[0] - 0.1


def test_kept_views_equal_live_ones_and_are_not_found_with_other_weights(start, examples, tmp_path: Path) -> None:
    kept = FrozenViews(tmp_path, start[0])
    stage = live_stage(start, examples[:3], cache=kept)
    batch = stage.batch(0)
    first = [stage._look(asked) for asked in batch]
    again = [stage._look(asked) for asked in batch]
    exact = [live_stage(start, examples[:3])._look(asked) for asked in batch]
    assert len(list(kept.folder.iterdir())) == 3
    for one, other, live in zip(first, again, exact, strict=True):
        assert torch.equal(one.vectors, other.vectors)
        torch.testing.assert_close(one.vectors, live.vectors, rtol=5e-3, atol=5e-3)  # kept in half precision
    other, _ = weights.load(CHECKPOINT)
    with torch.no_grad():
        next(other.aux.parameters()).add_(1)
    assert FrozenViews(tmp_path, other).folder != kept.folder


def test_a_kept_view_that_is_damaged_is_made_anew(start, examples, tmp_path: Path, caplog) -> None:
    kept = FrozenViews(tmp_path, start[0])
    stage = live_stage(start, examples[:1], cache=kept)
    (asked,) = stage.batch(0)[:1]
    first = stage._look(asked)
    (file,) = kept.folder.iterdir()
    whole = file.read_bytes()
    assert not caplog.records
    for spoilt in (whole[:-5], b"", whole[:-2] + b"\xff\x7f"):  # cut off, empty, and NaN
        file.write_bytes(spoilt)
        caplog.clear()
        assert torch.equal(stage._look(asked).vectors, first.vectors)
        (record,) = caplog.records
        assert record.getMessage().startswith(f"{file} ")
        assert record.getMessage().endswith("It is made anew.")
        assert file.read_bytes() == whole


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `save_adapter` writes of a model that was not trained."""
    pytest.importorskip("peft")
    model, _ = weights.load(CHECKPOINT)
    settings = lora.LoraRecipe(rank=2, targets=("q_proj",), save="adapter")
    lora.attach(model, settings)
    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    lora.save_adapter(model, settings, {"base.lm_head.weight": model.base.lm_head.weight.detach()}, folder)
    return folder


def edited(path: str, value: object):
    def spoil(folder: Path) -> None:
        tree = json.loads((folder / "adapter_config.json").read_text())
        *parents, last = path.split(".")
        inner = tree
        for key in parents:
            inner = inner[key]
        inner[last] = value
        (folder / "adapter_config.json").write_text(json.dumps(tree))

    return spoil


def renamed(folder: Path) -> None:
    tensors = {f"{name}s": tensor for name, tensor in load_file(folder / "adapter_model.safetensors").items()}
    save_file(tensors, folder / "adapter_model.safetensors")


def not_finite(folder: Path) -> None:
    tensors = {name: tensor * float("nan") for name, tensor in load_file(folder / "parts.safetensors").items()}
    save_file(tensors, folder / "parts.safetensors")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: shutil.rmtree(f), "no adapter_config.json"),
        (lambda f: (f / "adapter_config.json").write_text("{"), "adapter_config.json is not JSON"),
        (lambda f: (f / "adapter_config.json").write_text("{}"), "fo1agent is missing, wanted an object"),
        (lambda f: ((f / "parts.safetensors").unlink(), os.mkfifo(f / "parts.safetensors")), "got a pipe, wanted"),
        (lambda f: os.truncate(f / "adapter_model.safetensors", 50), "is not a whole safetensors file"),
        (edited("fo1agent.lora", 3), "fo1agent.lora is 3, wanted an object"),
        (edited("fo1agent.lora.rank", 10**18), "rank is 1000000000000000000, wanted an integer from 1 to 4096"),
        (edited("fo1agent.lora.alpha", float("nan")), "alpha is NaN, wanted a finite number above 0"),
        (edited("fo1agent.lora.targets", []), "targets is [], wanted at least 1"),
        (edited("fo1agent.lora.targets", ["magic"]), "names no layer of the language model"),
        (edited("fo1agent.lora.rank", 3), "belongs to another model or rank"),
        (edited("fo1agent.heads", {"depth": {}}), "heads.depth is an unknown key, wanted one of match, iou"),
        (edited("fo1agent.heads", {"proposal": {"levels": [0]}}), "asks for what this model cannot have"),
        (renamed, "belongs to another model"),
        (not_finite, "base.lm_head.weight is nan, wanted finite numbers"),
    ],
)
def test_an_adapter_that_is_not_what_it_says_is_a_checkpoint_error(
    adapter: Path, start, tmp_path: Path, spoil, says: str
) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(adapter, folder)
    spoil(folder)
    model, processor = copy.deepcopy(start[0]), start[1]
    with pytest.raises(CheckpointError) as error:
        lora.apply_adapter(model, processor, folder)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_own_boxes_stay_those_of_the_start_while_the_tower_trains() -> None:
    from tests.tiny_models import nano

    model, processor = nano()
    image = Image.effect_noise((80, 60), 90).convert("RGB")
    example = Example(0, None, 80, 60, np.zeros((0, 4), np.float32), (), np.zeros(0, bool))
    boxes = OwnBoxes(model, tower_trains=True)
    inputs, rng = processor.image(image), np.random.default_rng(0)
    before = boxes(example, image, inputs, rng)
    stem = next(model.aux.parameters())
    kept = stem.detach().clone()
    try:
        with torch.no_grad():
            stem.add_(torch.randn_like(stem))
        assert np.array_equal(boxes(example, image, inputs, rng), before)
        assert not np.array_equal(OwnBoxes(model, tower_trains=False)(example, image, inputs, rng), before)
    finally:
        stem.data.copy_(kept)
