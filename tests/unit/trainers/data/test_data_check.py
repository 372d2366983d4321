"""Checking, drawing and converting data sets."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fo1agent.cli.data import FORMATS as FORMATS_AT_THE_SHELL
from fo1agent.cli.data import FORMS as FORMS_AT_THE_SHELL
from fo1agent.cli.data import TARGETS as TARGETS_AT_THE_SHELL
from fo1agent.errors import DataError
from fo1agent.trainers.data.check import check
from fo1agent.trainers.data.convert import TARGETS, convert
from fo1agent.trainers.data.formats import FORMATS, SourceRecipe, Tolerance, guess_format, open_source
from fo1agent.trainers.data.formats.boxes import FORMS
from fo1agent.trainers.data.formats.examples import read_examples, write_examples
from fo1agent.trainers.data.preview import card, preview
from fo1agent.trainers.data.records import Example, Reference, Turn, open_picture

NAMES = ("cup", "person", "dog")


def examples(folder: Path, count: int = 3) -> list[Example]:
    made = []
    for k in range(count):
        path = folder / "pictures" / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (100, 50), (k, 90, 90)).save(path)
        boxes = np.array([[10, 5, 30.25, 35], [0, 0, 100, 50], [1 / 3, 2, 9, 9]], np.float32)
        crowd = np.array([False, True, False])
        made.append(Example(k + 5, path, 100, 50, boxes, ("cup", "person", "cup"), crowd, absent=("dog",)))
    return made


def spoken(example: Example) -> Example:
    return replace(
        example,
        captions=("A cup.", "Two cups."),
        phrases=(Reference("the large cup", (0,)), Reference("a cat")),
        turns=(Turn("What is <region2>?", "A cup."),),
    )


def written(folder: Path, made: list[Example], name: str = "e") -> Path:
    write_examples(folder / f"{name}.jsonl", made, vocabulary=NAMES)
    return folder / f"{name}.jsonl"


def assert_same(a: Example, b: Example, *but: str) -> None:
    for f in fields(Example):
        if f.name not in ("source", "path", "data", *but):
            np.testing.assert_array_equal(getattr(a, f.name), getattr(b, f.name), err_msg=f.name)
    assert open_picture(a).tobytes() == open_picture(b).tobytes()


# ---- check -----------------------------------------------------------------------------------------------------------


def test_a_report_counts_what_there_is(tmp_path: Path) -> None:
    path = written(tmp_path, [spoken(example) for example in examples(tmp_path)])
    report = check([SourceRecipe(path)], pictures=True)
    (source,) = report.sources
    assert report.ok
    assert (source.format, source.good, source.bad, source.pictures, source.ids) == ("examples", 3, 0, 3, 3)
    assert (source.boxes, source.crowd, source.labels) == (9, 3, {"cup": 6, "person": 3})
    assert (source.captions, source.phrases, source.empty_phrases, source.turns) == (6, 6, 3, 3)
    assert source.absent == 1.0
    assert source.short_sides["50%"] == 20.2
    assert report.notes == (f"{path}: no box is called dog",)
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True


def test_pictures_are_looked_at_only_when_asked(tmp_path: Path) -> None:
    made = examples(tmp_path, 4)
    path = written(tmp_path, made)
    assert made[0].path is not None
    made[0].path.write_bytes(b"no picture")
    Image.new("RGB", (10, 10)).save(tmp_path / "pictures" / "1.png")
    (tmp_path / "pictures" / "2.png").unlink()
    recipe = SourceRecipe(path, tolerance=Tolerance(0.5, 0))
    assert check([recipe]).ok
    report = check([recipe], pictures=True)
    assert not report.ok
    assert report.sources[0].good == 1
    for reason, words in zip(
        report.sources[0].reasons, ("e.jsonl:1: ", "the picture is (10, 10)", "2.png"), strict=True
    ):
        assert words in reason


def test_bad_records_are_judged_at_the_end(tmp_path: Path) -> None:
    path = written(tmp_path, examples(tmp_path, 1))
    path.write_text("{}\n" * 30 + path.read_text())
    report = check([SourceRecipe(path, format="examples")])
    assert (report.sources[0].good, report.sources[0].bad, report.ok) == (1, 30, False)
    assert check([SourceRecipe(path, format="examples", tolerance=Tolerance(0.97))]).ok


def test_the_same_pictures_in_two_sources_are_noted(tmp_path: Path) -> None:
    made = examples(tmp_path, 4)
    copy = tmp_path / "copy.png"
    copy.write_bytes((tmp_path / "pictures" / "0.png").read_bytes())
    train, dev = written(tmp_path, made[:3], "train"), written(tmp_path, made[2:], "dev")
    other = written(tmp_path, [replace(made[0], id=99, path=copy)], "other")
    notes = check([SourceRecipe(p) for p in (train, dev, other)], pictures=True).notes
    assert f"1 picture(s) are both in {train} and in {dev}" in notes
    assert f"1 picture(s) of {train} are, under another name, in {other} too" in notes
    twice = written(tmp_path, [*made[:2], replace(made[0], id=99, path=copy)], "twice")
    assert (
        f"{twice}: 1 picture(s) are copies of another, under another name"
        in check([SourceRecipe(twice)], pictures=True).notes
    )


def test_labels_in_two_spellings_are_noted(tmp_path: Path) -> None:
    labels = ["traffic light"] * 50 + ["Traffic-Light", "traffic lihgt"] + ["mouse", "house", "bottle"] * 50
    example = examples(tmp_path, 1)[0]
    boxes = np.tile(np.array([[1, 1, 5, 5]], np.float32), (len(labels), 1))
    crowd = np.zeros(len(labels), bool)
    write_examples(tmp_path / "e.jsonl", [replace(example, boxes=boxes, labels=tuple(labels), crowd=crowd)])
    assert check([SourceRecipe(tmp_path / "e.jsonl")]).notes == (
        "labels 'traffic light' (50) and 'Traffic-Light' (1) may be one",
        "labels 'traffic light' (50) and 'traffic lihgt' (1) may be one",
    )


# ---- preview ---------------------------------------------------------------------------------------------------------


def test_a_sheet_and_a_folder_of_previews(tmp_path: Path) -> None:
    made = [spoken(example) for example in examples(tmp_path, 5)]
    source = read_examples(written(tmp_path, made))
    assert preview(source, tmp_path / "sheet.png", count=3) == []
    first = (tmp_path / "sheet.png").read_bytes()
    preview(source, tmp_path / "sheet.png", count=3)
    assert (tmp_path / "sheet.png").read_bytes() == first  # the same seed draws the same
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[0] > 900
    preview(source, tmp_path / "cards", count=99)
    assert sorted(p.name for p in (tmp_path / "cards").iterdir()) == [f"{k:06d}.png" for k in range(5)]


def test_a_card_shows_boxes_and_grows_with_the_words(tmp_path: Path) -> None:
    example = examples(tmp_path, 1)[0]
    silent, said = card(example), card(spoken(example))
    assert (silent.width, said.width) == (480, 480)
    assert said.height >= silent.height + 5 * 18
    assert len(silent.crop((0, 0, 480, 240)).getcolors() or ()) > 3  # not the plain picture


def test_a_picture_that_cannot_be_drawn_is_told(tmp_path: Path) -> None:
    source = read_examples(written(tmp_path, examples(tmp_path, 2)))
    (tmp_path / "pictures" / "0.png").unlink()
    (reason,) = preview(source, tmp_path / "sheet.png")
    assert "0.png" in reason
    (tmp_path / "pictures" / "1.png").unlink()
    with pytest.raises(DataError, match="nothing to draw"):
        preview(source, tmp_path / "other.png")
    assert not (tmp_path / "other.png").exists()


# ---- convert ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("target", ["examples", "shards"])
def test_our_own_formats_lose_nothing(tmp_path: Path, target: str, copy: bool) -> None:
    made = [spoken(example) for example in examples(tmp_path)]
    report = convert(read_examples(written(tmp_path, made)), target, tmp_path / "out", copy)
    assert (report.examples, report.bad, report.left_out) == (3, 0, {})
    path = tmp_path / "out" if target == "shards" else tmp_path / "out" / "examples.jsonl"
    source = open_source(SourceRecipe(path))
    assert source.vocabulary == NAMES
    for was, now in zip(made, source, strict=True):
        assert_same(was, now)
        assert now.path is None or copy == now.path.is_relative_to(tmp_path / "out")
    # And back again, pictures out of the archive.
    convert(source, "examples", tmp_path / "back")
    for was, now in zip(made, read_examples(tmp_path / "back" / "examples.jsonl"), strict=True):
        assert_same(was, now)


@pytest.mark.parametrize("exhaustive", [True, False])
def test_coco_keeps_boxes_captions_and_absences(tmp_path: Path, exhaustive: bool) -> None:
    made = [spoken(example) for example in examples(tmp_path)]
    if not exhaustive:
        made[1] = replace(made[1], absent=())
    out = tmp_path / "out"
    report = convert(read_examples(written(tmp_path, made)), "coco", out)
    assert report.left_out == {"phrases": 6, "turns": 3}
    source = open_source(SourceRecipe(out / "instances.json", captions=out / "captions.json"))
    for was, now in zip(made, source, strict=True):
        assert_same(was, now, "phrases", "turns", "boxes")
        np.testing.assert_allclose(was.boxes, now.boxes, atol=1e-4)
    assert guess_format(out / "captions.json") == "captions"


SAME_VAL = "val is the same pictures as train; --val 0.1 would hold out a tenth of them"


def test_yolo_keeps_boxes_and_says_what_it_cannot(tmp_path: Path) -> None:
    made = examples(tmp_path)
    report = convert(read_examples(written(tmp_path, made)), "yolo", tmp_path / "out")
    assert (report.left_out, report.note) == ({"crowd": 3}, SAME_VAL)
    source = open_source(SourceRecipe(tmp_path / "out"))
    assert source.vocabulary == NAMES
    for was, now in zip(made, source, strict=True):
        assert now.labels == ("cup", "cup")
        np.testing.assert_allclose(was.boxes[[0, 2]], now.boxes, atol=1e-4)
        assert open_picture(was).tobytes() == open_picture(now).tobytes()


def test_yolo_says_when_it_will_claim_more_than_the_source(tmp_path: Path) -> None:
    made = [replace(example, absent=()) for example in examples(tmp_path)]
    report = convert(read_examples(written(tmp_path, made)), "yolo", tmp_path / "out")
    assert "names without a box count as absent; the source does not say" in report.note


@pytest.mark.parametrize("target", ["examples", "coco", "yolo", "conversations", "shards"])
def test_only_pictures_are_copied(tmp_path: Path, target: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hush")
    made = [replace(spoken(example), path=secret) for example in examples(tmp_path, 1)]
    with pytest.raises(DataError, match=r"secret\.txt is no picture that can be read"):
        convert(read_examples(written(tmp_path, made)), target, tmp_path / "out", copy=True)
    assert not (tmp_path / "out").exists()


def test_pictures_of_one_name_stay_apart(tmp_path: Path) -> None:
    made = examples(tmp_path, 2)
    other = tmp_path / "more" / "0.png"
    other.parent.mkdir()
    Image.new("RGB", (100, 50), "red").save(other)
    made[1] = replace(made[1], path=other)
    convert(read_examples(written(tmp_path, made)), "yolo", tmp_path / "out")
    for was, now in zip(made, open_source(SourceRecipe(tmp_path / "out")), strict=True):
        assert open_picture(was).tobytes() == open_picture(now).tobytes()


def test_conversations_ask_for_what_is_known(tmp_path: Path) -> None:
    plain, said = examples(tmp_path, 2)
    said = spoken(said)
    words = replace(said, turns=(), labels=("", "", ""), texts=("TEA", None, None), absent=())
    out = tmp_path / "out"
    write_examples(tmp_path / "e.jsonl", [plain, said, words])
    assert convert(read_examples(tmp_path / "e.jsonl"), "conversations", out).examples == 3
    one, two, three = open_source(SourceRecipe(out / "conversations.jsonl"))
    (turn,) = one.turns
    assert "cup" in turn.question
    assert turn.reply == "<ground>cup</ground><objects><region0><region2></objects>"
    assert two.turns == said.turns
    assert [turn.reply for turn in three.turns] == [
        "<ground>the large cup</ground><objects><region0></objects>",
        "<ground>a cat</ground><objects></objects>",
        "TEA",
        "A cup.",
    ]
    np.testing.assert_array_equal(three.boxes, words.boxes)
    first = json.loads((out / "conversations.jsonl").read_text().splitlines()[0])
    assert first["conversations"][0]["value"].startswith("<image>\n")


def test_a_conversion_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    source = read_examples(written(tmp_path, examples(tmp_path)))
    (tmp_path / "pictures" / "2.png").unlink()
    for target in ("yolo", "shards"):
        with pytest.raises(DataError, match=r"2\.png"):
            convert(source, target, tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is a folder that is not empty"):
        convert(source, "examples", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e.jsonl", "e.names.txt", "out", "pictures"]


def test_nothing_to_say_makes_no_conversations(tmp_path: Path) -> None:
    made = [replace(example, labels=("",) * 3) for example in examples(tmp_path)]
    with pytest.raises(DataError, match="nothing to say in conversations"):
        convert(read_examples(written(tmp_path, made)), "conversations", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_to_convert_says_why(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"no examples to write\. e\.jsonl:1: lacks 'id'"):
        convert(read_examples(tmp_path / "e.jsonl"), "coco", tmp_path / "out")


def test_the_shell_knows_every_form_of_boxes() -> None:
    assert FORMS_AT_THE_SHELL == FORMS


def test_the_shell_knows_every_format() -> None:
    assert tuple(FORMATS) == FORMATS_AT_THE_SHELL
    assert TARGETS == TARGETS_AT_THE_SHELL
