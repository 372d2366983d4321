"""`fo1agent data …` at the shell: exit codes, JSON, and one clear line for what cannot be done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fo1agent.cli import main

RECORD = {"id": 1, "file_name": "a.png", "width": 10, "height": 10, "boxes": [[1, 1, 5, 5]], "labels": ["cup"]}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (10, 10)).save("a.png")
    Path("e.jsonl").write_text("".join(json.dumps(RECORD | {"id": k}) + "\n" for k in range(4)) + "{}\n")
    return "e.jsonl"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["data", *arguments], prog_name="fo1agent")


def test_check_exits_with_one_above_the_tolerance(source: str) -> None:
    assert run("check", source).exit_code == 0
    result = run("check", source, "--tolerance", "0")
    assert result.exit_code == 1
    assert "bad       e.jsonl:5: lacks 'id'" in result.output
    assert "TOO MANY BAD RECORDS" in result.output


def test_check_exits_with_one_where_nothing_is_good(source: str) -> None:
    Path("bad.jsonl").write_text('{"image": "none.png", "caption": "A cup."}\n')
    result = run("check", "bad.jsonl")
    assert result.exit_code == 1
    assert "NOTHING TO LEARN FROM" in result.output


def test_check_gives_the_same_as_json(source: str) -> None:
    result = run("check", source, source, "--json", "--tolerance", "0")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert (report["ok"], [s["good"] for s in report["sources"]]) == (False, [4, 4])
    assert report["sources"][0]["labels"] == {"cup": 4}
    assert report["notes"] == ["1 picture(s) are both in e.jsonl and in e.jsonl"]


def test_preview_and_convert_leave_nothing_when_they_fail(source: str) -> None:
    Path("a.png").unlink()
    for arguments in (("preview", source, "--out", "s.png"), ("convert", source, "out", "--to", "yolo")):
        result = run(*arguments)
        assert result.exit_code == 1
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
    assert sorted(p.name for p in Path().iterdir()) == ["e.jsonl"]


def test_convert_gives_json(source: str) -> None:
    report = json.loads(run("convert", source, "out", "--to", "coco", "--copy", "--json").stdout)
    assert (report["examples"], report["bad"], report["left_out"]) == (4, 1, {})
    assert [p.name for p in Path("out/images").iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("check", "a.png"), 1, "a picture is no data set"),
        (("check", "none.jsonl"), 2, "does not exist"),
        (("check", "e.jsonl", "--format", "yolo"), 1, "e.jsonl is not YAML: "),
        (("check", "e.jsonl", "--split", "train"), 1, "split is for yolo"),
        (("check", "e.jsonl", "--format", "hub", "--column", "image"), 2, "is not FIELD=COLUMN"),
        (("convert", "e.jsonl", "out", "--to", "xml"), 2, "'xml' is not one of"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(source: str, arguments: tuple[str, ...], code: int, says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert says in result.stderr


def test_doubts_and_notes_are_printed_by_every_command(source: str) -> None:
    Image.new("RGB", (100, 100)).save("b.png")
    rows = [[15 * k, 15 * k, 15 * k + 25, 15 * k + 25] for k in range(1, 6)]
    images = [{"id": 1, "file_name": "b.png", "width": 100, "height": 100}]
    annotations = [{"id": k, "image_id": "1", "category_id": 1, "bbox": row} for k, row in enumerate(rows)]
    tree = {"images": images, "annotations": annotations, "categories": [{"id": "1", "name": "cup"}]}
    Path("i.json").write_text(json.dumps(tree))
    doubt = "of the boxes, read as xywh, do not lie in their pictures; read as xyxy (x1, y1, x2, y2), they do"
    checked = run("check", "i.json")
    assert f"  DOUBT     60% {doubt}; if they are, say --boxes xyxy\n" in checked.stdout
    assert "  note      a box stands out of its picture and was cut at the border (3 times, first at i.json#1)" in (
        checked.stdout
    )
    report = json.loads(run("check", "i.json", "--json").stdout)["sources"][0]
    assert report["remarks"][0]["count"] == 3
    assert len(report["doubts"]) == 1
    assert f"note: i.json: 60% {doubt}" in run("preview", "i.json", "--out", "s.png").stderr
    assert f"note: i.json: 60% {doubt}" in run("convert", "i.json", "out", "--to", "coco").stderr
    assert len(json.loads(run("convert", "i.json", "o2", "--to", "coco", "--json").stdout)["warnings"]) == 2
    assert "DOUBT" not in run("check", "i.json", "--boxes", "xyxy").stdout


def test_val_holds_out_pictures(source: str) -> None:
    for name in "bcd":
        Path(f"{name}.png").write_bytes(Path("a.png").read_bytes())
    Path("e.jsonl").write_text("".join(json.dumps(RECORD | {"id": n, "file_name": f"{n}.png"}) + "\n" for n in "abcd"))
    report = json.loads(run("convert", source, "out", "--to", "yolo", "--val", "0.5", "--json").stdout)
    assert report["held_out"] == len(list(Path("out/labels/val").iterdir())) > 0
    assert run("convert", source, "o2", "--to", "coco", "--val", "0.5").exit_code == 1
    assert run("convert", source, "o2", "--to", "yolo", "--val", "1").exit_code == 2
