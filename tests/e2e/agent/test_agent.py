"""The agent on photographs' own labels, and on a scene with the real scene class: questions in, answers out."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest
from PIL import Image

from fo1agent.agent import Agent
from fo1agent.scene import Model
from fo1agent.words import lexicon
from tests.fakes import FakePredictor
from tests.labelled_scene import LabelledScene, Thing

OBJECTS = [
    ((20.0, 200.0, 60.0, 330.0), "person", 0.91),
    ((90.0, 210.0, 130.0, 340.0), "person", 0.88),
    ((200.0, 100.0, 400.0, 330.0), "bus", 0.94),
    ((500.0, 220.0, 540.0, 350.0), "person", 0.83),
    ((135.0, 300.0, 165.0, 340.0), "dog", 0.77),
]


def photograph_scenes(shared: Path) -> dict[str, LabelledScene]:
    """Every dev photograph as a scene of its labelled boxes."""
    labels = json.loads((shared / "data/coco-natural/instances_dev.json").read_text())
    names = {category["id"]: category["name"] for category in labels["categories"]}
    things = defaultdict(list)
    for box in labels["annotations"]:
        if not box["iscrowd"]:
            x, y, width, height = box["bbox"]
            things[box["image_id"]].append(Thing(names[box["category_id"]], (x, y, x + width, y + height)))
    return {
        Path(image["file_name"]).name: LabelledScene(things[image["id"]], image["width"], image["height"])
        for image in labels["images"]
    }


@pytest.mark.parametrize("name", ["natural-dev.jsonl", "clear-dev.jsonl"])
def test_questions_about_labelled_photographs_are_answered(shared_dir, name):
    scenes = photograph_scenes(shared_dir)
    questions = [json.loads(line) for line in (shared_dir / "qa" / name).read_text().splitlines()]
    agent = Agent()
    wrong = []
    for question in questions:
        answer = agent.ask(scenes[Path(question["image"]).name], question["question"])
        value = {True: "yes", False: "no"}[answer.value] if isinstance(answer.value, bool) else answer.value
        if lexicon.singular(str(value)) != lexicon.singular(str(question["answer"])):
            wrong.append((question["question"], question["answer"], answer.text))
    assert len(wrong) <= 0.03 * len(questions), wrong


@pytest.fixture
def model() -> Model:
    return Model(FakePredictor(OBJECTS))


def test_a_picture_is_encoded_once_and_each_question_is_one_pass(model, tmp_path):
    path = tmp_path / "street.png"
    Image.new("RGB", (640, 480), "gray").save(path)
    scene = model.open(path)
    agent = Agent(model)
    assert agent.ask(scene, "How many people are to the left of the bus?").value == 2
    assert agent.ask(scene, "Is the dog to the left of the bus, and are there more people than dogs?").value == [
        True,
        True,
    ]
    assert model.predictor.passes["towers"] == 1
    assert model.predictor.passes["match"] == 2


def test_a_path_is_opened_by_the_agent(model, tmp_path):
    path = tmp_path / "street.png"
    Image.new("RGB", (640, 480), "gray").save(path)
    answer = Agent(model).ask(path, "Who is nearest to the bus?")
    assert [region.name for region in answer.evidence] == ["r1", "r2"]
    assert all(region.id.startswith("img_") for region in answer.evidence)
    assert answer.save(tmp_path / "answer.png").exists()
    assert "nearest to the bus" in answer.save(tmp_path / "answer.html").read_text()


def test_things_are_named_and_unknown_words_are_said(model):
    scene = model.open(Image.new("RGB", (640, 480)))
    assert Agent(model).ask(scene, "What is the largest object?").value == "bus"
    assert Agent(model).ask(scene, "What is to the right of the bus?").value == "person"
    answer = Agent(model).ask(scene, "How many violins are there?")
    assert answer.abstained
    assert answer.text == "I can't tell: fake does not know “violin”."


def test_blank_pictures_have_nothing_in_them():
    model = Model(FakePredictor([]))
    scene = model.open(Image.new("RGB", (64, 48)))
    assert Agent(model).ask(scene, "How many people are there?").value == 0
    assert Agent(model).ask(scene, "Is there a dog?").value is False
    assert Agent(model).ask(scene, "What is the largest object?").abstained
